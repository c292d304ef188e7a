"""A model for the duration of a procedure: without its wrappers, and with `Norm` layers in place of torch's.

Everything is put back as it was, also after an error.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..layer import Norm
from ..policies import no_memory
from ..policy import NormPolicy
from .elsewhere import spots
from .parts import check_scripted
from .swap import with_policy
from .walk import places
from .whole import FORWARD_HOOKS

BATCH_NORM = nn.modules.batchnorm._BatchNorm  # torch's own layers and all subclasses, such as timm's
_MEMORY = ("running_mean", "running_var", "num_batches_tracked")


def peel(module: nn.Module) -> nn.Module:
    """The module inside `torch.compile`, `DataParallel` and `DistributedDataParallel`, however they are nested."""
    while True:
        if "_orig_mod" in module._modules:
            module = module.get_submodule("_orig_mod")
        elif isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        else:
            return module


@contextmanager
def bare(model: nn.Module) -> Iterator[nn.Module]:
    """The model without wrappers, run eagerly throughout: compiled parts and parallel copies are left out inside.

    Compiled code would not call the hooks of single layers, and could not be stopped between them.
    """
    root = peel(model)
    modules = list(root.modules())
    wrapped = [
        (parent, name, child)
        for parent in modules
        for name, child in parent._modules.items()
        if child is not None and peel(child) is not child
    ]
    compiled = [(module, call) for module in modules if (call := vars(module).get("_compiled_call_impl"))]
    try:
        for parent, name, child in wrapped:
            parent._modules[name] = peel(child)
        for module, _ in compiled:
            module._compiled_call_impl = None
        yield root
    finally:
        for parent, name, child in wrapped:
            parent._modules[name] = child
        for module, call in compiled:
            module._compiled_call_impl = call


@contextmanager
def borrowed(model: nn.Module) -> Iterator[nn.Module]:
    """The bare model, with a `Norm` in place of every BatchNorm layer that `norm.convert` knows.

    Both share their parameters, their memory (what is written inside stays; a memory in half precision is a float32
    copy inside, and rounded back at the end) and their forward hooks, which go on firing, with the `Norm` as module. A
    layer that stands in several places is replaced by one. `Norm` layers are used as they are.

    Raises `InputError`, before anything is changed, for layers that cannot be converted.
    """
    with bare(model) as root:
        check_scripted(root)
        found = places(root, lambda module: isinstance(module, BATCH_NORM))
        pairs = {id(layer): (layer, _lend(layer)) for _, _, layer in found}
        others = spots(root, {key: layer for key, (layer, _) in pairs.items()})
        spaces = [(parent._modules, name, layer) for parent, name, layer in found if parent is not None]
        try:
            for container, key, layer in (*spaces, *others):
                container[key] = pairs[id(layer)][1]
            yield root if id(root) not in pairs else pairs[id(root)][1]
        finally:
            for container, key, layer in (*spaces, *others):
                container[key] = layer
            for layer, norm in pairs.values():
                _take_back(layer, norm)


def _lend(layer: nn.Module) -> Norm:
    forgetful = getattr(layer, "running_mean", None) is None
    norm = with_policy(layer, no_memory() if forgetful else NormPolicy())
    for name in _MEMORY:
        tensor = layer._buffers.get(name)
        if tensor is not None:
            wide = torch.promote_types(tensor.dtype, torch.float32) if tensor.is_floating_point() else tensor.dtype
            norm._buffers[name] = tensor.to(wide)
    for name in FORWARD_HOOKS:
        setattr(norm, name, getattr(layer, name))
    return norm


def _take_back(layer: nn.Module, norm: Norm) -> None:
    for name in _MEMORY:
        tensor, lent = layer._buffers.get(name), norm._buffers.get(name)
        if tensor is not None and lent is not None and lent is not tensor:
            with torch.no_grad():
                tensor.copy_(lent)
