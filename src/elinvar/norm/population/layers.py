"""Which layers of a model are measured, and how they are observed while a procedure runs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from typing import Any

from torch import Tensor, nn

from ...check import InputError
from ...routing import Routing, Session, Trace
from ..conversion.borrow import BATCH_NORM
from ..conversion.parts import check_scripted
from ..conversion.whole import replaced_calls
from ..inference import Remembered
from ..layer import Norm

Statistics = tuple[Tensor, Tensor]
"""mean and variance, one number for each channel"""


@dataclass(frozen=True, eq=False)
class Place:
    """A layer that is measured, the module that holds the memory of its branch, and that memory itself."""

    name: str
    layer: Any
    bank: Any
    memory: Statistics

    def normalize_by(self, statistics: Statistics) -> None:
        """Put tensors in the place of the memory, past `nn.Module`'s checks, which cost as much as a small kernel."""
        self.bank._buffers["running_mean"], self.bank._buffers["running_var"] = statistics

    @property
    def by_example(self) -> bool:
        """Whether the layer normalizes each example by itself in training, as one that was a GroupNorm."""
        if not isinstance(self.layer, Norm):
            return False
        ghosts = self.layer.policy.sharing.ghosts
        return ghosts is not None and ghosts.size == 1


@dataclass(frozen=True)
class Found:
    """The normalization layers of a model.

    measured   in the order in which the model registers them
    frozen     frozen by `norm.freeze`, or left in eval mode while the model trains
    forgetful  without memory: they normalize by the batch at hand whatever is measured
    """

    measured: tuple[Place, ...]
    frozen: tuple[str, ...]
    forgetful: tuple[str, ...]


def find(root: nn.Module, patterns: Sequence[str] | None, branch: str | None) -> Found:
    """The layers whose names match one of `patterns` (as in `fnmatch`; None: all) and that have a memory to write.

    Raises `InputError` for a pattern that matches nothing, an unknown branch, and a model with nothing to measure.
    """
    check_scripted(root)
    layers = {name: module for name, module in root.named_modules() if isinstance(module, Norm | BATCH_NORM)}
    for pattern in patterns or ():
        if not any(fnmatch(name, pattern) for name in layers):
            raise InputError(f"layers: no normalization layer matches {pattern!r}; the model has {list(layers)}")
    several = [layer for layer in layers.values() if isinstance(layer, Norm) and len(layer.policy.branches) > 1]
    if branch is not None and not any(branch in layer.policy.branches for layer in several):
        known = sorted({name for layer in several for name in layer.policy.branches})
        raise InputError(f"no layer has a branch {branch!r} (known: {known}); convert with norm.split(branches=...)")
    measured, frozen, forgetful = [], [], []
    for name, layer in layers.items():
        bank: Any = layer.bank(branch_of(layer, branch)) if isinstance(layer, Norm) else layer
        if patterns is not None and not any(fnmatch(name, pattern) for pattern in patterns):
            continue
        if bank.running_mean is None:
            forgetful.append(name)
        elif _frozen(layer) or (root.training and not layer.training):
            frozen.append(name)
        else:
            _check_forward(name, layer)
            measured.append(Place(name, layer, bank, (bank.running_mean, bank.running_var)))
    if not measured:
        raise InputError(
            f"there is no normalization layer to measure: {len(frozen)} are frozen, {len(forgetful)} have no memory, "
            f"{len(layers)} in all"
        )
    return Found(tuple(measured), tuple(frozen), tuple(forgetful))


def _check_forward(name: str, layer: nn.Module) -> None:
    if own := replaced_calls(layer):
        raise InputError(
            f"`{own[0]}` was set on the layer {name!r} itself, so what it is called with may not be what it "
            "normalizes; take that back, or leave the layer out with layers=..."
        )


def branch_of(layer: Norm, branch: str | None) -> str:
    """The branch that is measured: the one that is asked for, else that of an enclosing `norm.branch`, else the first.

    A layer with one branch measures that one.
    """
    known = layer.policy.branches
    if len(known) == 1:
        return known[0]
    if branch is None:
        branch = layer.session.routing.branches[0] if layer.session else known[0]
    if branch not in known:
        raise InputError(f"branch {branch!r} is unknown to a layer with {known}; measure it with layers=...")
    return branch


def _frozen(layer: nn.Module) -> bool:
    return isinstance(layer, Norm) and layer.policy.memory.frozen


@contextmanager
def at_test(root: nn.Module, branch: str | None) -> Iterator[None]:
    """Eval mode for every module, all rows in one branch, no trace; modes and routings come back afterwards.

    Flags are set one by one: a module's own `train()` may do more, such as merge weights.
    """
    modes = [(module, module.training) for module in root.modules()]
    sessions = [(module, module.session) for module, _ in modes if isinstance(module, Norm)]
    try:
        for module, _ in modes:
            module.training = False
        for norm, _ in sessions:
            norm.session = Session(Routing((branch_of(norm, branch),)), Trace.NOTHING)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for norm, session in sessions:
            norm.session = session


@contextmanager
def observed(places: Sequence[Place], see: Callable[[Place, Tensor], Statistics | None]) -> Iterator[None]:
    """Before each forward of a layer, `see(place, input)` says by which mean and variance it normalizes.

    None means its memory. The memory itself is never written: other tensors stand in for it until the end.
    """
    policies = [(place, getattr(place.layer, "policy", None)) for place in places]
    hooks = []

    def watch(place: Place) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            session = getattr(layer, "session", None)
            if session and place.layer.bank(session.routing.branches[0]) is not place.bank:
                return  # a shared head calls the layer once for each level, and this level is not being measured
            given = see(place, args[0] if args else next(iter(kwargs.values())))
            place.normalize_by(place.memory if given is None else given)

        return hook

    try:
        for place, policy in policies:
            if policy is not None:
                place.layer.policy = replace(policy, inference=Remembered())
            hooks.append(place.layer.register_forward_pre_hook(watch(place), with_kwargs=True))
        yield
    finally:
        for handle in hooks:
            handle.remove()
        for place, policy in policies:
            place.normalize_by(place.memory)
            if policy is not None:
                place.layer.policy = policy
