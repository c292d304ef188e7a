"""How strong each corruption is at severities 1 to 5: constants as data, and the image sizes that they are meant for.

A set of constants is for images of a certain size: the same blur radius is harmless at 224 pixels and ruinous at 32.
Each corruption has one or more `Constants`, ordered by size; `Severity.level` takes the first that is made for images
as large as the given ones. The rule: up to 64 pixels those of CIFAR-10-C, made at 32; above those of ImageNet-C, made
at 224. Lengths in pixels are taken as they are: an image between two sizes is not scaled, so that every result can be
named by its benchmark. Another size class is one more `Constants` in a row.

Source  Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations",
        ICLR 2019; the paper names the corruptions, the numbers stand only in the generators: hendrycks/robustness,
        ImageNet-C/create_c, make_cifar_c.py and make_imagenet_c.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..check import InputError

LEVELS = (1, 2, 3, 4, 5)
SMALLEST_SIDE = 8


@dataclass(frozen=True)
class Constants:
    """Five tuples of parameters, mildest first, for images whose longer side has at most `largest_side` pixels."""

    levels: tuple[tuple[float, ...], ...]
    largest_side: float
    source: str

    def __post_init__(self) -> None:
        if len(self.levels) != len(LEVELS):
            raise InputError(f"constants from {self.source}: got {len(self.levels)} levels, expected {len(LEVELS)}")


@dataclass(frozen=True)
class Severity:
    """What the parameters of a corruption are called (with units), and their values by size of image."""

    parameters: tuple[str, ...]
    sets: tuple[Constants, ...]

    def level(self, severity: int, height: int, width: int) -> tuple[float, ...]:
        """The parameters of one severity for images of height x width. Raises `InputError` where there are none."""
        if min(height, width) < SMALLEST_SIDE:
            raise InputError(f"images: got {height}x{width} pixels, expected sides of at least {SMALLEST_SIDE}")
        return next(
            constants.levels[severity - 1] for constants in self.sets if max(height, width) <= constants.largest_side
        )


CIFAR = "hendrycks/robustness, ImageNet-C/create_c/make_cifar_c.py"
IMAGENET = "hendrycks/robustness, ImageNet-C/create_c/make_imagenet_c.py"
CIFAR_LARGEST_SIDE = 64

Levels = tuple[tuple[float, ...], ...]


def _severity(parameters: str, cifar: Levels, imagenet: Levels) -> Severity:
    sets = Constants(cifar, CIFAR_LARGEST_SIDE, CIFAR), Constants(imagenet, math.inf, IMAGENET)
    return Severity(tuple(parameters.split()), sets)


def _each(*values: float) -> Levels:
    return tuple((value,) for value in values)


def _factors(*ranges: tuple[int, int]) -> Levels:
    """Zoom factors 1, 1 + step, ...: (how many, step in hundredths) for each level."""
    return tuple(tuple((100 + step * i) / 100 for i in range(count)) for count, step in ranges)


SEVERITY: Mapping[str, Severity] = MappingProxyType(
    {
        "gaussian_noise": _severity("sigma", _each(0.04, 0.06, 0.08, 0.09, 0.10), _each(0.08, 0.12, 0.18, 0.26, 0.38)),
        "shot_noise": _severity("photons_at_white", _each(500, 250, 100, 75, 50), _each(60, 25, 12, 5, 3)),
        "impulse_noise": _severity("rate", _each(0.01, 0.02, 0.03, 0.05, 0.07), _each(0.03, 0.06, 0.09, 0.17, 0.27)),
        "defocus_blur": _severity(
            "radius_px alias_sigma_px",
            ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
            ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        ),
        "glass_blur": _severity(
            "sigma_px reach_px rounds",
            ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
            ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        ),
        "motion_blur": _severity(
            "radius_px sigma_px",
            ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
            ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        ),
        "zoom_blur": _severity(
            "factors",
            _factors((7, 1), (12, 1), (16, 1), (21, 1), (26, 1)),
            _factors((12, 1), (16, 1), (11, 2), (13, 2), (11, 3)),
        ),
        "snow": _severity(
            "mean std zoom cut radius_px sigma_px mix",
            (
                (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
                (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
                (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
                (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
                (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
            ),
            (
                (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
                (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
                (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
                (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
                (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
            ),
        ),
        "frost": _severity(
            "image_weight texture_weight",
            ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
            ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        ),
        "fog": _severity(
            "strength decay",
            ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
            ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
        ),
        "brightness": _severity("added_value", _each(0.05, 0.1, 0.15, 0.2, 0.3), _each(0.1, 0.2, 0.3, 0.4, 0.5)),
        "contrast": _severity("factor", _each(0.75, 0.5, 0.4, 0.3, 0.15), _each(0.4, 0.3, 0.2, 0.1, 0.05)),
        "elastic_transform": _severity(  # 24.4 is .1 x 244: the generator's constants, where 224 was meant
            "alpha_px sigma_px affine_px",
            ((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
            (
                (488, 170.8, 24.4),
                (488, 19.52, 48.8),
                (12.2, 2.44, 4.88),
                (17.08, 2.44, 4.88),
                (29.28, 2.44, 4.88),
            ),
        ),
        "pixelate": _severity("scale", _each(0.95, 0.9, 0.85, 0.75, 0.65), _each(0.6, 0.5, 0.4, 0.3, 0.25)),
        "jpeg_compression": _severity("quality", _each(80, 65, 58, 50, 40), _each(25, 18, 15, 10, 7)),
        "speckle_noise": _severity("sigma", _each(0.06, 0.1, 0.12, 0.16, 0.2), _each(0.15, 0.2, 0.35, 0.45, 0.6)),
        "gaussian_blur": _severity("sigma_px", _each(0.4, 0.6, 0.7, 0.8, 1), _each(1, 2, 3, 4, 6)),
        "spatter": _severity(
            "mean std sigma_px cut strength mud",
            (
                (0.62, 0.1, 0.7, 0.7, 0.5, 0),
                (0.65, 0.1, 0.8, 0.7, 0.5, 0),
                (0.65, 0.3, 1, 0.69, 0.5, 0),
                (0.65, 0.1, 0.7, 0.69, 0.6, 1),
                (0.65, 0.1, 0.5, 0.68, 0.6, 1),
            ),
            (
                (0.65, 0.3, 4, 0.69, 0.6, 0),
                (0.65, 0.3, 3, 0.68, 0.6, 0),
                (0.65, 0.3, 2, 0.68, 0.5, 0),
                (0.65, 0.3, 1, 0.65, 1.5, 1),
                (0.67, 0.4, 1, 0.65, 1.5, 1),
            ),
        ),
        "saturate": _severity(
            "scale shift",
            ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
            ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        ),
    }
)
