"""Operations that replace values by a table made from the image's own statistics."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Int32, UInt8
from torch import Tensor

from .table import Bytes, Factor, blend, values


def autocontrast(images: Bytes, nothing: Factor) -> UInt8[Tensor, "rows c 256"]:
    """Stretch the values of each channel to 0..255."""
    low, high = (side.to(torch.float64).unsqueeze(-1) for side in (images.amin((2, 3)), images.amax((2, 3))))
    flat = high <= low
    low, high = low.masked_fill(flat, 0), high.masked_fill(flat, 255)
    # A number over a tensor would be rounded twice: torch multiplies with the reciprocal.
    scale = torch.full_like(low, 255.0) / (high - low)
    return (values(images).double() * scale + -low * scale).clamp_(0, 255).to(torch.uint8)


def equalize(images: Bytes, nothing: Factor) -> UInt8[Tensor, "rows c 256"]:
    """Spread the values of each channel so that all are about equally frequent.

    table[v] = min(255, (step // 2 + pixels below v) // step),  step = (pixels - those of the highest value) // 255
    """
    rows, channels, height, width = images.shape
    place = images.flatten(2).long()
    counts = torch.zeros(rows, channels, 256, dtype=torch.int32, device=images.device)
    counts.scatter_add_(2, place, torch.ones((), dtype=torch.int32, device=images.device).expand_as(place))
    top = counts.gather(2, images.amax((2, 3)).long().unsqueeze(-1))
    step = torch.div(height * width - top, 255, rounding_mode="floor")
    below = counts.cumsum(-1, dtype=torch.int32) - counts
    table = torch.div(step // 2 + below, step.clamp(min=1), rounding_mode="floor").clamp_(max=255)
    return torch.where(step > 0, table, values(images).int()).to(torch.uint8)


def luma(images: Bytes) -> Int32[Tensor, "rows h w"]:
    """Brightness of color pixels as ITU-R 601 weighs it, in the fixed point of Pillow's conversion to "L"."""
    if images.shape[1] == 1:
        return images[:, 0].int()
    red, green, blue = (images[:, channel].int() for channel in range(3))
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


def contrast(images: Bytes, factor: Factor) -> UInt8[Tensor, "rows 1 256"]:
    """Blend with the mean brightness of the image."""
    total = luma(images).sum((1, 2), dtype=torch.int64)
    mean = (total.double() / (images.shape[2] * images.shape[3]) + 0.5).trunc().float()
    return blend(mean[:, None, None], values(images), factor[:, None, None])


TABLES: Mapping[str, Callable[[Bytes, Factor], UInt8[Tensor, "rows channels 256"]]] = {
    "autocontrast": autocontrast,
    "equalize": equalize,
    "contrast": contrast,
}
