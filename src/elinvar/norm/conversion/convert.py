"""Give a model's normalization layers a policy, and take it away again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

from torch import nn

from ...check import InputError
from ...routing import Routing, Trace, route
from ..layer import Norm
from ..policy import NormPolicy
from .parts import check_scripted, is_batch_norm, is_group_norm
from .swap import as_before, with_policy
from .walk import places, put

M = TypeVar("M", bound=nn.Module)


def convert(model: M, policy: NormPolicy, *, group_norm: bool = False) -> M:
    """Replace every BatchNorm layer of `model`, in place, by a `Norm` with `policy`; returns the model.

    Known are torch's `BatchNorm1d`, `2d`, `3d` and `SyncBatchNorm`; `FrozenBatchNorm2d` of torchvision and detectron2;
    timm's `BatchNormAct2d`, whose dropout and activation go on following it, its Sync and Frozen siblings, and
    `SplitBatchNorm2d`, whose splits become the branches of the policy, in order.

    Parameters, statistics, device, dtype, training mode, `requires_grad` and checkpoint keys are kept (timm's `aux_bn`
    and keys of others: `norm.import_state_dict`), a layer that is used in several places stays one layer, and each new
    branch starts from the layer's own statistics. Parameters and buffers stay the same objects; those of new branches
    are new, so build the optimizer afterwards: an optimizer that was made before and does not know them is a warning
    (`InputWarning`) that names them, and `norm.untrained` lists them. Layers that are already `Norm` get the new
    policy. Converting twice changes nothing more. torch's `swa_utils.update_bn` does not know the new layers.

    What was set on a layer goes along: hooks, in their order and with handles that still remove them, and attributes.
    Lists and dictionaries among the attributes of modules hold the new layer. The old one raises `InputError` when it
    is called; a bare layer that is converted goes on, with memory of its own.

    Two things of a layer outlive a policy that does not speak of them. `SyncBatchNorm` goes on pooling over its process
    group, unless the policy has ghosts, which live inside of a worker. A frozen layer stays frozen; `norm.unfreeze`
    then gives it the memory of the policy.

    group_norm  also give `nn.GroupNorm` layers the memory and inference of `policy`: in training they go on as before,
                each example by itself over their groups of channels, and now remember (Summers, thesis, section 4.3.1,
                weighs the examples of such models too). For a trained model, first collect what it never remembered:
                `norm.precise`

    Raises `InputError`, before anything is changed, for other subclasses of torch's BatchNorm (converting could drop
    what the subclass adds), for lazy layers that saw no input, and for a model in which there is nothing to convert;
    for what a new layer could not take over: a forward that was set on the layer, pruning, weight_norm and other
    parametrizations, parameters, buffers and modules beyond those of its class; for a closure, partial function or
    bound method among attributes and hooks that would go on calling the old layer; and for new parameters or buffers
    under `DistributedDataParallel`, which would not know them.
    """

    check_scripted(model)
    found = places(model, lambda module: is_batch_norm(module) or (group_norm and is_group_norm(module)))
    if not found:
        raise InputError(_nothing(model))
    return put(model, found, lambda layer: with_policy(layer, policy))


def restore(model: M, *, branch: str | None = None) -> M:
    """The reverse of `convert`: layers of the classes that were converted, with what one branch holds.

    branch  None: the first; a `SplitBatchNorm2d` then gets all its splits back

    Parameters, hooks and attributes go along as in `convert`, and the same is refused. What torch's layers cannot do is
    forgotten, example weighting for instance.

    Raises `InputError`, before anything is changed, for a branch that a layer lacks, and for a frozen layer that would
    thaw because its class knows no such state.
    """
    found = places(model, lambda module: isinstance(module, Norm))
    return put(model, found, lambda layer: as_before(cast(Norm, layer), branch))


@contextmanager
def branch(model: nn.Module, name: str) -> Iterator[None]:
    """Every forward inside uses branch `name`; in training it is remembered at once, as outside.

    Raises `InputError` if no layer of the model has that branch.
    """
    layers = [module for module in model.modules() if isinstance(module, Norm)]
    if not any(name in layer.policy.branches for layer in layers):
        known = sorted({branch for layer in layers for branch in layer.policy.branches})
        raise InputError(f"no layer has a branch {name!r} (known: {known}); convert with norm.split(branches=...)")
    with route(model, Routing((name,)), Trace.COMMIT):
        yield


def _nothing(model: nn.Module) -> str:
    kinds = {type(module) for module in model.modules() if isinstance(module, nn.GroupNorm | nn.LayerNorm)}
    text = f"{type(model).__name__} has no BatchNorm layer to convert"
    if kinds:
        text += f"; its {', '.join(sorted(kind.__name__ for kind in kinds))} never looks at other examples of a batch"
    if any(issubclass(kind, nn.GroupNorm) for kind in kinds):
        text += "; group_norm=True converts GroupNorm layers"
    return text
