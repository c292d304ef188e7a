"""Shared heads: one stack of layers, called on inputs of several scales, and whose statistics normalize them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ..check import InputError, unknown
from ..routing import Routing, Session, Trace
from .affine import Affine
from .conversion.convert import convert
from .conversion.parts import is_batch_norm
from .conversion.whole import hooked, replaced_calls
from .layer import Norm
from .policies import split
from .policy import NormPolicy

Levels = Literal["joint", "separate"]
_MEMORY = ("running_mean", "running_var", "num_batches_tracked")


class SharedHead(nn.Module):
    """Runs a stack of layers on a list of inputs, one for each level of a feature pyramid; returns the list of outputs.

    Each layer sees all levels before the next one runs: a convolution on every level by itself, then normalization of
    the levels as `sharing` says, then the activation on every level.

        joint     mean and variance over the values of all levels, each value counted once: `nn.BatchNorm2d` of the
                  levels flattened to (N, C, positions) and put side by side. Large maps dominate
        separate  each level by its own mean and variance, as if it had a BatchNorm layer of its own

    block   an `nn.Sequential` (others inside of it are fine) or a list of layers, with BatchNorm layers of any library
            that `convert` knows. They are converted in place and keep their names, so the checkpoint of a plain head
            loads; levels that it does not know start from its one memory
    levels  names of the levels, in the order of the inputs. With separate statistics or memory they are the branches of
            the layers, and the first one has the plain checkpoint keys
    memory  which memory normalizes at test. joint: one for all levels. separate: one for each. None: as `sharing`
    affine  gamma and beta: "shared", or "separate" ones for each level, which need separate sharing
    policy  what else the layers do: momentum, ghosts, workers, inference. No branches of its own if levels are separate

    Inputs are (N, C, ...) each, one for each level; where they are joint, N and C of all levels are the same.

    If memory and sharing differ, inference is not what training prepared for, and this is refused unless
    `allow_inconsistent` is set, to repeat the experiment. Joint sharing then moves the memory of each level by that
    level's own moments. Separate sharing moves the one memory level after level: the last one counts most, differences
    between the levels not at all. This is what a BatchNorm layer does that is simply called once for each level.

    Inside of `route` its trace is obeyed, and so are its views within a level. Hooks of the layers run; Sequentials
    around them cannot have any, as nobody calls them. Joint sharing copies what each normalization layer reads.
    `norm.precise` measures a joint memory as any other, separate ones level by level: branch="p3", then "p4", and so
    on.

    Raises `InputError` for inconsistent choices; for a BatchNorm layer inside of anything but a Sequential; in forward
    for another number of inputs than levels, for joint inputs of different N or C, for BatchNorm layers of other
    libraries that were put in later, for hooks on a Sequential, and, if levels are separate, for a routing with several
    branches.

    Source   Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 5.2, Table 5 and appendix A.9. We find a
             level's statistics by its name; counting calls, as considered there, goes wrong after an aborted forward.
    """

    def __init__(
        self,
        block: nn.Sequential | Sequence[nn.Module],
        levels: Sequence[str],
        *,
        sharing: Levels = "separate",
        memory: Levels | None = None,
        affine: Affine | Literal["shared", "separate"] = Affine.SHARED,
        policy: NormPolicy | None = None,
        allow_inconsistent: bool = False,
    ) -> None:
        super().__init__()
        self.levels, self.sharing, self.memory = tuple(levels), sharing, memory or sharing
        self._check(Affine(affine), allow_inconsistent)
        block = block if isinstance(block, nn.Sequential) else nn.Sequential(*block)
        for module in block.modules():
            _check_place(module)
        if block._parameters or block._buffers:
            name = [*block._parameters, *block._buffers][0]
            raise InputError(f"the block has {name!r} of its own, which a head would drop; keep it in a layer")
        policy = policy or NormPolicy()
        if "separate" in (self.sharing, self.memory):
            policy = split(self.levels, affine) | policy
        for name, layer in convert(block, policy)._modules.items():
            self.add_module(name, layer)
        self._tie()

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        if not isinstance(inputs, list | tuple) or len(inputs) != len(self.levels):
            came = f"{len(inputs)} inputs" if isinstance(inputs, list | tuple) else f"a {type(inputs).__name__}"
            raise InputError(f"got {came}, expected a list of one input for each of the levels {self.levels}")
        self._tie()
        return self._run(self, list(inputs))

    def _run(self, module: nn.Module, inputs: list[Tensor]) -> list[Tensor]:
        if isinstance(module, Norm):
            from_batch = module.training and not module.policy.memory.frozen
            if self.sharing == "joint" and (from_batch or self.memory == "joint"):
                return self._jointly(module, inputs)
            return self._by_level(module, inputs)
        if module is self or isinstance(module, nn.Sequential):
            if module is not self:
                _check_uncalled(module)
            for child in module._modules.values():
                assert child is not None
                inputs = self._run(child, inputs)
            return inputs
        if is_batch_norm(module) and (module.training or self.memory == "separate"):
            raise InputError(
                f"{type(module).__name__} in a shared head knows no levels and would mix them up; build a head around "
                "the layers again: norm.SharedHead(block, levels)"
            )
        return [module(x) for x in inputs]

    def _by_level(self, layer: Norm, inputs: list[Tensor]) -> list[Tensor]:
        return [_routed(layer, x, level) for level, x in zip(self.levels, inputs, strict=True)]

    def _jointly(self, layer: Norm, inputs: list[Tensor]) -> list[Tensor]:
        if len({x.shape[:2] for x in inputs}) > 1:
            raise InputError(
                "joint statistics need inputs of one batch size and number of channels, got "
                f"{[tuple(x.shape) for x in inputs]}; use sharing='separate'"
            )
        sizes = [math.prod(x.shape[2:]) for x in inputs]
        flat = torch.cat([x.reshape(*x.shape[:2], size) for x, size in zip(inputs, sizes, strict=True)], 2)
        if self.memory == "joint":
            out = layer(flat)
        else:
            out = _routed(layer, flat, self.levels[0], Trace.NOTHING)
            with torch.no_grad():  # only for what each level's memory learns from it
                self._by_level(layer, inputs)
        # Copies, as the next layer may be an activation in place, and all of these are views of one tensor.
        return [part.reshape(x.shape).clone() for part, x in zip(out.split(sizes, 2), inputs, strict=True)]

    def _tie(self) -> None:
        """One memory for all branches: each holds the very tensors of the first, and checkpoints hold them once."""
        if (self.sharing, self.memory) != ("separate", "joint"):
            return
        for layer in self.modules():
            if isinstance(layer, Norm):
                for branch in layer.branches.values():
                    for name in _MEMORY:
                        if branch._buffers[name] is not layer._buffers[name]:
                            branch.register_buffer(name, layer._buffers[name], persistent=False)

    def _check(self, affine: Affine, allow_inconsistent: bool) -> None:
        for name in ("sharing", "memory"):
            if getattr(self, name) not in get_args(Levels):
                raise unknown(name, getattr(self, name), get_args(Levels))
        if self.sharing == "joint" and affine is Affine.SEPARATE:
            raise InputError("gamma and beta of each level need sharing='separate'; joint levels are one batch")
        if self.sharing == self.memory or allow_inconsistent:
            return
        row, found, good = (2, 2.1, 39.1) if self.sharing == "joint" else (3, 34.1, 39.1)
        if affine is Affine.SEPARATE:
            row, found, good = 5, 35.5, 39.2
        raise InputError(
            f"training normalizes by {self.sharing} statistics, but the memory is {self.memory}: a RetinaNet head then "
            f"reached {found} AP, and {good} where both agree (Wu and Johnson 2021, Table 5, row {row}); use "
            f"memory={self.sharing!r}, or allow_inconsistent=True to repeat that"
        )

    def extra_repr(self) -> str:
        return f"levels={self.levels}, sharing={self.sharing!r}, memory={self.memory!r}"


def _routed(layer: Norm, x: Tensor, level: str, trace: Trace | None = None) -> Tensor:
    """Forward with all rows in branch `level`; views, and the trace if none is given, stay as they are outside."""
    before = layer.session
    outer = before or Session(Routing((level,)), Trace.COMMIT)
    branches = outer.routing.branches
    if len(set(branches)) > 1:
        raise InputError(
            f"the levels of this head are the branches of its layers, but the routing names {sorted(set(branches))}; "
            "forward each of these by itself, or use sharing='joint'"
        )
    layer.session = Session(replace(outer.routing, branches=(level,) * len(branches)), trace or outer.trace)
    try:
        out: Tensor = layer(x)
        return out
    finally:
        layer.session = before


def _check_uncalled(module: nn.Module) -> None:
    """Raise `InputError` if calling a Sequential would do more than call its layers, which is all that a head does."""
    if hooked(module) or replaced_calls(module):
        raise InputError(
            "hooks, or a forward of its own, are on a Sequential in a shared head, which calls the layers inside one "
            "by one; put them on a layer"
        )


def _check_place(module: nn.Module) -> None:
    """Raise `InputError` if a normalization layer hides in a module that is called as a whole."""
    plain = isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
    if plain:
        _check_uncalled(module)
    if plain or is_batch_norm(module):
        return
    inside = [type(child).__name__ for child in module.modules() if is_batch_norm(child)]
    if inside:
        raise InputError(
            f"{type(module).__name__} holds a {inside[0]}, which a head cannot reach between its other layers; use an "
            "nn.Sequential of single layers"
        )
