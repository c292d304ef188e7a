"""What a threat is: how far images may be moved, where to start, and which way is steepest."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from ..check import InputError

Bounds = tuple[float, float]
Projection = Callable[[Tensor], Tensor]  # points (N, C, H, W), which it may overwrite, to the nearest ones allowed


@dataclass(frozen=True)
class Threat(ABC):
    """Perturbations of a norm of at most `eps`, which is in units of the images: 8/255 is 8 levels of 255.

    A new threat is a subclass in a file of its own, and a row in `table.py`.

    Raises `InputError` for an eps that is negative or not finite.
    """

    eps: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.eps) and self.eps >= 0):
            raise InputError(
                f"eps: got {self.eps}, expected a finite number of at least 0, in units of images in [0, 1]"
            )

    @abstractmethod
    def size(self, perturbations: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """The norm of each perturbation, in float64."""

    @abstractmethod
    def around(self, images: Float[Tensor, "n c h w"], bounds: Bounds) -> Projection:
        """The projection onto what is allowed around `images`: perturbations of at most eps, values in `bounds`.

        What it returns is inside of both exactly, with no allowance for rounding; with eps = 0 it is `images`.
        """

    @abstractmethod
    def start(self, images: Float[Tensor, "n c h w"], stream: Int64[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
        """A perturbation for each image, uniform in the ball of radius eps."""

    @abstractmethod
    def direction(self, gradient: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The perturbation of norm 1 along which the loss rises fastest; may overwrite `gradient`.

        Zero for a gradient of zero, and for values of it that are NaN.
        """
