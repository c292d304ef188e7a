"""Weight maps: how much of the first image each element of a mixture takes, described by a few numbers per example.

    mixture = M x1 + (1 - M) x2,     M in [0, 1]

A map never stands in memory at full size unless `dense` is asked for it: back ends read the numbers that describe it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from ..check import InputError
from ..rng import bits

Size = tuple[int, int, int]  # channels, height, width
Axis = Literal["rows", "columns", "pixels", "elements"]

TOP = (1 << 53) - 1  # the bits of a draw that its uniform number is made of
FINE = 2.0**-24
FINE_BITS = (1 << 24) - 1


def _plane(numbers: Int64[Tensor, " n"]) -> Int64[Tensor, "n 1 1 1"]:
    return numbers.view(-1, 1, 1, 1)


def _before(edge: Int64[Tensor, " n"], length: int, *, axis: int) -> Bool[Tensor, "n 1 _ _"]:
    place = torch.arange(length, device=edge.device)
    return (place[:, None] if axis == 2 else place) < _plane(edge)


@dataclass(frozen=True, eq=False)
class Map(ABC):
    """The weight of the first image at each element, for each of n examples."""

    def to(self, device: torch.device) -> "Map":
        """The same map on another device."""
        fields = vars(self).items()
        return replace(self, **{name: value.to(device) for name, value in fields if isinstance(value, Tensor)})

    def check(self, count: int, size: Size) -> None:
        """Raise `InputError` unless this is a map for `count` images of that size."""
        lengths = {name: len(value) for name, value in vars(self).items() if isinstance(value, Tensor)}
        if any(length != count for length in lengths.values()):
            raise InputError(f"map: got fields of length {lengths} for {count} images, expected one entry for each")

    @abstractmethod
    def dense(self, size: Size) -> Float32[Tensor, "n _ _ _"]:
        """M, with a 1 for each axis along which it is the same."""

    def mean(self, size: Size) -> Float32[Tensor, " n"]:
        """The mean of M over an image."""
        return self.dense(size).double().flatten(1).mean(1).float()


def _check_cuts(rows: Int64[Tensor, " n"], columns: Int64[Tensor, " n"], size: Size) -> None:
    for name, cut, length in (("rows", rows, size[1]), ("columns", columns, size[2])):
        if not bool(((cut >= 0) & (cut <= length)).all()):
            raise InputError(f"map: some {name} are cut outside of 0 to {length}")


@dataclass(frozen=True, eq=False)
class Quarters(Map):
    """One weight for each of the four parts that a row and a column cut an image into.

    rows, columns   (n,) where the cuts are: the first rows and columns belong to the top and to the left
    weights         (n, 4) of top left, top right, bottom left, bottom right
    """

    rows: Int64[Tensor, " n"]
    columns: Int64[Tensor, " n"]
    weights: Float32[Tensor, "n 4"]

    def check(self, count: int, size: Size) -> None:
        super().check(count, size)
        _check_cuts(self.rows, self.columns, size)

    def dense(self, size: Size) -> Float32[Tensor, "n 1 h w"]:
        top, left = _before(self.rows, size[1], axis=2), _before(self.columns, size[2], axis=3)
        parts = self.weights.view(-1, 4, 1, 1, 1).unbind(1)
        return torch.where(top, torch.where(left, parts[0], parts[1]), torch.where(left, parts[2], parts[3]))

    def mean(self, size: Size) -> Float32[Tensor, " n"]:
        top, left = self.rows.double() / size[1], self.columns.double() / size[2]
        areas = torch.stack([top * left, top * (1 - left), (1 - top) * left, (1 - top) * (1 - left)], 1)
        return (areas * self.weights).sum(1).clamp(0, 1).float()


@dataclass(frozen=True, eq=False)
class Balanced(Map):
    """Two concatenations of zero-mean images, mixed so that both are equally loud and the result keeps its variance.

    x1, x2 lose their means; a = rows above the cut from x1, others from x2; b = columns left of the cut from x1,
    others from x2; s = standard deviation + 1e-8.

        p = l s(b) / (l s(b) + (1 - l) s(a)),     mixture = (p a + (1 - p) b) / sqrt(p^2 + (1 - p)^2)

    rows, columns   (n,) where the cuts are; at (height, 0), a = x1 and b = x2
    weight          (n,) l. The map that labels follow is l a + (1 - l) b, before the balance
    center          whether means are taken off here
    """

    rows: Int64[Tensor, " n"]
    columns: Int64[Tensor, " n"]
    weight: Float32[Tensor, " n"]
    center: bool = True

    def check(self, count: int, size: Size) -> None:
        super().check(count, size)
        _check_cuts(self.rows, self.columns, size)

    def _quarters(self) -> Quarters:
        one, rest = torch.ones_like(self.weight), 1 - self.weight
        return Quarters(self.rows, self.columns, torch.stack([one, self.weight, rest, 1 - one], 1))

    def dense(self, size: Size) -> Float32[Tensor, "n 1 h w"]:
        return self._quarters().dense(size)

    def mean(self, size: Size) -> Float32[Tensor, " n"]:
        return self._quarters().mean(size)


@dataclass(frozen=True, eq=False)
class Patch(Map):
    """A rectangle of the second image, which may come from another place of it, on the first.

    begin, end   (n, 2) row and column of its first pixel, and of the one after its last
    shift        (n, 2) how far its source lies below and to the right of where it goes; None: at the same place
    """

    begin: Int64[Tensor, "n 2"]
    end: Int64[Tensor, "n 2"]
    shift: Int64[Tensor, "n 2"] | None = None

    def check(self, count: int, size: Size) -> None:
        super().check(count, size)
        end = torch.tensor(size[1:], device=self.begin.device)
        shift = 0 if self.shift is None else self.shift
        fits = (self.begin >= 0) & (self.begin <= self.end) & (self.end <= end)
        if not bool((fits & (self.begin + shift >= 0) & (self.end + shift <= end)).all()):
            raise InputError(
                f"map: some rectangles, or where they come from, lie outside of {size[1]} x {size[2]} pixels"
            )

    def inside(self, size: Size) -> Bool[Tensor, "n 1 h w"]:
        """Where the rectangle is."""
        rows, columns = (
            ~_before(self.begin[:, axis - 2], size[axis - 1], axis=axis)
            & _before(self.end[:, axis - 2], size[axis - 1], axis=axis)
            for axis in (2, 3)
        )
        return rows & columns

    def dense(self, size: Size) -> Float32[Tensor, "n 1 h w"]:
        return 1 - self.inside(size).float()

    def mean(self, size: Size) -> Float32[Tensor, " n"]:
        area = (self.end - self.begin).prod(1)
        return (1 - area.double() / (size[1] * size[2])).float()


@dataclass(frozen=True, eq=False)
class Scatter(Map):
    """Each row, column, pixel or element is the first image's where its own uniform draw is below a threshold.

    threshold   (n,) in units of 2^-53: integers, so that every back end compares exactly
    axis        what draws
    stream      (n,) whose draws `start` and following are compared
    """

    threshold: Int64[Tensor, " n"]
    axis: Axis
    stream: Int64[Tensor, " n"]
    start: int

    def shape(self, size: Size) -> Size:
        """Channels, height and width of the draws."""
        return {
            "rows": (1, size[1], 1),
            "columns": (1, 1, size[2]),
            "pixels": (1, size[1], size[2]),
            "elements": size,
        }[self.axis]

    def first(self, size: Size) -> Bool[Tensor, "n _ _ _"]:
        """Where the first image is taken."""
        channels, height, width = self.shape(size)
        drawn = (bits(self.stream, channels * height * width, self.start) >> 11) & TOP
        return (drawn < self.threshold[:, None]).view(-1, channels, height, width)

    def dense(self, size: Size) -> Float32[Tensor, "n _ _ _"]:
        return self.first(size).float()

    def mean(self, size: Size) -> Float32[Tensor, " n"]:
        return share(self.first(size))


def share(mask: Bool[Tensor, "n _ _ _"]) -> Float32[Tensor, " n"]:
    """The part of a mask that is true, from whole numbers."""
    return (mask.flatten(1).sum(1).double() / max(1, mask[:1].numel())).float()


@dataclass(frozen=True, eq=False)
class Noise(Map):
    """A weight with normal noise at each pixel, cut off at 0 and 1.

        M_rc = clip(weight + sigma g_rc, 0, 1),     g_rc ~ N(0, 1)

    Draw j of the stream gives two normals, g_j and g_(j + half) with half = ceil(pixels / 2), by Box and Muller: its
    upper 24 bits are the radius, the next 24 the angle.
    """

    weight: Float32[Tensor, " n"]
    sigma: float
    stream: Int64[Tensor, " n"]
    start: int

    def dense(self, size: Size) -> Float32[Tensor, "n 1 h w"]:
        pixels = size[1] * size[2]
        word = bits(self.stream, (pixels + 1) // 2, self.start)
        radius = (-2 * torch.log1p(-(_field(word, 40) * FINE))).sqrt()
        angle = _field(word, 16) * (2 * torch.pi * FINE)
        normal = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, :pixels]
        return (self.weight[:, None] + self.sigma * normal).clamp(0, 1).float().view(-1, 1, size[1], size[2])


def _field(word: Int64[Tensor, "n k"], shift: int) -> Float[Tensor, "n k"]:
    return ((word >> shift) & FINE_BITS).double()
