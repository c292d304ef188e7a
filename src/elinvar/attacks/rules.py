"""How far to go: from the gradient at a point to the next move."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..check import InputError
from .threat import Threat

State = tuple[Tensor, ...]  # what a rule remembers of each example, row by row


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """Turns gradients into moves that raise the goal.

    step   length of a move, in units of the images

    Raises `InputError` for a step that is negative or not finite.
    """

    step: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.step) and self.step >= 0):
            raise InputError(f"step: got {self.step}, expected a finite number of at least 0, in units of the images")

    @abstractmethod
    def __call__(
        self, threat: Threat, gradient: Float[Tensor, "n c h w"], state: State, number: int
    ) -> tuple[Float[Tensor, "n c h w"], State]:
        """The move of step `number` (0 for the first, whose state is empty), and the state for the next one.

        May overwrite `gradient`.
        """


@dataclass(frozen=True, kw_only=True)
class Steepest(Rule):
    """A move of norm `step` in the threat's steepest direction: what makes FGSM and PGD."""

    def __call__(
        self, threat: Threat, gradient: Float[Tensor, "n c h w"], state: State, number: int
    ) -> tuple[Float[Tensor, "n c h w"], State]:
        return threat.direction(gradient).mul_(self.step), state


@dataclass(frozen=True, kw_only=True)
class Adam(Rule):
    """Adam on the perturbation, which averages noisy gradients: moves of about `step` in each value.

    Source   Kingma and Ba, 2015, algorithm 1; Uesato et al. 2018, section 4.1, for its use in SPSA.
    """

    decay: tuple[float, float] = (0.9, 0.999)
    floor: float = 1e-8

    def __call__(
        self, threat: Threat, gradient: Float[Tensor, "n c h w"], state: State, number: int
    ) -> tuple[Float[Tensor, "n c h w"], State]:
        gradient = gradient.nan_to_num_(0.0)
        first, second = state or (torch.zeros_like(gradient), torch.zeros_like(gradient))
        one, two = self.decay
        first = first.lerp(gradient, 1 - one)
        second = second.lerp(gradient.square(), 1 - two)
        scale = self.step / (1 - one ** (number + 1))
        size = (second / (1 - two ** (number + 1))).sqrt_().add_(self.floor)
        return first / size * scale, (first, second)
