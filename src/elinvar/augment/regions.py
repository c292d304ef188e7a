"""Rectangles that are taken out of images: Cutout and random erasing."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float64, Int32, Int64
from torch import Tensor

from ..check import InputError
from ..rng import uniform
from .base import Programmed
from .fill import GREY, Fill, fill_values
from .ops import code
from .program import Program
from .seeds import seed

TRIES = 10

Rectangle = Float64[Tensor, "n 4"]


def square(side: Float64[Tensor, " n"], u: Float64[Tensor, "n 2"], height: int, width: int) -> Rectangle:
    """Height, width, row and column of a square whose centre is uniform over all pixels; it may leave the image.

    Centre c covers c - side // 2 to c - side // 2 + side - 1.
    """
    centre = (u * torch.tensor([height, width], dtype=torch.float64)).floor()
    half = torch.div(side, 2, rounding_mode="floor")
    return torch.stack([side, side, centre[:, 0] - half, centre[:, 1] - half], 1)


def program(ops: Int32[Tensor, " n"], *columns: Tensor) -> Program:
    """Pure programs of one operation each, from columns of parameters."""
    args = torch.cat([column.unsqueeze(1) if column.ndim == 1 else column for column in columns], 1)
    return Program(ops.view(-1, 1, 1), args.to(torch.float32)[:, None, None])


def always(name: str, keys: Int64[Tensor, " n"]) -> Int32[Tensor, " n"]:
    """The code of an operation for each example."""
    return torch.full((len(keys),), code(name), dtype=torch.int32)


def color(fill: Fill, count: int) -> Float64[Tensor, "{count} 3"]:
    """Red, green and blue of a fill, for each example."""
    return torch.tensor(fill_values(fill), dtype=torch.float64).expand(count, 3)


def check_color(name: str, fill: Fill) -> None:
    """Raise `InputError` unless this is one value, or three."""
    if len(fill_values(fill)) not in (1, 3):
        raise InputError(f"{name}: got {fill}, expected one value, or red, green and blue, in 0..255")


@dataclass(frozen=True)
class Cutout(Programmed):
    """Take a square of `size` pixels out of each image.

    size   side of the square, at least 1; its centre is uniform over all pixels, and what leaves the image is cut off
    fill   0 to 255, or (red, green, blue), of which grey images take the first; the paper's is the mean color of the
           data, (125, 123, 114) for CIFAR-10, which is 0 after standardization

    A square of side L takes (1 - L / 4n)^2 (L / n)^2 of an image of side n >= L away on average, for even L.

    Source   DeVries and Taylor, Improved regularization of convolutional neural networks with cutout, 2017: sizes 16
             for CIFAR-10, 8 for CIFAR-100, 20 for SVHN.
    Differs  grey by default; the square of an odd side has that side. Where others give half of the side, as the TPU
             code's `pad_size`, double it.

    >>> from elinvar.rng import streams
    >>> print(Cutout(16).draw(streams(0, torch.arange(2)), height=32, width=32))
    0: cutout(height=16, width=16, row=12, column=14, red=128, green=128, blue=128)
    1: cutout(height=16, width=16, row=0, column=-2, red=128, green=128, blue=128)
    """

    size: int
    fill: Fill = GREY

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"size: got {self.size}, expected a side of at least 1 pixel")
        check_color("fill", self.fill)

    def draw(self, keys: Int64[Tensor, " n"], *, height: int, width: int) -> Program:
        side = torch.full((len(keys),), float(self.size), dtype=torch.float64)
        where = square(side, uniform(keys, 2), height, width)
        return program(always("cutout", keys), where, color(self.fill, len(keys)))


@dataclass(frozen=True)
class RandomErasing(Programmed):
    """Replace a random rectangle, inside of the image, by noise or a color.

        area ~ U(area) height width,   ratio = height / width of the rectangle ~ exp U(log ratio)

    probability  of erasing anything, in [0, 1]
    area         share of the image, 0 < lowest <= highest <= 1
    ratio        of height to width, 0 < lowest <= highest
    value        "random": each value anew, uniform on 0..255; or a color as in `Cutout`

    A rectangle that does not fit is drawn again, up to 10 times; then the image stays as it is.

    Source   Zhong et al., Random erasing data augmentation, AAAI 2020, algorithm 1; on CIFAR the highest area is .4.
    Differs  the logarithm of the ratio is uniform, not the ratio, so that tall and wide are alike; the default highest
             area is 1/3, as in libraries that follow the paper.
    """

    probability: float = 0.5
    area: tuple[float, float] = (0.02, 1 / 3)
    ratio: tuple[float, float] = (0.3, 1 / 0.3)
    value: Literal["random"] | Fill = "random"

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability <= 1.0:
            raise InputError(f"probability: got {self.probability}, expected a number in [0, 1]")
        check_shape("area", self.area, self.ratio)
        if isinstance(self.value, str):
            if self.value not in ("random",):
                raise InputError(f"value: got {self.value!r}, expected 'random', or a color of 0..255")
        else:
            check_color("value", self.value)

    def draw(self, keys: Int64[Tensor, " n"], *, height: int, width: int) -> Program:
        """Draws 0 and 1: whether, and the seed; four for each try follow."""
        u = uniform(keys, 2 + 4 * TRIES)
        where, fits = fitting(
            u[:, 2:].reshape(-1, TRIES, 4), height, width, self.area, tuple(1 / r for r in reversed(self.ratio))
        )
        name = "erase" if isinstance(self.value, str) else "cutout"
        happens = fits & (u[:, 0] < self.probability)
        last = seed(u[:, 1]) if isinstance(self.value, str) else color(self.value, len(keys))
        return program(always(name, keys) * happens, where, last)


def check_shape(name: str, area: tuple[float, float], ratio: tuple[float, float]) -> None:
    """Raise `InputError` unless rectangles can be drawn with these areas (named `name`) and ratios."""
    if not 0 < area[0] <= area[1] <= 1:
        raise InputError(f"{name}: got {area}, expected (lowest, highest) share of the image, above 0 and up to 1")
    if not (0 < ratio[0] <= ratio[1] and math.isfinite(ratio[1])):
        raise InputError(f"ratio: got {ratio}, expected (lowest, highest), above 0")


def fitting(
    u: Float64[Tensor, "n tries 4"],
    height: int,
    width: int,
    area: tuple[float, ...],
    ratio: tuple[float, ...],
) -> tuple[Rectangle, Tensor]:
    """The first rectangle of each row that fits in the image, and whether there is one; the last one if there is none.

    `ratio` is that of width to height. A rectangle's place is uniform over all those inside of the image.
    """
    pixels = (area[0] + (area[1] - area[0]) * u[..., 0]) * (height * width)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    root = torch.exp((low + (high - low) * u[..., 1]) / 2)
    tall, wide = (pixels.sqrt() / root).round(), (pixels.sqrt() * root).round()
    fits = (tall >= 1) & (tall <= height) & (wide >= 1) & (wide <= width)
    row = (u[..., 2] * (height - tall + 1)).floor()
    column = (u[..., 3] * (width - wide + 1)).floor()
    first = fits.to(torch.int8).argmax(1)
    chosen = torch.stack([tall, wide, row, column], -1)
    return chosen.gather(1, first[:, None, None].expand(-1, 1, 4))[:, 0], fits.any(1)
