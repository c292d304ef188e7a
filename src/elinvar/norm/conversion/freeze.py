"""Freeze normalization layers: they stand still in training mode too, until they are unfrozen."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

from torch import nn

from ...check import InputError
from ..layer import Norm
from ..memory import Frozen
from ..optimizers import Before
from ..policy import NormPolicy
from .known import known
from .parts import check_scripted, is_batch_norm
from .swap import with_policy
from .walk import places, put

M = TypeVar("M", bound=nn.Module)


def freeze(model: M, *, affine: bool = True) -> M:
    """Normalize by what was remembered, in training too, and remember nothing more; in place, returns the model.

        y = (x - running_mean) / sqrt(running_var + eps) * gamma + beta        in both modes

    BatchNorm layers of torch and of other libraries become `Norm` (see `convert`), `Norm` layers keep the rest of their
    policy. A frozen layer stays so through `model.train()`, copies, pickles and checkpoints, and says so in its repr.

    affine  also stop training gamma and beta: `requires_grad` is False until `unfreeze`. An optimizer that was built
            before then skips them, decay included. Wrap a model in `DistributedDataParallel` afterwards.

    Layers that normalize each example by itself (converted from `nn.GroupNorm`) have nothing to freeze and stay as they
    are.

    Raises `InputError`, before anything is changed, for layers without a memory and for models without BatchNorm.

    Source   Wu and Johnson 2021, section 4.3, for the last epochs (whether gamma and beta train there is not said).
             Freeze what `norm.precise` measured rather than a moving average.
    """
    check_scripted(model)
    found = places(model, is_batch_norm)
    if not found:
        raise InputError(f"{type(model).__name__} has no BatchNorm layer to freeze")
    bare = {id(layer) for _, _, layer in found if isinstance(layer, Norm) and not layer.policy.memory.remembers}
    if bare:
        raise InputError(f"{len(bare)} layers have no memory to freeze; convert them with norm.batch_norm() first")
    model = put(model, found, lambda layer: layer if isinstance(layer, Norm) else with_policy(layer, NormPolicy()))
    for layer in _layers(model):
        memory = layer.policy.memory if isinstance(layer.policy.memory, Frozen) else Frozen(layer.policy.memory)
        trains = [(name, parameter) for name, parameter in _affine(layer) if affine and parameter.requires_grad]
        for _, parameter in trains:
            parameter.requires_grad_(False)
        stopped = sorted({*memory.stopped, *(name for name, _ in trains)})
        layer.policy = replace(layer.policy, memory=replace(memory, stopped=tuple(stopped)))
    return model


def unfreeze(model: M) -> M:
    """Give frozen layers the memory rule back that they had, and let gamma and beta train that `freeze` had stopped.

    `FrozenBatchNorm2d` and its like become `Norm` layers that train. Layers that are not frozen are left alone. Warns
    (`InputWarning`) of gamma and beta that an optimizer of the model will not train, as it was made without them.
    """
    before = Before(model)
    model = put(model, places(model, _is_frozen), lambda layer: with_policy(layer, NormPolicy()))
    for layer in _layers(model):
        memory = layer.policy.memory
        if isinstance(memory, Frozen):
            for name, parameter in _affine(layer):
                parameter.requires_grad_(parameter.requires_grad or name in memory.stopped)
            layer.policy = replace(layer.policy, memory=memory.before)
    before.tell(model)
    return model


def _is_frozen(module: nn.Module) -> bool:
    entry = known(type(module))
    return entry is not None and entry.frozen


def _layers(model: nn.Module) -> Iterator[Norm]:
    for module in model.modules():
        if isinstance(module, Norm) and is_batch_norm(module):
            yield module


def _affine(layer: Norm) -> Iterator[tuple[str, nn.Parameter]]:
    """Gamma ("weight") and beta ("bias") of every branch."""
    for branch in layer.policy.branches:
        yield from layer.bank(branch).named_parameters(recurse=False)
