"""What every mixing method is: settings that turn uniform draws into a weight map and a weight for the labels."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from ..check import InputError, unknown
from ..rng import uniform
from .maps import Map, Size

# Draws 0 and 1 of a stream pair examples, draw 2 chooses among methods.
FIRST = 3

Label = Literal["realized", "lambda"]


@dataclass(frozen=True, eq=False)
class Drawn:
    """How n pairs are mixed. label: (n,) weight of the first targets; None: the mean of the map."""

    map: Map
    label: Float32[Tensor, " n"] | None = None


class Mixing(ABC):
    """What examples are mixed by: a method, or a choice among several."""

    @abstractmethod
    def options(self) -> tuple[tuple["Method", float], ...]:
        """The methods that each example chooses among, with probabilities that sum to 1."""


class Method(Mixing, ABC):  # ABC once more: configs look for it among the bases of what is abstract
    """A way to mix two examples. Subclasses are frozen dataclasses whose fields are their settings."""

    draws: ClassVar[int]  # uniform numbers that an example takes
    zero_mean: ClassVar[bool] = False  # makes zero-mean images, which bytes cannot hold

    @abstractmethod
    def draw(self, u: Float64[Tensor, "n draws"], stream: Int64[Tensor, " n"], size: Size) -> Drawn:
        """A map for each example, from `draws` uniform numbers in [0, 1] and, if that is not enough, from its stream.

        Draws of the stream from `FIRST + draws` on are free.
        """

    def options(self) -> tuple[tuple["Method", float], ...]:
        return ((self, 1.0),)

    def plan(self, keys: Int64[Tensor, " n"], size: Size) -> Drawn:
        """What `mix` draws for examples with these keys: the same for the same key, always."""
        return self.draw(uniform(keys, self.draws, FIRST), keys, size)


@dataclass(frozen=True)
class BetaMethod(Method):
    """A method with lambda ~ Beta(alpha, alpha); alpha = 1 is uniform."""

    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not (self.alpha > 0 and math.isfinite(self.alpha)):
            raise InputError(f"alpha: got {self.alpha}, expected a number above 0")

    def lambdas(self, u: Float64[Tensor, "n draws"], number: int = 0) -> Float64[Tensor, " n"]:
        """Lambda number `number` of each example, from two draws of its own."""
        return beta(u[:, 2 * number], u[:, 2 * number + 1], self.alpha)


def beta(u: Float64[Tensor, " n"], v: Float64[Tensor, " n"], alpha: float) -> Float64[Tensor, " n"]:
    """Beta(alpha, alpha) from two uniform draws, without a search.

        q = u^(1/alpha),     c = cos(2 pi v),     lambda = (1 + c / sqrt(q / (1 - q) + c^2)) / 2

    This is the polar way to Student's t with 2 alpha degrees of freedom, and T / sqrt(2 alpha + T^2), which is
    symmetric Beta on [-1, 1]. alpha = 1 gives u itself.

    Source   Bailey, Polar generation of random variates with the t-distribution, Mathematics of Computation 62, 1994.
    """
    if alpha == 1.0:
        return u
    power = u.log() / alpha
    odds = power.exp() / -torch.expm1(power)
    cosine = torch.cos(2 * torch.pi * v)
    return (0.5 + 0.5 * cosine / (odds + cosine * cosine).sqrt()).clamp(0, 1)


def check_label(label: str) -> None:
    """Raise `InputError` for what is no `Label`."""
    if label not in get_args(Label):
        raise unknown("label", label, get_args(Label))


def below(u: Float64[Tensor, "*n"], bound: Int64[Tensor, "*m"] | int) -> Int64[Tensor, "*n"]:
    """Integers, uniform on 0 to bound - 1."""
    return (u * bound).long()
