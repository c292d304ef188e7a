"""What a model does under one attack: example by example, so that attacks can be compared on the same images."""

from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from .attack import Attack
from .distribution import Distribution


@dataclass(frozen=True)
class Result:
    """The first `len(correct)` images of a test set under one attack.

    attack    None: the images as they are
    correct   (n,) which are classified correctly
    logits    of those images
    """

    attack: Attack | None
    correct: Bool[Tensor, " n"]
    logits: Distribution

    @property
    def n(self) -> int:
        """How many images."""
        return len(self.correct)

    @property
    def accuracy(self) -> float:
        """Share of images that are classified correctly, 0 to 1."""
        return int(self.correct.sum()) / self.n
