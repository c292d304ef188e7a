"""Gradients from logits alone: differences along random signs (SPSA)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..check import InputError
from ..rng import bits
from .estimator import Estimate, Estimator
from .goal import Goal


@dataclass(frozen=True, kw_only=True)
class Spsa(Estimator):
    """Simultaneous perturbation stochastic approximation.

        g = mean over samples / 2 vectors v of  (L(x + delta v) - L(x - delta v)) / (2 delta) * v,    v_i = +-1

    Its expectation is the gradient where L is quadratic, and close to it for a small delta.

    samples   evaluations of the model for each image and step; even
    delta     how far they are from the image, in units of the images
    rows      how many images the model sees at once, at most (but no less than `BLOCK`, or than `samples`)

    Signs are one bit each of the example's own stream: the same whatever its batch. Points are not cut to the bounds
    of images, as this would bias the estimate.

    Source   Spall, 1992; Uesato et al., "Adversarial risk and the dangers of evaluating against weak attacks", 2018,
             section 4.1 and algorithm 1.
    Raises `InputError` for an odd or too small number of samples, and for a delta that is not above 0.
    """

    gradient_free: ClassVar[bool] = True
    draws: ClassVar[bool] = True
    BLOCK: ClassVar[int] = 64  # evaluations that are added up at a time: fixed, so that sums do not depend on the batch

    samples: int = 128
    delta: float = 0.01
    rows: int = 1024

    def __post_init__(self) -> None:
        if self.samples < 2 or self.samples % 2:
            raise InputError(f"samples: got {self.samples}, expected an even number of at least 2: they come in pairs")
        if not (math.isfinite(self.delta) and self.delta > 0):
            raise InputError(f"delta: got {self.delta}, expected a finite number above 0")
        if self.rows < 1:
            raise InputError(f"rows: got {self.rows}, expected at least 1")

    def __call__(
        self, goal: Goal, points: Float[Tensor, "n c h w"], stream: Int64[Tensor, " n"], stop: bool
    ) -> Estimate:
        reached = goal.reached(goal.look(points)) if stop else None
        if reached is not None and bool(reached.all()):
            return Estimate(None, reached)
        together = max(1, self.rows // min(self.samples, self.BLOCK))
        pieces = torch.arange(len(points), device=points.device).split(together)  # type: ignore[no-untyped-call]
        parts = [self._gradient(goal.at(rows), points[rows], stream[rows]) for rows in pieces]
        return Estimate(torch.cat(parts), reached)

    def _gradient(self, goal: Goal, points: Tensor, stream: Tensor) -> Tensor:
        pairs, block = self.samples // 2, self.BLOCK // 2
        gradient = torch.zeros_like(points)
        for first in range(0, pairs, block):
            count = min(block, pairs - first)
            v = signs(stream, count, points[0].numel(), first).to(points.dtype)
            steps = self.delta * v.view(len(points), count, *points.shape[1:])
            center = points.unsqueeze(1)
            both = torch.stack([center + steps, center - steps], 2)
            values = goal.repeated(2 * count).value(goal.look(both.flatten(0, 2)))
            up, down = values.view(len(points), count, 2).unbind(2)
            slopes = ((up - down) / (2 * self.delta)).to(points.dtype)
            gradient += torch.bmm(slopes.unsqueeze(1), v).view_as(points)
        return gradient.div_(pairs)


def signs(stream: Int64[Tensor, " n"], vectors: int, length: int, first: int = 0) -> Tensor:
    """Vectors `first` to `first + vectors - 1` of each stream: (n, vectors, length) of -1 and 1, in int8.

    Vector j takes words j * w to j * w + w - 1 of the stream, w = ceil(length / 64), one bit for each sign.
    """
    words = -(-length // 64)
    octets = bits(stream, vectors * words, first * words).view(len(stream), vectors, words).view(torch.uint8)
    places = torch.arange(8, dtype=torch.uint8, device=stream.device)
    ones = ((octets.unsqueeze(-1) >> places) & 1).flatten(2)[..., :length]
    return ones.to(torch.int8).mul_(2).sub_(1)
