"""Levels: how strong an operation is, as a number that means the same thing for all of them.

    parameter = start + sign * q(level * span * side / top)

`q` cuts the fraction off where the operation wants a whole number, `sign` is +1 or -1 with equal chance where the
operation goes both ways, and `side` is the width or the height of the image where lengths are relative to it.
Published policies use the same operations at different scales; each scale is one `Levels`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from .ops import BY_CODE


@dataclass(frozen=True, kw_only=True)
class Range:
    """From `start` at level 0 to `start + span` at the top level."""

    start: float = 0.0
    span: float
    whole: bool = False
    signed: bool = False
    relative_to: Literal["width", "height"] | None = None


@dataclass(frozen=True, eq=False)
class Levels:
    """A named scale of levels from 0 to `top`; operations without a range take no parameter."""

    name: str
    top: float
    ranges: Mapping[str, Range]

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
        none = Range(span=0.0)
        sides = {"width": width, "height": height, None: 1}
        ranges = [self.ranges.get(BY_CODE[code].name, none) for code in range(len(BY_CODE))]
        table = [[row.start, row.span * sides[row.relative_to], row.whole, row.signed] for row in ranges]
        # index_select, for an index in brackets would wake torch's other threads, who then wait in a busy loop.
        rows = torch.tensor(table, dtype=torch.float64, device=level.device).index_select(0, ops.flatten())
        start, span, whole, signed = rows.view(*ops.shape, 4).unbind(-1)
        size = level * span / self.top
        size = torch.where(whole > 0, size.long().to(size.dtype), size)
        size = torch.where((signed > 0) & (negative < 0.5), -size, size)
        return (start + size).to(torch.float32)


_ENHANCE = Range(start=0.1, span=1.8)

AUGMIX_LEVELS = Levels(
    "augmix",
    10.0,
    {
        "posterize": Range(start=4, span=-4, whole=True),
        "rotate": Range(span=30, whole=True, signed=True),
        "solarize": Range(start=256, span=-256, whole=True),
        "shear_x": Range(span=0.3, signed=True),
        "shear_y": Range(span=0.3, signed=True),
        "translate_x": Range(span=1 / 3, whole=True, signed=True, relative_to="width"),
        "translate_y": Range(span=1 / 3, whole=True, signed=True, relative_to="height"),
        "color": _ENHANCE,
        "contrast": _ENHANCE,
        "brightness": _ENHANCE,
        "sharpness": _ENHANCE,
    },
)
