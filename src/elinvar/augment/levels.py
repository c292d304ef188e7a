"""Levels: how strong an operation is, as a number that means the same thing for all of them.

    parameter = start + sign * q(level * span * side / top)

`q` makes a whole number where the operation wants one, `sign` is +1 or -1 with equal chance where the operation goes
both ways, and `side` is the width or the height of the image where lengths are relative to it.
Published policies use the same operations at different scales; each scale is one `Levels`, a row of `LEVELS`:

| scale | translate | color ... sharpness | posterize keeps | solarize from | cutout |
|---|---|---|---|---|---|
| `augmix` | 1/3 of the side | factor .1 to 1.9 | 4 to 0 bits | 256 to 0 | |
| `torchvision` | 150/331 of the side | 1 -+ .9 | 8 to 4 bits | 255 to 0 | |
| `original` | 10 pixels | .1 to 1.9 | 4 to 0 bits | 256 to 0 | 10 |
| `tpu` | 100 pixels (AutoAugment 250) | .1 to 1.9 | 0 to 4 bits: weaker | 0 to 256: weaker | 40 (100) |
| `pytorch_randaugment` | 100 pixels | .1 to 1.9 | 1 to 4 bits: weaker | 0 to 256: weaker | 20 |

Factors of .1 to 1.9 start at their strongest and change nothing in the middle of the scale. A level of cutout means
half of its side, in pixels.

Source   augmix: google-research/augmix; torchvision: its autoaugment.py; original: the code of AutoAugment for CIFAR,
         in arcelien/pba; tpu: tensorflow/tpu, efficientnet; pytorch_randaugment: ildoonet/pytorch-randaugment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from .ops import BY_CODE


@dataclass(frozen=True, kw_only=True)
class Range:
    """From `start` at level 0 to `start + span` at the top level.

    whole        how fractions of the change become whole numbers: "cut" off, or to the "nearest" (even at a half)
    signed       whether the change goes both ways
    relative_to  the side of the image that `span` is a multiple of
    least        what the parameter is at least
    """

    start: float = 0.0
    span: float
    whole: Literal["cut", "nearest"] | None = None
    signed: bool = False
    relative_to: Literal["width", "height"] | None = None
    least: float = float("-inf")


@dataclass(frozen=True, eq=False)
class Levels:
    """A named scale of levels from 0 to `top`; operations without a range take no parameter."""

    name: str
    top: float
    ranges: Mapping[str, Range]

    @property
    def weakening(self) -> frozenset[str]:
        """Operations that change an image less at a higher level: those that keep more bits, or more of the pixels."""
        return frozenset(
            name for name in ("posterize", "solarize") if name in self.ranges and self.ranges[name].span > 0
        )

    def parameters(
        self,
        ops: Int64[Tensor, "*shape"],
        level: Float64[Tensor, "*shape"],
        negative: Float64[Tensor, "*shape"],
        *,
        height: int,
        width: int,
    ) -> Float32[Tensor, "*shape"]:
        """The parameter of each operation (given by code) at its level; signed ones are negated where `negative` < .5.

        >>> from elinvar.augment import OPS
        >>> rotate, level = torch.tensor([OPS["rotate"].code]), torch.tensor([2.5], dtype=torch.float64)
        >>> AUGMIX_LEVELS.parameters(rotate, level, torch.zeros_like(level), height=32, width=32)
        tensor([-7.])
        """
        # index_select, for an index in brackets would wake torch's other threads, who then wait in a busy loop.
        rows = _table(self, height, width).to(level.device).index_select(0, ops.flatten())
        start, span, cut, nearest, signed, least = rows.view(*ops.shape, 6).unbind(-1)
        size = level * span / self.top
        size = torch.where(cut > 0, size.trunc(), size)
        size = torch.where(nearest > 0, size.round(), size)
        size = torch.where((signed > 0) & (negative < 0.5), -size, size)
        return torch.maximum(start + size, least).to(torch.float32)


@lru_cache(maxsize=64)
def _table(levels: Levels, height: int, width: int) -> Float64[Tensor, "ops 6"]:
    """What `levels` say about each operation, by code."""
    none = Range(span=0.0)
    sides = {"width": width, "height": height, None: 1}
    ranges = [levels.ranges.get(BY_CODE[code].name, none) for code in range(len(BY_CODE))]
    rows = [
        [
            row.start,
            row.span * sides[row.relative_to],
            row.whole == "cut",
            row.whole == "nearest",
            row.signed,
            row.least,
        ]
        for row in ranges
    ]
    return torch.tensor(rows, dtype=torch.float64)


def _enhancers(row: Range) -> dict[str, Range]:
    return dict.fromkeys(("color", "contrast", "brightness", "sharpness"), row)


def _translations(span: float) -> dict[str, Range]:
    """Relative to the image's sides, in whole pixels."""
    return {
        "translate_x": Range(span=span, whole="cut", signed=True, relative_to="width"),
        "translate_y": Range(span=span, whole="cut", signed=True, relative_to="height"),
    }


