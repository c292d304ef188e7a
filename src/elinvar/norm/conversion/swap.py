"""One normalization layer into another: a known one into a `Norm` with a policy, and back."""

from dataclasses import replace
from importlib import import_module
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ...check import InputError
from ..affine import Affine
from ..inference import Remembered
from ..layer import Norm
from ..memory import Average, Frozen, Memory
from ..partition import Ghosts
from ..policy import NormPolicy
from ..sharing import Sharing, WholeBatch
from ..workers import Workers
from .known import Held, certainly_known
from .parts import Parts, of_norm, of_other
from .whole import check_whole, inner_names


class NormThen(Norm):
    """A `Norm`, and what a layer of another library applies after it: dropout and activation, under their names."""

    then: tuple[str, ...] = ()

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *spatial"]:
        y = super().forward(x)
        for name in self.then:
            y = self.get_submodule(name)(y)
        return y


def with_policy(layer: nn.Module, policy: NormPolicy) -> Norm:
    """`layer` as a `Norm` with `policy`; the layer itself if it is one already. Raises `InputError` if it cannot be."""
    parts = of_norm(layer) if isinstance(layer, Norm) else of_other(layer)
    policy = _fitted(policy, parts)
    if isinstance(layer, Norm) and layer.policy == policy:
        return layer
    check_whole(layer, inner_names(layer, tuple(parts.then), parts.entry.others))
    new = (NormThen if parts.then else Norm)(parts.channels, policy, eps=parts.eps)
    new.kind = parts.kind
    tensors = [tensor for tensor in parts.banks[0] if tensor is not None and tensor.is_floating_point()]
    if tensors:
        new.to(device=tensors[0].device, dtype=tensors[0].dtype)
    new.train(layer.training)
    for name, held in _homes(parts, policy.branches).items():
        held.fill(new.bank(name))
    if isinstance(new, NormThen):
        new.then = tuple(parts.then)
        for name, module in parts.then.items():
            new.add_module(name, module)
    return new


def _homes(parts: Parts, branches: tuple[str, ...]) -> dict[str, Held]:
    """What each branch will hold: its own, or else what the layer's first branch does."""
    old = parts.names or branches
    own, main = dict(zip(old, parts.banks, strict=False)), parts.banks[0]
    homes = {name: own[name] if name in own else main.copy() for name in branches}
    if old[0] not in homes:  # the first branch got another name: an optimizer still holds its parameters
        homes[branches[0]] = own.get(branches[0], main)
    return {name: held if held.weight is not None else _with_affine(held, main.copy()) for name, held in homes.items()}


def _with_affine(held: Held, of: Held) -> Held:
    """For a branch that shared gamma and beta so far."""
    return held._replace(weight=of.weight, bias=of.bias)


def _fitted(policy: NormPolicy, parts: Parts) -> NormPolicy:
    """What `policy` means for this layer, which brings momentum, workers, groups, or a memory that stands still."""
    if parts.names is None and len(parts.banks) > 1:
        _check_splits(policy, parts)
    memory = policy.memory.for_layer(_momentum(parts.memory))
    if memory.remembers and not (parts.memory.remembers or parts.entry.single):
        raise InputError("a BatchNorm layer without running statistics has none to remember; use norm.no_memory()")
    if isinstance(parts.memory, Frozen) and not isinstance(memory, Frozen):
        if not memory.remembers:
            raise InputError(
                f"the layer is frozen, and {type(memory).__name__} has nothing to freeze; call norm.unfreeze first"
            )
        memory = replace(parts.memory, before=memory)
    affine = Affine.NONE if parts.banks[0].weight is None else policy.affine
    return replace(policy, sharing=_sharing(policy, parts), memory=memory, affine=affine)


def _sharing(policy: NormPolicy, parts: Parts) -> Sharing:
    sharing, kind = policy.sharing, parts.kind.__name__
    if parts.entry.synced and sharing.workers is None and sharing.ghosts is None:
        return replace(sharing, workers=Workers(parts.group))
    if not parts.entry.single:
        return sharing
    within = WholeBatch(ghosts=Ghosts(1), channel_groups=parts.groups)
    if sharing not in (WholeBatch(), within):
        raise InputError(
            f"{kind} shares statistics inside of an example, the policy says {sharing}; use one that only speaks of "
            "memory and inference, as norm.example_weighted(alpha)"
        )
    if isinstance(policy.inference, Remembered):
        raise InputError(
            f"{kind} never remembered anything to normalize by; say how much an example counts at test: "
            "norm.example_weighted(1.0) is what it did so far"
        )
    return within


def _check_splits(policy: NormPolicy, parts: Parts) -> None:
    kind = parts.kind.__name__
    if len(parts.banks) != len(policy.branches):
        raise InputError(
            f"{kind} has {len(parts.banks)} splits, the policy the branches {policy.branches}; use "
            "norm.split(branches=...) with a name for each split"
        )
    if parts.banks[0].weight is not None and policy.affine is not Affine.SEPARATE:
        raise InputError(
            f"each split of {kind} has gamma and beta of its own, which affine={policy.affine.value!r} would drop; use "
            "affine='separate'"
        )


def _momentum(memory: Memory) -> float | None:
    if isinstance(memory, Frozen):
        return _momentum(memory.before)
    momentum: float | None = None if isinstance(memory, Average) else getattr(memory, "momentum", 0.1)
    return momentum


def as_before(layer: Norm, branch: str | None) -> nn.Module:
    """`layer` as the class that it once was, with what one branch holds. Raises `InputError` if it cannot be."""
    branches, frozen = layer.policy.branches, isinstance(layer.policy.memory, Frozen)
    if branch is not None and branch not in branches:
        raise InputError(f"there is no branch {branch!r} to restore; this layer has {branches}")
    kind, entry = layer.kind, certainly_known(layer.kind)
    check_whole(layer, inner_names(layer, getattr(layer, "then", ()), None))
    if frozen and not entry.frozen:
        raise InputError(
            f"the layer is frozen, and {kind.__name__} would thaw in the next model.train(); call norm.unfreeze first"
        )
    chosen = branches if entry.others and branch is None else (branch or branches[0],)
    if (entry.others and len(chosen) == 1) or (entry.frozen and not frozen):
        kind = _trainable(layer)
        entry = certainly_known(kind)
    new: Any = kind(**entry.settings(layer))
    for module, name in zip((new, *(getattr(new, entry.others) if entry.others else ())), chosen, strict=True):
        held, (weight, bias) = Held.of(layer.bank(name)), layer.affine_of(name)
        whole = held._replace(weight=weight, bias=bias)
        (whole if held.weight is weight or name == chosen[0] else whole.copy()).fill(module)
    new.train(layer.training)
    for name in getattr(layer, "then", ()):
        setattr(new, name, layer.get_submodule(name))
    restored: nn.Module = new
    return restored


def _trainable(layer: Norm) -> type[nn.Module]:
    """The class of one branch of a layer that was split, or of one that was thawed."""
    if not getattr(layer, "then", ()):
        return nn.BatchNorm2d
    kind: type[nn.Module] = import_module("timm.layers.norm_act").BatchNormAct2d  # such a layer came from timm
    return kind
