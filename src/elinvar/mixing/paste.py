"""Methods that paste a rectangle of the second image on the first: squares, intervals, CutMix."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ..check import InputError
from .base import BetaMethod, Drawn, Method, below
from .maps import Patch, Size


def _lengths(size: Size, like: Float64[Tensor, "n draws"]) -> Int64[Tensor, " 2"]:
    return torch.tensor(size[1:], device=like.device)


@dataclass(frozen=True)
class CutMix(BetaMethod):
    """A rectangle of the second image at its own place, with the image's proportions; w = 1 - its area.

    Sides are sqrt(1 - l) of the image's, l ~ Beta(alpha, alpha), halved and rounded down on both sides of a center
    that is uniform over all pixels; what is outside is cut off.

    Source   Yun et al., CutMix, ICCV 2019, section 3.1, and its published code for the borders.
    Differs  one rectangle for each example, not for the batch.
    """

    draws: ClassVar[int] = 4

    def draw(self, u: Float64[Tensor, "n draws"], stream: Int64[Tensor, " n"], size: Size) -> Drawn:
        lengths = _lengths(size, u)
        center = below(u[:, 2:4], lengths)
        half = ((1 - self.lambdas(u)).sqrt()[:, None] * lengths).long() // 2
        return Drawn(Patch((center - half).clamp(min=0), torch.minimum(center + half, lengths)))


@dataclass(frozen=True)
class RandomSquare(Method):
    """A square of the second image, from a place of its own, on a random place of the first; w = 1 - its area.

    size   side of the square in pixels; its center is uniform over all pixels, and what is outside is cut off

    Source   Summers, thesis, 2021, section 2.3.
    Differs  the source's place is uniform over all that fit; published code misses the last one.
    """

    size: int = 16
    draws: ClassVar[int] = 4

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"size: got {self.size}, expected at least 1 pixel")

    def draw(self, u: Float64[Tensor, "n draws"], stream: Int64[Tensor, " n"], size: Size) -> Drawn:
        lengths = _lengths(size, u)
        corner = below(u[:, :2], lengths) - self.size // 2
        begin, end = corner.clamp(min=0), torch.minimum(corner + self.size, lengths)
        return Drawn(Patch(begin, end, below(u[:, 2:4], lengths - (end - begin) + 1) - begin))


@dataclass(frozen=True)
class IntervalMethod(Method):
    """A method that pastes an interval of rows or columns, which comes from a place of its own.

    inclusive   false, as in published code: a ~ int[0, L), b ~ int[a, L), source ~ int[0, L - (b - a)), so that the
                last line is never reached; true, as the thesis says it: b ~ int[a + 1, L], source ~ int[0, L - (b - a)]
    """

    inclusive: bool = False
    draws: ClassVar[int] = 3

    def interval(self, u: Float64[Tensor, "n draws"], size: Size, *, axis: int) -> Patch:
        """The interval along an axis (0: rows, 1: columns), and the whole of the other."""
        bound, across, more = size[1 + axis], size[2 - axis], int(self.inclusive)
        begin = below(u[:, 0], bound)
        end = begin + more + below(u[:, 1], bound - begin)
        shift = below(u[:, 2], bound - (end - begin) + more) - begin
        none = torch.zeros_like(begin)
        sides = ((begin, none), (end, none + across), (shift, none))
        return Patch(*(torch.stack(side if axis == 0 else side[::-1], 1) for side in sides))


@dataclass(frozen=True)
class RandomRowInterval(IntervalMethod):
    """Rows a to b - 1 from the second image, the others from the first; w = 1 - (b - a) / H.

    Source   Summers, thesis, 2021, section 2.3, and its published code for the source's place.
    """

    def draw(self, u: Float64[Tensor, "n draws"], stream: Int64[Tensor, " n"], size: Size) -> Drawn:
        return Drawn(self.interval(u, size, axis=0))


@dataclass(frozen=True)
class RandomColumnInterval(IntervalMethod):
    """Columns a to b - 1 from the second image, the others from the first; w = 1 - (b - a) / W.

    Source   Summers, thesis, 2021, section 2.3, and its published code for the source's place.
    """

    def draw(self, u: Float64[Tensor, "n draws"], stream: Int64[Tensor, " n"], size: Size) -> Drawn:
        return Drawn(self.interval(u, size, axis=1))
