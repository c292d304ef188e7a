"""How strong each corruption is at severities 1 to 5: constants as data, one set for each size of published images.

Which set is taken for images of which size is said in `benchmark.py`.

Source  Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations",
        ICLR 2019; the paper names the corruptions, the numbers stand only in the generators: hendrycks/robustness,
        ImageNet-C/create_c.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..check import InputError
from .benchmark import BENCHMARKS, benchmark

LEVELS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Constants:
    """Five tuples of parameters, mildest first, and the generator that they stand in."""

    levels: tuple[tuple[float, ...], ...]
    source: str

    def __post_init__(self) -> None:
        if len(self.levels) != len(LEVELS):
            raise InputError(f"constants from {self.source}: got {len(self.levels)} levels, expected {len(LEVELS)}")


@dataclass(frozen=True)
class Severity:
    """What the parameters of a corruption are called (with units), and their values by the name of the benchmark."""

    parameters: tuple[str, ...]
    sets: Mapping[str, Constants]

    def level(self, severity: int, height: int, width: int, constants: str | None = None) -> tuple[float, ...]:
        """The parameters of one severity for images of height x width; `constants` as in `benchmark.benchmark`."""
        return self.sets[benchmark(constants, height, width).name].levels[severity - 1]


Levels = tuple[tuple[float, ...], ...]


def _severity(parameters: str, cifar: Levels, tiny: Levels, imagenet: Levels, larger: Levels) -> Severity:
    rows = zip(BENCHMARKS.values(), (cifar, tiny, imagenet, larger), strict=True)
    sets = {row.name: Constants(levels, f"hendrycks/robustness, {row.source[0]}") for row, levels in rows}
    return Severity(tuple(parameters.split()), MappingProxyType(sets))


def _each(*values: float) -> Levels:
    return tuple((value,) for value in values)


def _factors(*ranges: tuple[int, float]) -> Levels:
    """Zoom factors from 1 on: (how many, step) for each level, with the rounding of `numpy.arange`.

    The 26th of steps of 0.01 is 1.2500000000000002, by which 26 pixels become 33; by 1.25 they would become 32.
    """
    return tuple(tuple(1 + i * (1 + step - 1) for i in range(count)) for count, step in ranges)


SEVERITY: Mapping[str, Severity] = MappingProxyType(
    {
        "gaussian_noise": _severity(
            "sigma",
            _each(0.04, 0.06, 0.08, 0.09, 0.1),
            _each(0.04, 0.08, 0.12, 0.15, 0.18),
            _each(0.08, 0.12, 0.18, 0.26, 0.38),
            _each(0.09, 0.13, 0.19, 0.27, 0.4),
        ),
        "shot_noise": _severity(
            "photons_at_white",
            _each(500, 250, 100, 75, 50),
            _each(250, 100, 50, 30, 15),
            _each(60, 25, 12, 5, 3),
            _each(50, 20, 10, 5, 3),
        ),
        "impulse_noise": _severity(
            "rate",
            _each(0.01, 0.02, 0.03, 0.05, 0.07),
            _each(0.01, 0.02, 0.05, 0.08, 0.14),
            _each(0.03, 0.06, 0.09, 0.17, 0.27),
            _each(0.04, 0.07, 0.1, 0.18, 0.28),
        ),
        "defocus_blur": _severity(
            "radius_px alias_sigma_px",
            ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
            ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
            ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
            ((4, 0.1), (5, 0.5), (7, 0.5), (10, 0.5), (12, 0.5)),
        ),
        "glass_blur": _severity(
            "sigma_px reach_px rounds",
            ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
            ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
            ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
            ((0.8, 1, 3), (1, 3, 1), (1.1, 2, 4), (1.2, 4, 2), (1.6, 5, 2)),
        ),
        "motion_blur": _severity(
            "radius_px sigma_px",
            ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
            ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
            ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
            ((12, 4), (17, 6), (17, 9), (17, 13), (22, 16)),
        ),
        "zoom_blur": _severity(
            "factors",
            _factors((7, 0.01), (12, 0.01), (16, 0.01), (21, 0.01), (26, 0.01)),
            _factors((7, 0.01), (12, 0.01), (16, 0.01), (21, 0.01), (26, 0.01)),
            _factors((12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)),
            _factors((12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)),
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
                (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
                (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
                (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
                (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
                (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
            ),
            (
                (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
                (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
                (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
                (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
                (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
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
            ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
            ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
            ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        ),
        "fog": _severity(
            "strength decay",
            ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
            ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
            ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
            ((1.5, 2), (2, 2), (2.5, 1.8), (2.5, 1.6), (3, 1.5)),
        ),
        "brightness": _severity(
            "added_value",
            _each(0.05, 0.1, 0.15, 0.2, 0.3),
            _each(0.1, 0.2, 0.3, 0.4, 0.5),
            _each(0.1, 0.2, 0.3, 0.4, 0.5),
            _each(0.1, 0.2, 0.3, 0.4, 0.5),
        ),
        "contrast": _severity(
            "factor",
            _each(0.75, 0.5, 0.4, 0.3, 0.15),
            _each(0.4, 0.3, 0.2, 0.1, 0.05),
            _each(0.4, 0.3, 0.2, 0.1, 0.05),
            _each(0.4, 0.3, 0.2, 0.1, 0.05),
        ),
        "elastic_transform": _severity(  # 24.4 is .1 x 244: the generator's constants, where 224 was meant
            "alpha_px sigma_px affine_px",
            ((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
            ((0, 0, 5.12), (3.2, 19.2, 3.84), (6.4, 5.12, 3.84), (6.4, 1.92, 1.92), (10.24, 1.92, 1.28)),
            ((488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88)),
            ((720, 252, 36), (720, 28.8, 72), (18, 3.6, 7.2), (25.2, 3.6, 7.2), (43.2, 3.6, 7.2)),
        ),
        "pixelate": _severity(
            "scale",
            _each(0.95, 0.9, 0.85, 0.75, 0.65),
            _each(0.9, 0.8, 0.7, 0.6, 0.5),
            _each(0.6, 0.5, 0.4, 0.3, 0.25),
            _each(0.5, 0.4, 0.3, 0.25, 0.2),
        ),
        "jpeg_compression": _severity(
            "quality",
            _each(80, 65, 58, 50, 40),
            _each(65, 58, 50, 40, 25),
            _each(25, 18, 15, 10, 7),
            _each(23, 16, 13, 8, 5),
        ),
        "speckle_noise": _severity(
            "sigma",
            _each(0.06, 0.1, 0.12, 0.16, 0.2),
            _each(0.15, 0.2, 0.25, 0.3, 0.35),
            _each(0.15, 0.2, 0.35, 0.45, 0.6),
            _each(0.16, 0.21, 0.36, 0.46, 0.61),
        ),
        "gaussian_blur": _severity(
            "sigma_px",
            _each(0.4, 0.6, 0.7, 0.8, 1),
            _each(0.5, 0.75, 1, 1.25, 1.5),
            _each(1, 2, 3, 4, 6),
            _each(1.5, 2.5, 3.5, 4.5, 6.5),
        ),
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
                (0.62, 0.1, 0.7, 0.7, 0.6, 0),
                (0.65, 0.1, 0.8, 0.7, 0.6, 0),
                (0.65, 0.3, 1, 0.69, 0.6, 0),
                (0.65, 0.1, 0.7, 0.68, 0.6, 1),
                (0.65, 0.1, 0.5, 0.67, 0.6, 1),
            ),
            (
                (0.65, 0.3, 4, 0.69, 0.6, 0),
                (0.65, 0.3, 3, 0.68, 0.6, 0),
                (0.65, 0.3, 2, 0.68, 0.5, 0),
                (0.65, 0.3, 1, 0.65, 1.5, 1),
                (0.67, 0.4, 1, 0.65, 1.5, 1),
            ),
            (
                (0.65, 0.3, 4, 0.69, 0.9, 0),
                (0.65, 0.3, 3.5, 0.68, 0.9, 0),
                (0.65, 0.3, 3, 0.68, 0.8, 0),
                (0.65, 0.3, 1.2, 0.65, 1.8, 1),
                (0.67, 0.4, 1.2, 0.65, 1.8, 1),
            ),
        ),
        "saturate": _severity(
            "scale shift",
            ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
            ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
            ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
            ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        ),
    }
)
