"""How strong each corruption is at severities 1 to 5: constants as data, and the image sizes that they are meant for.

A set of constants is for images of a certain size: the same blur radius is harmless at 224 pixels and ruinous at 32.
Each corruption has one or more `Constants`, ordered by size; `Severity.level` takes the first that is made for images
as large as the given ones. Another size class is one more `Constants` in a row.

Source  Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations",
        ICLR 2019; the paper names the corruptions, the numbers stand only in the generator: hendrycks/robustness,
        ImageNet-C/create_c/make_cifar_c.py.
"""

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
    largest_side: int
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
        for constants in self.sets:
            if max(height, width) <= constants.largest_side:
                return constants.levels[severity - 1]
        raise InputError(
            f"images: got {height}x{width} pixels, but severity constants are known for sides up to "
            f"{self.sets[-1].largest_side}; resize the images"
        )


CIFAR = "hendrycks/robustness, ImageNet-C/create_c/make_cifar_c.py"
CIFAR_LARGEST_SIDE = 64


def _cifar(parameters: str, *levels: tuple[float, ...]) -> Severity:
    return Severity(tuple(parameters.split()), (Constants(levels, CIFAR_LARGEST_SIDE, CIFAR),))


def _factors(count: int) -> tuple[float, ...]:
    return tuple((100 + step) / 100 for step in range(count))


SEVERITY: Mapping[str, Severity] = MappingProxyType(
    {
        "gaussian_noise": _cifar("sigma", (0.04,), (0.06,), (0.08,), (0.09,), (0.10,)),
        "shot_noise": _cifar("photons_at_white", (500,), (250,), (100,), (75,), (50,)),
        "impulse_noise": _cifar("rate", (0.01,), (0.02,), (0.03,), (0.05,), (0.07,)),
        "defocus_blur": _cifar("radius_px alias_sigma_px", (0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        "glass_blur": _cifar(
            "sigma_px reach_px rounds", (0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)
        ),
        "motion_blur": _cifar("radius_px sigma_px", (6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        "zoom_blur": _cifar("factors", *(_factors(count) for count in (7, 12, 16, 21, 26))),
        "snow": _cifar(
            "mean std zoom cut radius_px sigma_px mix",
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        "frost": _cifar("image_weight texture_weight", (1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        "fog": _cifar("strength decay", (0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        "brightness": _cifar("added_value", (0.05,), (0.1,), (0.15,), (0.2,), (0.3,)),
        "contrast": _cifar("factor", (0.75,), (0.5,), (0.4,), (0.3,), (0.15,)),
        "elastic_transform": _cifar(
            "alpha_px sigma_px affine_px", (0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6),
            (3.2, 0.96, 0.96),
        ),
        "pixelate": _cifar("scale", (0.95,), (0.9,), (0.85,), (0.75,), (0.65,)),
        "jpeg_compression": _cifar("quality", (80,), (65,), (58,), (50,), (40,)),
    }
)  # fmt: skip
