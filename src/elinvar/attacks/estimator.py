"""What an attack follows: the gradient of its goal with respect to the images, exact or estimated."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..check import InputError
from .goal import Goal


class Estimate(NamedTuple):
    """The gradient at some points, and which of them reached the goal; no gradient if all did."""

    gradient: Float[Tensor, "n c h w"] | None
    reached: Bool[Tensor, " n"] | None


@dataclass(frozen=True, kw_only=True)
class Estimator(ABC):
    """Estimates the gradient of each example's goal.

    A new estimator is a subclass in a file of its own: `attacks.Attack(threat, estimator=...)` takes it.
    """

    gradient_free: ClassVar[bool] = False  # asks the model for logits only
    draws: ClassVar[bool] = False  # another stream gives another estimate

    @abstractmethod
    def __call__(
        self, goal: Goal, points: Float[Tensor, "n c h w"], stream: Int64[Tensor, " n"], stop: bool
    ) -> Estimate:
        """The estimate at `points`, with `reached` if `stop` is set. Draws take `stream`."""


@dataclass(frozen=True, kw_only=True)
class Autograd(Estimator):
    """The exact gradient, by one forward and the part of one backward that leads to the images.

    Only nodes on a way to the images run, so no gradient of a weight is computed, and none is left in `.grad`,
    whatever `requires_grad` says.

    Raises `InputError` for a model whose logits have no gradient with respect to the images.
    """

    def __call__(
        self, goal: Goal, points: Float[Tensor, "n c h w"], stream: Int64[Tensor, " n"], stop: bool
    ) -> Estimate:
        leaf = points.detach().requires_grad_()
        logits = goal.logits(leaf)
        reached = goal.reached(logits) if stop else None
        if reached is not None and bool(reached.all()):
            return Estimate(None, reached)
        total = goal.value(logits).sum()
        gradient = torch.autograd.grad(total, leaf, allow_unused=True)[0] if total.requires_grad else None
        if gradient is None:
            raise InputError(
                "the logits have no gradient with respect to the images: the model detaches, rounds or copies them "
                "on its way; attack it without gradients, attacks.spsa"
            )
        return Estimate(gradient, reached)
