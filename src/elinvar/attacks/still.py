"""A model that stands still while it is attacked, and is afterwards what it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..check import InputError, unknown
from ..routing import Routed, Routing, Trace, route

Mode = Literal["eval", "batch"]


@contextmanager
def still(model: Any, mode: str = "eval", branch: str = "main") -> Iterator[None]:
    """Inside: gradients are on, every forward is normalized as `mode` says, and none is remembered.

    mode     eval    every module in eval mode: normalization by its memory (or whatever else its inference is)
             batch   normalization by the statistics of the batch, as in training, whatever mode its layers are in
                     (`norm.freeze` still holds); everything else, dropout above all, in eval mode
    branch   of normalization layers that have several

    Afterwards, and also after an error: the training flag of every module, what the layers remember and propose, all
    other buffers and the routing are as before. Parameters, their `.grad` and `requires_grad`, and hooks are never
    touched. Flags are set one by one: a model's own `eval` or `train` is not called.

    Raises `InputError` for what is no model, and for an unknown mode.
    """
    if not isinstance(model, nn.Module):
        raise InputError(
            f"model: got {type(model).__name__}, expected a torch.nn.Module, whose modes and memory can be kept; "
            "say how to call it with forward="
        )
    if mode not in get_args(Mode):
        raise unknown("normalization mode", mode, get_args(Mode))
    modules = list(model.modules())
    flags = [module.training for module in modules]
    normalizing = [module for module in modules if isinstance(module, Routed | _BatchNorm)]
    tracking = [(module, module.track_running_stats) for module in modules if isinstance(module, _BatchNorm)]
    buffers = [_Kept(module, name, buffer) for module in modules for name, buffer in module._buffers.items()]
    try:
        for module in modules:
            module.training = False
        with torch.inference_mode(False), torch.enable_grad(), route(model, Routing((branch,)), Trace.NOTHING):
            if mode == "batch":
                for layer, _ in tracking:  # torch's layers move their memory in training, unless they keep none
                    layer.track_running_stats = False
                for module in normalizing:
                    module.training = True
            yield
    finally:
        for module, flag in zip(modules, flags, strict=True):
            module.training = flag
        for layer, tracks in tracking:
            layer.track_running_stats = tracks
        for kept in buffers:
            kept.restore()


class _Kept:
    """One buffer of a module, and what stands in it."""

    def __init__(self, module: nn.Module, name: str, buffer: Tensor | None) -> None:
        self.module, self.name, self.buffer = module, name, buffer
        self.copy = None if buffer is None else buffer.detach().clone()
        self.version = _version(buffer)

    def restore(self) -> None:
        self.module._buffers[self.name] = self.buffer
        if self.buffer is not None and self.copy is not None and _version(self.buffer) != self.version:
            with torch.no_grad():
                self.buffer.copy_(self.copy)


def _version(buffer: Tensor | None) -> int:
    """How often a tensor was written to. Tensors of inference mode do not count, and nothing can write to them here."""
    return -1 if buffer is None or buffer.is_inference() else buffer._version
