"""Methods with one weight for the whole image: mixup, and mixup with noise in it."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from ..check import InputError
from .base import FIRST, BetaMethod, Drawn, Method
from .maps import Noise, Quarters, Size


def even(weight: Float32[Tensor, " n"]) -> Quarters:
    """One weight for the whole image."""
    cut = torch.zeros(len(weight), dtype=torch.int64, device=weight.device)
    return Quarters(cut, cut, weight[:, None].expand(-1, 4))


@dataclass(frozen=True)
class Unmixed(Method):
    """The first example as it is: the baseline, and what is left when a mix has a probability."""

    draws: ClassVar[int] = 0

    def draw(self, u: Float64[Tensor, "n draws"], stream: Int64[Tensor, " n"], size: Size) -> Drawn:
        weight = torch.ones(len(u), device=u.device)
        return Drawn(even(weight), weight)


@dataclass(frozen=True)
class Mixup(BetaMethod):
    """Weighted averages: M = w = l, l ~ Beta(alpha, alpha).

    Source   Zhang et al., mixup, ICLR 2018; between-class learning (Tokozume et al., CVPR 2018) without its balance.
    Differs  one lambda for each example, not for the batch.
    """

    draws: ClassVar[int] = 2

    def draw(self, u: Float64[Tensor, "n draws"], stream: Int64[Tensor, " n"], size: Size) -> Drawn:
        weight = self.lambdas(u).float()
        return Drawn(even(weight), weight)


@dataclass(frozen=True)
class NoisyMixup(BetaMethod):
    """Mixup whose weight has noise at each pixel: M = clip(l + sigma g, 0, 1), shared by channels; w = l.

    sigma   standard deviation of the noise. The thesis prints sigma^2 = sqrt(.025), about .16, which is taken here as
            the standard deviation of a variance of .025; its code uses sigma = .025

    Source   Summers, Understanding and Improving Deep Learning, 2021, section 2.3.
    """

    sigma: float = 0.025**0.5
    draws: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.sigma >= 0 and math.isfinite(self.sigma)):
            raise InputError(f"sigma: got {self.sigma}, expected a number of at least 0")

    def draw(self, u: Float64[Tensor, "n draws"], stream: Int64[Tensor, " n"], size: Size) -> Drawn:
        weight = self.lambdas(u).float()
        return Drawn(Noise(weight, self.sigma, stream, FIRST + self.draws), weight)
