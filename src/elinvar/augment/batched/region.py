"""Operations that change a rectangle: to a colour, to noise, or by adding noise.

Rectangles and noise are those of the compiled back end (`compiled/region.py`).
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float32, Int32
from torch import Tensor

from ...rng import bits, streams
from ..seeds import DRAWS, KEY, normals
from .table import Bytes

Args = Float32[Tensor, "rows parameters"]


def _span(start: Tensor, length: Tensor, side: int) -> Bool[Tensor, "rows {side}"]:
    """Which of `side` places are in `start` to `start + length`."""
    first = start.double().trunc()
    last = first + length.double().trunc()
    place = torch.arange(side, device=start.device)
    return (place >= first[:, None]) & (place < last[:, None])


def inside(images: Bytes, args: Args) -> Bool[Tensor, "rows 1 h w"]:
    """Which pixels are in the rectangle."""
    height, width, row, column = args[:, :4].unbind(1)
    down, right = _span(row, height, images.shape[2]), _span(column, width, images.shape[3])
    return (down[:, :, None] & right[:, None, :]).unsqueeze(1)


def draws(images: Bytes, seed: Float32[Tensor, " rows"]) -> Int32[Tensor, "rows c h w"]:
    """16 random bits for each value."""
    values = images[0].numel()
    words = bits(streams(KEY, seed.long()), -(-values // 4))
    return (words.view(torch.int16)[:, :values].int() & (DRAWS - 1)).view(images.shape)


def normal(images: Bytes, seed: Float32[Tensor, " rows"]) -> Float32[Tensor, "rows c h w"]:
    """A standard normal number for each value."""
    table = normals().to(images.device)
    return table.index_select(0, draws(images, seed).flatten()).view(images.shape)


def _add(images: Bytes, noise: Float32[Tensor, "rows c h w"]) -> Bytes:
    return noise.add_(images).add_(0.5).clamp_(0, 255).to(torch.uint8)


def cutout(images: Bytes, args: Args) -> Bytes:
    """Pixels of the rectangle get one colour."""
    color = args[:, 4 : 4 + images.shape[1], None, None].clamp(0, 255).to(torch.uint8)
    return torch.where(inside(images, args), color, images)


def erase(images: Bytes, args: Args) -> Bytes:
    """Values of the rectangle are drawn anew, each alike from 0..255."""
    return torch.where(inside(images, args), (draws(images, args[:, 4]) >> 8).to(torch.uint8), images)


def gaussian_noise(images: Bytes, args: Args) -> Bytes:
    """Gaussian noise on every value, with a standard deviation for each channel."""
    return _add(images, normal(images, args[:, 3]).mul_(args[:, : images.shape[1], None, None]))


def patch_gaussian(images: Bytes, args: Args) -> Bytes:
    """Gaussian noise in the rectangle."""
    noise = normal(images, args[:, 5]).mul_(args[:, 4, None, None, None])
    return torch.where(inside(images, args), _add(images, noise), images)


def patch_uniform(images: Bytes, args: Args) -> Bytes:
    """Noise in the rectangle, uniform from -amplitude to +amplitude, rounded and clipped."""
    part = draws(images, args[:, 5]).float().add_(0.5).mul_(2 / DRAWS).sub_(1)
    noise = part.mul_(args[:, 4, None, None, None])
    return torch.where(inside(images, args), _add(images, noise), images)


CHANGES: Mapping[str, Callable[[Bytes, Args], Bytes]] = {
    "cutout": cutout,
    "erase": erase,
    "gaussian_noise": gaussian_noise,
    "patch_gaussian": patch_gaussian,
    "patch_uniform": patch_uniform,
}
