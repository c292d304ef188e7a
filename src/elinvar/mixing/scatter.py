"""Methods in which each row, column, pixel or element decides for itself which image it comes from."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from .base import FIRST, BetaMethod, Drawn, Label, check_label
from .maps import Axis, Scatter, Size


@dataclass(frozen=True)
class ScatterMethod(BetaMethod):
    """Lines, pixels or elements from the first image with probability l, l ~ Beta(alpha, alpha).

    label   "realized": w is the part that is from the first image; "lambda": w = l, what is expected of it
    """

    label: Label = "realized"
    draws: ClassVar[int] = 2
    axis: ClassVar[Axis]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_label(self.label)

    def draw(self, u: Float64[Tensor, "n draws"], stream: Int64[Tensor, " n"], size: Size) -> Drawn:
        weight = self.lambdas(u)
        threshold = (weight * 2.0**53).ceil().to(torch.int64)
        label = weight.float() if self.label == "lambda" else None
        return Drawn(Scatter(threshold, self.axis, stream, FIRST + self.draws), label)


@dataclass(frozen=True)
class RandomRows(ScatterMethod):
    """Each row from the first image with probability l. Source: Summers, thesis, 2021, section 2.3."""

    axis: ClassVar[Axis] = "rows"


@dataclass(frozen=True)
class RandomColumns(ScatterMethod):
    """Each column from the first image with probability l. Source: Summers, thesis, 2021, section 2.3."""

    axis: ClassVar[Axis] = "columns"


@dataclass(frozen=True)
class RandomPixels(ScatterMethod):
    """Each pixel from the first image with probability l. Source: Summers, thesis, 2021, section 2.3."""

    axis: ClassVar[Axis] = "pixels"


@dataclass(frozen=True)
class RandomElements(ScatterMethod):
    """Each value of each pixel from the first image with probability l. Source: Summers, thesis, 2021, section 2.3."""

    axis: ClassVar[Axis] = "elements"
