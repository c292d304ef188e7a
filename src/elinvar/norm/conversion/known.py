"""The normalization layers of torch, torchvision, timm and detectron2, known by the names of their classes.

Nothing but torch is imported. A class that is not in the table is refused, because a subclass may do more than
normalize.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..affine import Affine
from ..memory import Bank
from ..state import Remembering


class Held(NamedTuple):
    """What a layer holds for one branch. Frozen layers of other libraries keep gamma and beta as buffers."""

    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    @classmethod
    def of(cls, module: nn.Module) -> "Held":
        """The parameters and buffers of `module` itself."""
        return cls(*(getattr(module, name, None) for name in cls._fields))

    def copy(self) -> "Held":
        """The same values in tensors of their own, which train where these do."""
        return Held(*(value if value is None else _copy(value) for value in self))

    def fill(self, module: nn.Module) -> None:
        """Go where `module` has a place: the very parameters, and the very buffers where their type is kept."""
        for name, value in self._asdict().items():
            if value is not None and module._parameters.get(name) is not None:
                still = nn.Parameter(value.detach().clone(), requires_grad=False)
                module._parameters[name] = value if isinstance(value, nn.Parameter) else still
            elif value is not None and module._buffers.get(name) is not None:
                of_parameter = isinstance(value, nn.Parameter)
                plain = _copy(value.detach()) if of_parameter else value
                module._buffers[name] = plain.to(self._type_in(module, value))

    def _type_in(self, module: nn.Module, value: Tensor) -> torch.dtype:
        """A `Bank` keeps its memory in float32 or better; torch's kernel wants it as wide as gamma."""
        if not value.is_floating_point():
            return value.dtype
        if isinstance(module, Bank):
            return torch.promote_types(value.dtype, torch.float32)
        return value.dtype if self.weight is None else self.weight.dtype


def _copy(value: Tensor) -> Tensor:
    copy = value.detach().clone()
    return nn.Parameter(copy, requires_grad=value.requires_grad) if isinstance(value, nn.Parameter) else copy


Settings = Callable[[Remembering], dict[str, Any]]


def _batch(layer: Remembering) -> dict[str, Any]:
    return {
        "num_features": layer.num_features,
        "eps": layer.eps,
        "momentum": layer.momentum,
        "affine": layer.policy.affine is not Affine.NONE,
        "track_running_stats": layer.policy.memory.remembers,
    }


def _synced(layer: Remembering) -> dict[str, Any]:
    workers = layer.policy.sharing.workers
    return {**_batch(layer), "process_group": workers and workers.group}


def _split(layer: Remembering) -> dict[str, Any]:
    return {**_batch(layer), "num_splits": len(layer.policy.branches)}


def _frozen(layer: Remembering) -> dict[str, Any]:
    return {"num_features": layer.num_features, "eps": layer.eps}


def _group(layer: Remembering) -> dict[str, Any]:
    return {
        "num_groups": layer.num_features // layer.width,
        "num_channels": layer.num_features,
        "eps": layer.eps,
        "affine": layer.policy.affine is not Affine.NONE,
    }


@dataclass(frozen=True)
class Known:
    """A class of layers.

    settings  the arguments of its constructor that make it as a layer of ours is
    frozen    its statistics, gamma and beta never move
    synced    it pools statistics over the workers of its `process_group`
    single    it normalizes each example by itself, over `num_groups` groups of channels
    then      attributes that it applies after the normalization, where it has them
    others    attribute that lists the layers of all branches but the first
    """

    settings: Settings = _batch
    frozen: bool = False
    synced: bool = False
    single: bool = False
    then: tuple[str, ...] = ()
    others: str | None = None


_ACT = ("drop", "act")
_TABLE: Mapping[str, Known] = {
    "torch.nn.modules.batchnorm.BatchNorm1d": Known(),
    "torch.nn.modules.batchnorm.BatchNorm2d": Known(),
    "torch.nn.modules.batchnorm.BatchNorm3d": Known(),
    "torch.nn.modules.batchnorm.SyncBatchNorm": Known(_synced, synced=True),
    "torch.nn.modules.normalization.GroupNorm": Known(_group, single=True),
    "torchvision.ops.misc.FrozenBatchNorm2d": Known(_frozen, frozen=True),
    "timm.layers.norm.GroupNorm": Known(_group, single=True),
    "timm.layers.norm_act.BatchNormAct2d": Known(then=_ACT),
    "timm.layers.norm_act.FrozenBatchNormAct2d": Known(_frozen, frozen=True, then=_ACT),
    "timm.layers.norm_act.GroupNormAct": Known(_group, single=True, then=_ACT),
    "timm.layers.norm_act.SyncBatchNormAct": Known(_synced, synced=True, then=_ACT),
    "timm.layers.split_batchnorm.SplitBatchNorm2d": Known(_split, then=_ACT, others="aux_bn"),
}


def name_of(kind: type[nn.Module]) -> str:
    """Where a class is defined, and its name."""
    return f"{kind.__module__}.{kind.__qualname__}"


def known(kind: type[nn.Module]) -> Known | None:
    """What is known about a class, None if nothing.

    `FrozenBatchNorm2d` is known wherever it is defined: detectron2 and detection projects carry copies of it.
    """
    if kind.__name__ == "FrozenBatchNorm2d":
        return _TABLE["torchvision.ops.misc.FrozenBatchNorm2d"]
    return _TABLE.get(name_of(kind))


def certainly_known(kind: type[nn.Module]) -> Known:
    """What is known about the class that a `Norm` once was."""
    entry = known(kind)
    assert entry is not None, f"{name_of(kind)} was converted although nothing is known about it"
    return entry
