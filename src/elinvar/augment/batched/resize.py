"""Cut a box out of each image and resample it: sums over few weighted pixels, one pass along each side.

Everything is as in Pillow: coefficients of 22 bits after the point, each pass rounded to uint8.
"""

import torch
from jaxtyping import Float64, Int32, Int64, UInt8
from torch import Tensor

from ..filters import BITS, SUPPORT, Interpolation

# Pixel values that are worked on at once.
LARGEST = 1 << 24

Bytes = UInt8[Tensor, "n c h w"]


def weigh(distance: Float64[Tensor, "*shape"], interpolation: Interpolation) -> Float64[Tensor, "*shape"]:
    """The filter, at distances in units of its scale."""
    x = distance.abs()
    if interpolation == "bilinear":
        return (1 - x).clamp(min=0)
    a = -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0))


def coefficients(
    start: Float64[Tensor, " n"], length: Float64[Tensor, " n"], side: int, out: int, interpolation: Interpolation
) -> tuple[Int64[Tensor, "n {out} taps"], Int32[Tensor, "n {out} taps"]]:
    """Which pixels of a line of `side`, and how much of each, make the `out` pixels for `start` to `start + length`."""
    scale = (length / out)[:, None]
    wide = scale.clamp(min=1.0)
    support = SUPPORT[interpolation] * wide
    centre = start[:, None] + (torch.arange(out, dtype=torch.float64, device=start.device) + 0.5) * scale
    first = (centre - support + 0.5).trunc().clamp(min=0)
    last = (centre + support + 0.5).trunc().clamp(max=side)
    taps = max(1, int((last - first).amax())) if len(start) else 1
    place = first[..., None] + torch.arange(taps, dtype=torch.float64, device=start.device)
    weight = weigh((place - centre[..., None] + 0.5) * (1.0 / wide[..., None]), interpolation)
    weight = torch.where(place < last[..., None], weight, 0)
    weight = weight / weight.sum(-1, keepdim=True)
    fixed = (weight * (1 << BITS) + torch.where(weight < 0, -0.5, 0.5)).trunc().to(torch.int32)
    return place.long().clamp_(max=side - 1), fixed


def _pass(
    lines: Bytes, place: Int64[Tensor, "n out taps"], weight: Int32[Tensor, "n out taps"]
) -> UInt8[Tensor, "n c h out"]:
    """Resample the last side of each image."""
    n, channels, height, _ = lines.shape
    shape = (n, channels, height, place.shape[1])
    total = torch.full(shape, 1 << (BITS - 1), dtype=torch.int32, device=lines.device)
    for tap in range(place.shape[2]):
        index = place[:, None, None, :, tap].expand(shape)
        total += lines.gather(3, index).int().mul_(weight[:, None, None, :, tap])
    return (total >> BITS).clamp_(0, 255).to(torch.uint8)


def resized_crop(
    images: Bytes, boxes: Int64[Tensor, "n 4"], size: tuple[int, int], interpolation: Interpolation
) -> UInt8[Tensor, "n c h_out w_out"]:
    """The box (height, width, row, column) of each image, resampled to `size`."""
    boxes = boxes.to(images.device, torch.float64)
    rows = images.shape[1] * max(images.shape[2], size[0])
    step = max(1, LARGEST // (rows * max(images.shape[3], size[1])))
    made = [
        _resized(images[n : n + step], boxes[n : n + step], size, interpolation) for n in range(0, len(images), step)
    ]
    return torch.cat(made) if made else images.new_empty(0, images.shape[1], *size)


def _resized(
    images: Bytes, boxes: Float64[Tensor, "n 4"], size: tuple[int, int], interpolation: Interpolation
) -> UInt8[Tensor, "n c h_out w_out"]:
    height, width, row, column = boxes.unbind(1)
    across = _pass(images, *coefficients(column, width, images.shape[3], size[1], interpolation))
    down = _pass(across.transpose(2, 3), *coefficients(row, height, images.shape[2], size[0], interpolation))
    return down.transpose(2, 3).contiguous()
