"""The published benchmarks, by the size of the images that they were made from.

    name           side   corruptions        perturbations      generators in hendrycks/robustness (and _p.py)
    cifar-10         32   CIFAR-10-C         CIFAR-10-P         make_cifar_c.py
    tiny-imagenet    64   Tiny-ImageNet-C    Tiny-ImageNet-P    make_tinyimagenet_c.py
    imagenet        224   ImageNet-C         ImageNet-P         make_imagenet_c.py
    imagenet-299    299   ImageNet-C-299     ImageNet-P-299     make_imagenet_c_inception.py

CIFAR-100-C has the constants of CIFAR-10-C, and ImageNet-64x64-C those of Tiny-ImageNet-C. Constants are for images of
one size: the same blur radius is harmless at 224 pixels and ruinous at 32. Where nobody chooses, the benchmark is the
one whose side is nearest to the longer side of the images, by ratio: up to 45 pixels the first, up to 119 the second,
up to 258 the third. Lengths in pixels are taken as they are: an image between two sizes is not scaled, so that every
result can be named by its benchmark.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..check import InputError, unknown

SMALLEST_SIDE = 8
SUFFIXES = ("-c", "-p")


@dataclass(frozen=True)
class Benchmark:
    """A size of images, and what the generators set for it besides the constants of each corruption.

    frost   what photographs of frost are shrunk by
    fog     side of the height map that fog is cut from; larger images get a larger one
    source  the generators' names: of corruptions, of perturbations
    """

    name: str
    side: int
    corruptions: str
    perturbations: str
    frost: float
    fog: int
    source: tuple[str, str]


_ROWS = (
    Benchmark("cifar-10", 32, "CIFAR-10-C", "CIFAR-10-P", 0.2, 32, ("make_cifar_c.py", "make_cifar_p.py")),
    Benchmark(
        "tiny-imagenet", 64, "Tiny-ImageNet-C", "Tiny-ImageNet-P", 0.3, 64,
        ("make_tinyimagenet_c.py", "make_tinyimagenet_p.py"),
    ),
    Benchmark("imagenet", 224, "ImageNet-C", "ImageNet-P", 1.0, 256, ("make_imagenet_c.py", "make_imagenet_p.py")),
    Benchmark(
        "imagenet-299", 299, "ImageNet-C-299", "ImageNet-P-299", 1.0, 512,
        ("make_imagenet_c_inception.py", "make_imagenet_p_inception.py"),
    ),
)  # fmt: skip
BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType({row.name: row for row in _ROWS})


def benchmark(constants: object, height: int, width: int) -> Benchmark:
    """The benchmark called `constants`, or, for None, the one whose size is nearest to height x width.

    A name may end in -c or -p, and capitals do not count. Raises `InputError` for any other, and for images too small.

    >>> benchmark(None, 64, 64).corruptions, benchmark("Tiny-ImageNet-C", 32, 32).side
    ('Tiny-ImageNet-C', 64)
    """
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(f"images: got {height}x{width} pixels, expected sides of at least {SMALLEST_SIDE}")
    if constants is not None:
        return named(constants)
    longer = max(height, width)
    return min(_ROWS, key=lambda row: max(row.side / longer, longer / row.side))


def named(constants: object) -> Benchmark:
    """The benchmark called `constants`; raises `InputError` for any other name."""
    if not isinstance(constants, str):
        raise InputError(f"constants: got {constants!r}, expected one of {', '.join(BENCHMARKS)}")
    plain = constants.lower()
    for suffix in SUFFIXES:
        plain = plain.removesuffix(suffix)
    if plain not in BENCHMARKS:
        raise unknown("set of constants", constants, BENCHMARKS)
    return BENCHMARKS[plain]
