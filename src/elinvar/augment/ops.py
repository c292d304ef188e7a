"""The operations that augmentations are programmed with: one row each.

A row says what an operation is; the two back ends say how it is computed (`compiled/` image by image on a CPU,
`batched/` on tensors), and the tests of every row come from this table. To add one: a row here with the next free code
(codes are part of stored programs and never change), a kernel and a branch in `compiled/`, an entry in the table of its
kind in `batched/`, and its twin in the tests: from Pillow, or for regions from NumPy.

Images are uint8 while operations run, and parameters that are pixel values count from 0 to 255. Results equal those of
Pillow for the same parameter; images of one channel take what is meant for red.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """Where an output pixel comes from."""

    TABLE = "table"  # the pixel's own value, through 256 values that the parameter fixes
    HISTOGRAM = "histogram"  # the same, through 256 values that the image's own statistics fix
    WARP = "warp"  # pixels at another place
    LOCAL = "local"  # the pixel, its other channels and its neighbours
    REGION = "region"  # the pixel; inside of a rectangle a colour, or noise that a seed fixes


@dataclass(frozen=True, kw_only=True)
class Op:
    """One operation.

    name        what people type and read
    code        what programs store
    kind        which kernel it is data for
    parameters  names of its parameters, in the order of `Program.args`
    nothing     the first parameter's value that leaves every image as it is; None: there is none
    corrupts    whether it overlaps a corruption of the CIFAR-C and ImageNet-C benchmarks, by the count of AugMix
    source      who defines it
    """

    name: str
    code: int
    kind: Kind
    parameters: tuple[str, ...] = ()
    nothing: float | None = None
    corrupts: bool = False
    source: str


RECTANGLE = ("height", "width", "row", "column")

_ROWS = (
    Op(name="identity", code=0, kind=Kind.TABLE, source="RandAugment, Cubuk et al. 2020"),
    Op(name="autocontrast", code=1, kind=Kind.HISTOGRAM, source="Pillow ImageOps.autocontrast, cutoff 0"),
    Op(name="equalize", code=2, kind=Kind.HISTOGRAM, source="Pillow ImageOps.equalize"),
    Op(name="posterize", code=3, kind=Kind.TABLE, parameters=("bits",), nothing=8, source="Pillow ImageOps.posterize"),
    Op(name="rotate", code=4, kind=Kind.WARP, parameters=("degrees",), nothing=0, source="Pillow Image.rotate"),
    Op(
        name="solarize",
        code=5,
        kind=Kind.TABLE,
        parameters=("threshold",),
        nothing=256,
        source="Pillow ImageOps.solarize",
    ),
    Op(name="shear_x", code=6, kind=Kind.WARP, parameters=("slope",), nothing=0, source="AutoAugment, PBA code"),
    Op(name="shear_y", code=7, kind=Kind.WARP, parameters=("slope",), nothing=0, source="AutoAugment, PBA code"),
    Op(name="translate_x", code=8, kind=Kind.WARP, parameters=("pixels",), nothing=0, source="AutoAugment, PBA code"),
    Op(name="translate_y", code=9, kind=Kind.WARP, parameters=("pixels",), nothing=0, source="AutoAugment, PBA code"),
    Op(
        name="color",
        code=10,
        kind=Kind.LOCAL,
        parameters=("factor",),
        nothing=1,
        corrupts=True,
        source="Pillow ImageEnhance.Color",
    ),
    Op(
        name="contrast",
        code=11,
        kind=Kind.HISTOGRAM,
        parameters=("factor",),
        nothing=1,
        corrupts=True,
        source="Pillow ImageEnhance.Contrast",
    ),
    Op(
        name="brightness",
        code=12,
        kind=Kind.TABLE,
        parameters=("factor",),
        nothing=1,
        corrupts=True,
        source="Pillow ImageEnhance.Brightness",
    ),
    Op(
        name="sharpness",
        code=13,
        kind=Kind.LOCAL,
        parameters=("factor",),
        nothing=1,
        corrupts=True,
        source="Pillow ImageEnhance.Sharpness",
    ),
    Op(name="invert", code=14, kind=Kind.TABLE, source="Pillow ImageOps.invert"),
    Op(name="flip", code=15, kind=Kind.WARP, source="Pillow ImageOps.mirror"),
    Op(
        name="solarize_add",
        code=16,
        kind=Kind.TABLE,
        parameters=("addition",),
        nothing=0,
        source="AutoAugment, TPU code",
    ),
    Op(name="flip_vertical", code=17, kind=Kind.WARP, source="Pillow ImageOps.flip"),
    Op(
        name="cutout",
        code=18,
        kind=Kind.REGION,
        parameters=(*RECTANGLE, "red", "green", "blue"),
        nothing=0,
        corrupts=True,
        source="DeVries and Taylor 2017",
    ),
    Op(
        name="erase",
        code=19,
        kind=Kind.REGION,
        parameters=(*RECTANGLE, "seed"),
        nothing=0,
        source="Random erasing, Zhong et al. 2020",
    ),
    Op(
        name="gaussian_noise",
        code=20,
        kind=Kind.REGION,
        parameters=("sigma_red", "sigma_green", "sigma_blue", "seed"),
        corrupts=True,
        source="the usual additive noise",
    ),
    Op(
        name="patch_gaussian",
        code=21,
        kind=Kind.REGION,
        parameters=(*RECTANGLE, "sigma", "seed"),
        nothing=0,
        corrupts=True,
        source="Patch Gaussian, Lopes et al. 2019",
    ),
    Op(
        name="patch_uniform",
        code=22,
        kind=Kind.REGION,
        parameters=(*RECTANGLE, "amplitude", "seed"),
        nothing=0,
        source="AugMix, Hendrycks et al. 2020, section 4.2",
    ),
)

OPS: Mapping[str, Op] = MappingProxyType({op.name: op for op in _ROWS})
BY_CODE: Mapping[int, Op] = MappingProxyType({op.code: op for op in _ROWS})


def code(name: str) -> int:
    """The code of an operation, for kernels that branch on it."""
    return OPS[name].code
