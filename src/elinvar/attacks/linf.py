"""The maximum norm: every value may move by eps, whatever the others do."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..rng import bits
from .exact import below, toward, within
from .threat import Bounds, Projection, Threat


@dataclass(frozen=True)
class Linf(Threat):
    """max |x' - x| <= eps.

    Projection   each value to the interval [x - eps, x + eps], cut to the bounds
    Start        each value uniform in [-eps, eps]
    Direction    the sign of the gradient

    Source   Goodfellow et al., "Explaining and harnessing adversarial examples", 2015, section 4; Madry et al.,
             "Towards deep learning models resistant to adversarial attacks", 2018, section 2.1.
    """

    def size(self, perturbations: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        return perturbations.double().abs().amax((1, 2, 3))

    def around(self, images: Float[Tensor, "n c h w"], bounds: Bounds) -> Projection:
        radius = torch.full_like(images, below(self.eps, images.dtype))
        low, high = within(bounds, images.dtype)
        lower, upper = toward(images, -radius).clamp_(min=low), toward(images, radius).clamp_(max=high)
        return lambda points: points.clamp_(lower, upper)

    def start(self, images: Float[Tensor, "n c h w"], stream: Int64[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
        count = math.prod(images.shape[1:])
        halves = bits(stream, (count + 1) // 2).view(torch.int32)[:, :count]  # two draws in each 64 bits
        return halves.to(images.dtype).mul_(self.eps / 2**31).view(images.shape)

    def direction(self, gradient: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return gradient.sign_()  # 0 for NaN
