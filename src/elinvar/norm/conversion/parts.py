"""A normalization layer taken apart: what it holds and how it remembers, whichever library it is from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...check import InputError
from ..layer import Norm
from ..memory import Ema, Frozen, Memory, Nothing
from .known import Held, Known, certainly_known, known, name_of
from .whole import check_computed


@dataclass(frozen=True)
class Parts:
    """What a layer brings.

    kind    its class, or for a `Norm` the class that it once was
    memory  how it remembers
    banks   what it holds for each branch
    names   of these branches; None: they have an order only, as in other libraries
    then    modules that it applies after the normalization
    group   the process group over which it pools statistics, if it does
    groups  for a layer that normalizes each example by itself: groups of channels
    """

    kind: type[nn.Module]
    entry: Known
    channels: int
    eps: float
    memory: Memory
    banks: tuple[Held, ...]
    names: tuple[str, ...] | None
    then: Mapping[str, nn.Module]
    group: Any
    groups: int | None


def of_norm(layer: Norm) -> Parts:
    """The parts of a layer of ours."""
    policy, workers = layer.policy, layer.policy.sharing.workers
    return Parts(
        kind=layer.kind,
        entry=certainly_known(layer.kind),
        channels=layer.num_features,
        eps=layer.eps,
        memory=policy.memory,
        banks=tuple(Held.of(layer.bank(name)) for name in policy.branches),
        names=policy.branches,
        then={name: layer.get_submodule(name) for name in getattr(layer, "then", ())},
        group=workers and workers.group,
        groups=policy.sharing.channel_groups,
    )


def of_other(layer: nn.Module) -> Parts:
    """The parts of a layer of another library; raises `InputError` for one that is not known or not clear."""
    kind, main = type(layer), Held.of(layer)

    def says(name: str, otherwise: Any = None) -> Any:
        return getattr(layer, name, otherwise)

    if isinstance(layer, nn.modules.lazy.LazyModuleMixin):
        raise InputError(
            f"{kind.__name__} does not know its number of channels yet; run a forward of the model before converting it"
        )
    check_computed(layer)
    entry = known(kind)
    if entry is None:
        raise InputError(
            f"cannot convert {name_of(kind)}: only layers of torch, torchvision, timm and detectron2 are known, and a "
            "subclass may do more than normalize; replace it by one of torch's own first"
        )
    if says("eps") is None:
        raise InputError(f"{name_of(kind)} has no attribute `eps`; set it to what its forward adds to the variance")
    if main.running_mean is not None and says("track_running_stats") is False:
        raise InputError(
            "a BatchNorm layer with track_running_stats=False holds running statistics that torch reads at test and "
            "never moves; set it to True and use norm.freeze, or set running_mean and running_var to None"
        )
    if (main.running_mean is None) is not (main.running_var is None):
        raise InputError(f"{name_of(kind)} has only one of running_mean and running_var; set both or none")
    if (main.weight is None) is not (main.bias is None):
        raise InputError(f"{name_of(kind)} has only one of gamma and beta; a Norm has both or none: add the other one")
    memory = Nothing() if main.running_mean is None else Ema().for_layer(says("momentum", 0.1))
    others = says(entry.others) if entry.others else ()
    return Parts(
        kind=kind,
        entry=entry,
        channels=says("num_features") or says("num_channels") or len(says("weight")),
        eps=says("eps"),
        memory=Frozen(memory, ("weight", "bias")) if entry.frozen else memory,
        banks=(main, *(Held.of(other) for other in others)),
        names=None,
        then={name: layer.get_submodule(name) for name in entry.then if name in layer._modules},
        group=says("process_group"),
        groups=says("num_groups"),
    )


def is_batch_norm(module: nn.Module) -> bool:
    """Whether a module is a layer of BatchNorm, ours or of another library, known or not."""
    entry = known(module.kind if isinstance(module, Norm) else type(module))
    return isinstance(module, nn.modules.batchnorm._BatchNorm) or (entry is not None and not entry.single)


def check_scripted(model: nn.Module) -> None:
    """Raise `InputError` for layers of BatchNorm inside of what `torch.jit` made, which cannot be reached."""
    for name, module in model.named_modules():
        kind = module.original_name if isinstance(module, torch.jit.ScriptModule) else ""
        if "BatchNorm" in kind:
            raise InputError(
                f"{name or 'the model'!r} is a {kind} that torch.jit has compiled, which cannot be reached; take the "
                "model as it was before"
            )


def is_group_norm(module: nn.Module) -> bool:
    """Whether a module is a layer of GroupNorm, or was one before it was converted."""
    entry = known(module.kind if isinstance(module, Norm) else type(module))
    return isinstance(module, nn.GroupNorm) or (entry is not None and entry.single)
