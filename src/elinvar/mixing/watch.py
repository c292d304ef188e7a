"""When the values of a tensor may be looked at."""

import math

import torch
from jaxtyping import Shaped
from torch import Tensor

from ..check import InputError


def values_can_be_seen(tensor: Shaped[Tensor, "..."]) -> bool:
    """Whether that waits for no device and breaks no graph that is being compiled."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def check_mixable(images: object, *, name: str = "images") -> None:
    """Raise `InputError` unless `images` is an NCHW batch: uint8, or floating point of finite values in any range.

    Values are looked at only where that waits for no device and breaks no graph.
    """
    if not isinstance(images, Tensor):
        raise InputError(f"{name}: got {type(images).__name__}, expected a torch.Tensor of shape (N, C, H, W)")
    if images.ndim != 4:
        raise InputError(f"{name}: got shape {tuple(images.shape)}, expected (N, C, H, W); a mix takes whole batches")
    if 0 in images.shape[1:]:
        raise InputError(f"{name}: got shape {tuple(images.shape)}, expected at least one pixel")
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise InputError(f"{name}: got dtype {images.dtype}, expected uint8 or floating point")
    if values_can_be_seen(images):
        # The sum shows what is not finite in one pass; a sum that is too large proves nothing.
        total = images.detach().sum(dtype=torch.promote_types(images.dtype, torch.float32))
        if not math.isfinite(total) and not torch.isfinite(images).all():
            raise InputError(f"{name}: some values are NaN or infinite, expected finite ones")
