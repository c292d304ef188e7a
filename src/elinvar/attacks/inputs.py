"""What may be attacked: checks of images, targets and keys."""

from typing import Any

import torch
from torch import Tensor

from ..check import InputError, channels_last_hint, warn_of_dark
from .exact import within
from .threat import Bounds


def check_images(images: Any, bounds: Bounds) -> None:
    """Raise `InputError` unless `images` are an NCHW batch of floating point values in `bounds`.

    Values are looked at on every device: around standardized images an eps would mean something else.
    """
    if not isinstance(images, Tensor):
        raise InputError(f"images: got {type(images).__name__}, expected a torch.Tensor of shape (N, C, H, W)")
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise InputError(
            f"images: got shape {tuple(images.shape)}, expected (N, C, H, W); for one image use image.unsqueeze(0)"
        )
    if hint := channels_last_hint(images.shape):
        raise InputError(f"images: got shape {tuple(images.shape)}, expected (N, C, H, W); {hint}")
    if images.dtype == torch.uint8:
        raise InputError(
            "images: got dtype torch.uint8, expected floating point: adversarial changes lie between levels; "
            "give images / 255, and eps in the same unit, such as 8 / 255"
        )
    if not images.is_floating_point():
        raise InputError(f"images: got dtype {images.dtype}, expected floating point in {list(bounds)}")
    if images.numel():
        low, high = (value.item() for value in torch.aminmax(images.detach()))
        lowest, highest = within(bounds, images.dtype)
        if not (low >= lowest and high <= highest):  # also true for NaN
            raise InputError(
                f"images: values span [{low:.4g}, {high:.4g}], expected finite values in {list(bounds)}; divide "
                "0..255 images by 255, leave standardization to the model's first layer, or say bounds="
            )
        warn_of_dark(high, low, bounds)


def check_targets(targets: Any, count: int) -> None:
    """Raise `InputError` unless `targets` are `count` class numbers in int64, or `count` rows of soft targets."""
    if not isinstance(targets, Tensor) or targets.ndim not in (1, 2) or len(targets) != count:
        came = f"shape {tuple(targets.shape)}" if isinstance(targets, Tensor) else type(targets).__name__
        raise InputError(f"targets: got {came}, expected a torch.Tensor of shape ({count},) or ({count}, classes)")
    if (targets.dtype != torch.int64) if targets.ndim == 1 else not targets.is_floating_point():
        raise InputError(
            f"targets: got dtype {targets.dtype} of shape {tuple(targets.shape)}, expected int64 class numbers "
            f"({count},), or floating point ({count}, classes)"
        )


def check_keys(keys: Any, count: int) -> None:
    """Raise `InputError` unless `keys` are `count` streams, or None."""
    if keys is not None and (keys.dtype != torch.int64 or keys.shape != (count,)):
        raise InputError(
            f"keys: got {keys.dtype} of shape {tuple(keys.shape)} for {count} images, "
            "expected one int64 stream for each, as elinvar.rng.streams gives"
        )
