"""The Euclidean norm: an image may move by eps in all, where it hurts most."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..rng import uniform
from .exact import toward, within
from .threat import Bounds, Projection, Threat


@dataclass(frozen=True)
class L2(Threat):
    """sqrt(sum (x' - x)^2) <= eps, the sum over all values of an image.

    Projection   perturbations that are too long are shortened to eps, then values are cut to the bounds
    Start        uniform in the ball: nearly all of its volume lies close to the surface
    Direction    the gradient divided by its norm

    Perturbations end 1e-6 of eps inside of the surface in float32, so that no rounding can put them outside.

    Source   Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018, section 5.1.
    """

    def size(self, perturbations: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        length: Tensor = torch.linalg.vector_norm(perturbations.double(), dim=(1, 2, 3))
        return length

    def around(self, images: Float[Tensor, "n c h w"], bounds: Bounds) -> Projection:
        # Rounding of a difference, of its scaling, and of the norm, which is summed in float64.
        slack = 8 * torch.finfo(images.dtype).eps + 64 * torch.finfo(torch.float64).eps
        radius = self.eps * (1 - slack)
        low, high = within(bounds, images.dtype)

        def project(points: Tensor) -> Tensor:
            moves = points.sub_(images)
            length = self.size(moves)
            factor = torch.where(length > radius, radius / length, 1.0)
            return toward(images, moves.mul_(factor.view(-1, 1, 1, 1))).clamp_(low, high)

        return project

    def start(self, images: Float[Tensor, "n c h w"], stream: Int64[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
        count = images[0].numel()
        u = uniform(stream, count + 1).clamp_(min=2.0**-54)
        normal = torch.special.ndtri(u[:, 1:])
        length: Tensor = torch.linalg.vector_norm(normal, dim=1, keepdim=True)
        radius: Tensor = self.eps * u[:, :1] ** (1 / count)
        uniform_in_ball: Tensor = normal * (radius / length)
        return uniform_in_ball.to(images.dtype).view(images.shape)

    def direction(self, gradient: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        gradient = gradient.nan_to_num_(0.0)
        # Squares of very small or large values leave the range of floating point: divide by the largest value first.
        tiny = torch.finfo(gradient.dtype).tiny
        gradient.div_(gradient.abs().amax((1, 2, 3), keepdim=True).clamp_(min=tiny))
        length: Tensor = torch.linalg.vector_norm(gradient, dim=(1, 2, 3), keepdim=True)
        return gradient.div_(length.clamp_(min=tiny))
