"""Methods that cut both images at a row and a column and put the parts together, purely or mixed."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from .base import BetaMethod, Drawn, Label, Method, below, check_label
from .maps import Balanced, Quarters, Size


@dataclass(frozen=True)
class CutMethod(BetaMethod):
    """A method that cuts at floor(lambda H) rows and floor(lambda W) columns.

    label   "realized": labels are weighted by the parts of the image that are really there; "lambda": by what was
            drawn, before it was rounded to rows and columns
    """

    label: Label = "realized"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_label(self.label)

    def drawn(
        self, rows: Float64[Tensor, " n"], columns: Float64[Tensor, " n"], weights: Float64[Tensor, "n 4"], size: Size
    ) -> Drawn:
        """Cuts at these parts of the height and the width."""
        made = Quarters((rows * size[1]).long(), (columns * size[2]).long(), weights.float())
        if self.label == "realized":
            return Drawn(made)
        top, left = torch.stack([rows, 1 - rows], 1), torch.stack([columns, 1 - columns], 1)
        areas = (top[:, :, None] * left[:, None, :]).flatten(1)
        return Drawn(made, (areas * weights).sum(1).clamp(0, 1).float())


def _fixed(weights: tuple[float, float, float, float], like: Float64[Tensor, " n"]) -> Float64[Tensor, "n 4"]:
    return torch.tensor(weights, dtype=torch.float64, device=like.device).expand(len(like), 4)


@dataclass(frozen=True)
class VerticalConcat(CutMethod):
    """The top floor(l H) rows from the first image, the others from the second; w = floor(l H) / H.

    Source   Summers, thesis, 2021, section 2.3 (equation 2.5, with w = l: label="lambda").
    """

    draws: ClassVar[int] = 2

    def draw(self, u: Float64[Tensor, "n draws"], stream: Int64[Tensor, " n"], size: Size) -> Drawn:
        rows = self.lambdas(u)
        return self.drawn(rows, torch.zeros_like(rows), _fixed((1, 1, 0, 0), rows), size)


@dataclass(frozen=True)
class HorizontalConcat(CutMethod):
    """The left floor(l W) columns from the first image, the others from the second; w = floor(l W) / W.

    Source   Summers, thesis, 2021, section 2.3 (equation 2.6, with w = l: label="lambda").
    """

    draws: ClassVar[int] = 2

    def draw(self, u: Float64[Tensor, "n draws"], stream: Int64[Tensor, " n"], size: Size) -> Drawn:
        columns = self.lambdas(u)
        return self.drawn(torch.zeros_like(columns), columns, _fixed((1, 0, 1, 0), columns), size)


@dataclass(frozen=True)
class MixedConcat(CutMethod):
    """Top left and bottom right from the first image, the other two parts from the second; w = their area.

    Source   Summers, thesis, 2021, section 2.3.
    """

    draws: ClassVar[int] = 4

    def draw(self, u: Float64[Tensor, "n draws"], stream: Int64[Tensor, " n"], size: Size) -> Drawn:
        rows, columns = self.lambdas(u), self.lambdas(u, 1)
        return self.drawn(rows, columns, _fixed((1, 0, 0, 1), rows), size)


@dataclass(frozen=True)
class VHMixup(CutMethod):
    """Mixup of a vertical and a horizontal concatenation: M = l3 1[r < h] + (1 - l3) 1[c < v]; w = its mean.

    h = floor(l1 H), v = floor(l2 W): top left is purely the first image, bottom right purely the second.

    Source   Summers, thesis, 2021, section 2.3.
    """

    draws: ClassVar[int] = 6

    def draw(self, u: Float64[Tensor, "n draws"], stream: Int64[Tensor, " n"], size: Size) -> Drawn:
        rows, columns, weight = (self.lambdas(u, number) for number in range(3))
        one = torch.ones_like(weight)
        return self.drawn(rows, columns, torch.stack([one, weight, 1 - weight, 1 - one], 1), size)


@dataclass(frozen=True)
class Random2x2(Method):
    """Each of four parts from the first image with probability u, from the second otherwise; w = the area of the first.

    The cuts lie in the middle half: h ~ int[H/4, 3H/4), v ~ int[W/4, 3W/4). One u ~ U(0, 1) serves all four parts of
    an example.

    Source   Summers, thesis, 2021, section 2.3, and its published code for u.
    """

    draws: ClassVar[int] = 7

    def draw(self, u: Float64[Tensor, "n draws"], stream: Int64[Tensor, " n"], size: Size) -> Drawn:
        rows, columns = (
            length // 4 + below(u[:, axis], max(3 * length // 4 - length // 4, 1))
            for axis, length in enumerate(size[1:])
        )
        return Drawn(Quarters(rows, columns, (u[:, 3:7] < u[:, 2:3]).float()))


@dataclass(frozen=True)
class BCPlus(BetaMethod):
    """Mixup of zero-mean images that weighs their standard deviations, and keeps the variance (`Balanced`); w = l.

    center   take each image's mean off here. Published code takes it off before images are cropped: then center is
             false, and the images have gone through `zero_mean` first

    Floating point comes out, with zero mean: bytes are divided by 255. Networks need zero-mean images (`zero_mean`)
    at test time as well.

    Source   Tokozume et al., Between-class learning for image classification, CVPR 2018, section 3.3.
    Differs  p is computed without a division by l; 1e-8 is added to standard deviations, as the thesis asks for.
    """

    center: bool = True
    draws: ClassVar[int] = 2
    zero_mean: ClassVar[bool] = True

    def draw(self, u: Float64[Tensor, "n draws"], stream: Int64[Tensor, " n"], size: Size) -> Drawn:
        weight = self.lambdas(u).float()
        rows = torch.full((len(u),), size[1], device=u.device)
        return Drawn(Balanced(rows, torch.zeros_like(rows), weight, self.center), weight)


@dataclass(frozen=True)
class VHBCPlus(CutMethod):
    """BC+ of a vertical and a horizontal concatenation of zero-mean images (`Balanced`); w as in `VHMixup`.

    center   as in `BCPlus`

    Source   Summers, thesis, 2021, section 2.3.
    """

    center: bool = True
    draws: ClassVar[int] = 6
    zero_mean: ClassVar[bool] = True

    def draw(self, u: Float64[Tensor, "n draws"], stream: Int64[Tensor, " n"], size: Size) -> Drawn:
        rows, columns, weight = (self.lambdas(u, number) for number in range(3))
        one = torch.ones_like(weight)
        cut = self.drawn(rows, columns, torch.stack([one, weight, 1 - weight, 1 - one], 1), size)
        assert isinstance(cut.map, Quarters)
        return Drawn(Balanced(cut.map.rows, cut.map.columns, weight.float(), self.center), cut.label)
