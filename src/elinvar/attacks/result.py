"""What a model does under one attack: example by example, so that attacks can be compared on the same images."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from ..outputs import undecided, wrong
from .attack import Attack
from .distribution import Distribution


@dataclass(frozen=True)
class Result:
    """The first `len(correct)` images of a test set under one attack.

    attack    None: the images as they are
    correct   (n,) which are classified correctly
    logits    of those images; None where no logit is finite
    not_finite   how many images have NaN or infinite logits; they are misclassified
    """

    attack: Attack | None
    correct: Bool[Tensor, " n"]
    logits: Distribution | None
    not_finite: int = 0

    @classmethod
    def of(cls, attack: Attack | None, logits: Float[Tensor, "n classes"], targets: Tensor) -> "Result":
        """The result of an attack after which the model says `logits`."""
        spread = Distribution.of(logits) if bool(logits.isfinite().any()) else None
        return cls(attack, right(logits, targets), spread, int(undecided(logits).sum()))

    @property
    def n(self) -> int:
        """How many images."""
        return len(self.correct)

    @property
    def accuracy(self) -> float:
        """Share of images that are classified correctly, 0 to 1."""
        return int(self.correct.sum()) / self.n


def right(logits: Float[Tensor, "n classes"], targets: Tensor) -> Bool[Tensor, " n"]:
    """Which logits are largest at the target; those with NaN decide nothing."""
    return ~wrong(logits, targets)
