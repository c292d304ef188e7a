"""Operations that fetch each pixel from another place: one matrix for each image, one resampling for all.

Conventions are those of the compiled back end (`compiled/warp.py`), which are Pillow's.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float64, Int32, UInt8
from torch import Tensor

from .table import Bytes

Parameter = Float64[Tensor, " rows"]
Matrix = Float64[Tensor, "rows 6"]


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, f: Tensor) -> Matrix:
    return torch.stack([a, b, c, d, e, f], -1)


def rotate(degrees: Parameter, height: int, width: int) -> Matrix:
    """Turn counterclockwise around the centre of the image; rounded so that quarter turns are exact."""
    cosine, sine = (
        (part * 1e15).round() / 1e15 for part in (torch.deg2rad(degrees).cos(), torch.deg2rad(degrees).sin())
    )
    x, y = width / 2, height / 2
    return _matrix(cosine, -sine, x - (cosine * x - sine * y), sine, cosine, y - (sine * x + cosine * y))


def shear_x(slope: Parameter, height: int, width: int) -> Matrix:
    one, zero = torch.ones_like(slope), torch.zeros_like(slope)
    return _matrix(one, slope, zero, zero, one, zero)


def shear_y(slope: Parameter, height: int, width: int) -> Matrix:
    one, zero = torch.ones_like(slope), torch.zeros_like(slope)
    return _matrix(one, zero, zero, slope, one, zero)


def translate_x(pixels: Parameter, height: int, width: int) -> Matrix:
    one, zero = torch.ones_like(pixels), torch.zeros_like(pixels)
    return _matrix(one, zero, pixels, zero, one, zero)


def translate_y(pixels: Parameter, height: int, width: int) -> Matrix:
    one, zero = torch.ones_like(pixels), torch.zeros_like(pixels)
    return _matrix(one, zero, zero, zero, one, pixels)


def flip(nothing: Parameter, height: int, width: int) -> Matrix:
    one, zero = torch.ones_like(nothing), torch.zeros_like(nothing)
    return _matrix(-one, zero, width * one, zero, one, zero)


def flip_vertical(nothing: Parameter, height: int, width: int) -> Matrix:
    one, zero = torch.ones_like(nothing), torch.zeros_like(nothing)
    return _matrix(one, zero, zero, zero, -one, height * one)


MATRICES: Mapping[str, Callable[[Parameter, int, int], Matrix]] = {
    "rotate": rotate,
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
    "flip": flip,
    "flip_vertical": flip_vertical,
}


def pack(images: Bytes, fill: UInt8[Tensor, " c"]) -> Int32[Tensor, "rows c corners"]:
    """One word for the four pixels around each corner of the grid, those outside repeated from the border.

    The corner to the upper left of pixel (x, y) has the place y (width + 1) + x; after the last comes the fill.
    """
    padded = torch.nn.functional.pad(images.float(), (1, 1, 1, 1), mode="replicate").int()
    words = padded[:, :, :-1, :-1] | (padded[:, :, :-1, 1:] << 8)
    words |= padded[:, :, 1:, :-1] << 16
    words |= padded[:, :, 1:, 1:] << 24
    empty = (fill.int() * 0x01010101).expand(len(images), -1).unsqueeze(-1)
    return torch.cat([words.flatten(2), empty], -1)


def warp(images: Bytes, matrix: Matrix, fill: UInt8[Tensor, " c"]) -> Bytes:
    """out(x, y) = in(a x + b y + c, d x + e y + f) for each image's (a, b, c, d, e, f)."""
    channels, height, width = images.shape[1:]
    a, b, c, d, e, f = matrix[:, :, None, None].unbind(1)
    x = torch.arange(width, dtype=torch.float64, device=images.device) + 0.5
    y = torch.arange(height, dtype=torch.float64, device=images.device)[:, None] + 0.5
    u, v = a * x + b * y + c, d * x + e * y + f
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    u += 0.5
    v += 0.5
    column, line = u.floor(), v.floor()
    right, down = (u - column).float().flatten(1)[:, None], (v - line).float().flatten(1)[:, None]
    outside = (height + 1) * (width + 1)
    place = torch.where(inside, line * (width + 1) + column, outside).long().flatten(1)
    del u, v, column, line, inside
    four = pack(images, fill).gather(2, place[:, None].expand(-1, channels, -1))
    del place
    upper = _lerp(four, 0, right)
    lower = _lerp(four, 16, right)
    return upper.add_(lower.sub_(upper).mul_(down)).to(torch.uint8).view(images.shape)


def _lerp(four: Int32[Tensor, "rows c p"], shift: int, part: Tensor) -> Tensor:
    """Blend the two pixels of each word that start at bit `shift`."""
    left = ((four >> shift) & 255).float()
    change = ((four >> (shift + 8)) & 255).float()
    return left.add_(change.sub_(left).mul_(part))