def _pixels(span: float, whole: Literal["cut"] | None = None) -> dict[str, Range]:
    return dict.fromkeys(("translate_x", "translate_y"), Range(span=span, whole=whole, signed=True))


_SHEARS = dict.fromkeys(("shear_x", "shear_y"), Range(span=0.3, signed=True))
_ONE_WAY = _enhancers(Range(start=0.1, span=1.8))
_TURN, _WHOLE_TURN = Range(span=30, signed=True), Range(span=30, whole="cut", signed=True)
_FEWER_BITS, _LOWER_THRESHOLD = Range(start=4, span=-4, whole="cut"), Range(start=256, span=-256, whole="cut")
_ADDITION = Range(span=110, whole="cut")
_MORE_BITS, _HIGHER_THRESHOLD = Range(span=4, whole="cut"), Range(span=256, whole="cut")

AUGMIX_LEVELS = Levels(
    "augmix",
    10.0,
    {
        "posterize": _FEWER_BITS,
        "rotate": _WHOLE_TURN,
        "solarize": _LOWER_THRESHOLD,
        **_SHEARS,
        **_translations(1 / 3),
        **_ONE_WAY,
    },
)

TORCHVISION_LEVELS = Levels(
    "torchvision",
    30.0,
    {
        "posterize": Range(start=8, span=-4, whole="nearest"),
        "rotate": _TURN,
        "solarize": Range(start=255, span=-255),
        **_SHEARS,
        **_translations(150 / 331),
        **_enhancers(Range(start=1, span=0.9, signed=True)),
    },
)

ORIGINAL_LEVELS = Levels(
    "original",
    10.0,
    {
        "posterize": _FEWER_BITS,
        "rotate": _WHOLE_TURN,
        "solarize": _LOWER_THRESHOLD,
        **_SHEARS,
        **_pixels(10, whole="cut"),
        **_ONE_WAY,
        "cutout": Range(span=10, whole="cut"),
    },
)


def _tpu(name: str, pixels: float, half: float) -> Levels:
    return Levels(
        name,
        10.0,
        {
            "posterize": _MORE_BITS,
            "rotate": _TURN,
            "solarize": _HIGHER_THRESHOLD,
            **_SHEARS,
            **_pixels(pixels),
            **_ONE_WAY,
            "solarize_add": _ADDITION,
            "cutout": Range(span=half, whole="cut"),
        },
    )


TPU_LEVELS, TPU_AUTOAUGMENT_LEVELS = _tpu("tpu", 100, half=40), _tpu("tpu_autoaugment", 250, half=100)

PYTORCH_RANDAUGMENT_LEVELS = Levels(
    "pytorch_randaugment",
    30.0,
    {
        "posterize": Range(span=4, whole="cut", least=1),
        "rotate": _TURN,
        "solarize": Range(span=256),
        **_SHEARS,
        **_pixels(100),
        **_ONE_WAY,
        "solarize_add": _ADDITION,
        "cutout": Range(span=20, whole="cut"),
    },
)

LEVELS: Mapping[str, Levels] = MappingProxyType(
    {
        levels.name: levels
        for levels in (
            AUGMIX_LEVELS,
            TORCHVISION_LEVELS,
            ORIGINAL_LEVELS,
            TPU_LEVELS,
            TPU_AUTOAUGMENT_LEVELS,
            PYTORCH_RANDAUGMENT_LEVELS,
        )
    }
)
