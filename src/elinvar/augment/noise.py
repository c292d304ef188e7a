"""Noise on images or on a patch of them: Gaussian noise, Patch Gaussian, Patch Uniform."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ..check import InputError
from ..rng import uniform
from .base import Programmed
from .program import Program
from .regions import Rectangle, always, program, square
from .seeds import seed

Space = Literal["pixel", "normalized"]


STRONGEST = 10.0  # of noise, in units of [0, 1] images: beyond it strengths are in levels of 255


def _check(name: str, value: float) -> None:
    if value > STRONGEST and math.isfinite(value):
        raise InputError(
            f"{name}: got {value:g}, expected at most {STRONGEST:g}, for pixels in [0, 1]; for levels of 255 say "
            f"{value:g}/255"
        )
    if not (value >= 0 and math.isfinite(value)):
        raise InputError(f"{name}: got {value}, expected a number from 0 on, for pixels in [0, 1]")


@dataclass(frozen=True)
class GaussianNoise(Programmed):
    """Add independent Gaussian noise to every value, and clip to the range of the image.

    sigma  standard deviation, from 0 on, for pixels in [0, 1]
    space  "pixel"; or "normalized": `sigma` is meant for standardized images, so that a channel gets sigma times `std`
    std    standard deviation of the data's channels, one or (red, green, blue), for pixels in [0, 1]; only with
           "normalized"; grey images take the first

    uint8 images stay uint8; noisy values are rounded to 256.

    Source   Merchant et al. (Split BatchNorms) train with sigma .2; their scale is not given, and their accuracies fit
             the normalized one.

    >>> from elinvar.rng import streams
    >>> print(GaussianNoise(0.1).draw(streams(0, torch.arange(1)), height=32, width=32))
    0: gaussian_noise(sigma_red=25.5, sigma_green=25.5, sigma_blue=25.5, seed=10946269)
    """

    sigma: float
    space: Space = "pixel"
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _check("sigma", self.sigma)
        if self.space not in ("pixel", "normalized"):
            raise InputError(f"space: got {self.space!r}, expected 'pixel' or 'normalized'")
        if (self.space == "normalized") != (self.std is not None):
            raise InputError(
                f"std: got {self.std} for space {self.space!r}, expected the data's standard deviations for "
                "'normalized', and none for 'pixel'"
            )
        if self.std is not None and (len(self.std) not in (1, 3) or not all(0 < value <= 1 for value in self.std)):
            raise InputError(f"std: got {self.std}, expected one value above 0 and up to 1, or one for each channel")

    def draw(self, keys: Int64[Tensor, " n"], *, height: int, width: int) -> Program:
        sigma = 255 * self.sigma * torch.tensor(self.std or (1.0,), dtype=torch.float64)
        return program(always("gaussian_noise", keys), sigma.expand(len(keys), 3), seed(uniform(keys, 1)[:, 0]))


def patch(u: Float64[Tensor, "n 3"], size: int | None, random_size: bool, height: int, width: int) -> Rectangle:
    """A square of `size`, or of 1 to `size` alike; all of the image if there is no size."""
    if size is None:
        return torch.tensor([height, width, 0, 0], dtype=torch.float64).expand(len(u), 4)
    side = (u[:, 0] * size).floor() + 1 if random_size else torch.full_like(u[:, 0], size)
    return square(side, u[:, 1:], height, width)


def _check_size(size: int | None) -> None:
    if size is not None and size < 1:
        raise InputError(f"size: got {size}, expected a side of at least 1 pixel, or null for the whole image")


@dataclass(frozen=True)
class PatchGaussian(Programmed):
    """Add Gaussian noise to a square of each image.

    size          side of the square, placed as in `Cutout`; None: the whole image
    sigma         standard deviation, from 0 on, for pixels in [0, 1]; clipped to that range
    random_size   draw the side from 1 to `size` for each image
    random_sigma  draw the standard deviation from 0 to `sigma` for each image

    Source   Lopes et al., Improving robustness without sacrificing accuracy with Patch Gaussian augmentation, 2019,
             section 3.
    """

    size: int | None = 25
    sigma: float = 0.1
    random_size: bool = False
    random_sigma: bool = False

    def __post_init__(self) -> None:
        _check_size(self.size)
        _check("sigma", self.sigma)

    def draw(self, keys: Int64[Tensor, " n"], *, height: int, width: int) -> Program:
        """Draws: seed, sigma, side, and the centre's row and column."""
        u = uniform(keys, 5)
        sigma = 255 * self.sigma * (u[:, 1] if self.random_sigma else torch.ones_like(u[:, 1]))
        where = patch(u[:, 2:], self.size, self.random_size, height, width)
        return program(always("patch_gaussian", keys), where, sigma, seed(u[:, 0]))


@dataclass(frozen=True)
class PatchUniform(Programmed):
    """Add uniform noise to a square of each image, or put uniform noise in its place.

    size         side of the square, placed as in `Cutout`; None: the whole image
    amplitude    a: noise is uniform on [-a, a], for pixels in [0, 1]; from 0 on; clipped to that range
    random_size  draw the side from 1 to `size` for each image
    replace      values of the square are uniform on [0, 1] instead, and `amplitude` is not used

    Source   the baseline of Hendrycks et al., AugMix, ICLR 2020, section 4.2, without its settings: these are ours.
    """

    size: int | None = 112
    amplitude: float = 0.5
    random_size: bool = True
    replace: bool = False

    def __post_init__(self) -> None:
        _check_size(self.size)
        _check("amplitude", self.amplitude)

    def draw(self, keys: Int64[Tensor, " n"], *, height: int, width: int) -> Program:
        """Draws: seed, side, and the centre's row and column."""
        u = uniform(keys, 4)
        where = patch(u[:, 1:], self.size, self.random_size, height, width)
        if self.replace:
            return program(always("erase", keys), where, seed(u[:, 0]))
        amplitude = torch.full_like(u[:, 0], 255 * self.amplitude)
        return program(always("patch_uniform", keys), where, amplitude, seed(u[:, 0]))
