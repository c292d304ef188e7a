"""Logit pairing: an example and its attacked copy, or two clean examples, should get the same logits.

    P(z, z') = mean_c (z_c - z'_c)^2,      or their sum over the classes, ||z - z'||^2

Gradients flow into both. For a scale g that both logits share, dP/dg >= 0: pairing also squeezes, for
||z - z'||^2 = ||z||^2 - 2 z.z' + ||z'||^2.

Source   Kannan et al. 2018, "Adversarial Logit Pairing"; Summers, thesis, sections 3.2, 3.3 and 3.5.
Differs  the thesis writes 1/2 (z_c - z'_c)^2 in one place and a squared norm in another; the mean over classes is that
         of Kannan's code, and the one whose weight grows tenfold from 10 to 100 classes as the thesis' does.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ..check import InputError, unknown
from ..views import Logits, Views
from .loss import Loss
from .total import Objective, check_names, check_same_examples, check_weight
from .wide import wide

REDUCTIONS = ("mean", "sum")


def logit_pairing(
    first: Float[Tensor, "n classes"], second: Float[Tensor, "n classes"], *, reduction: str = "mean"
) -> Float[Tensor, " n"]:
    """Squared distance of each pair of logits, as the "mean" or the "sum" over classes.

    In float32 or wider; finite for logits up to 1e18. Raises `InputError` for logits of different shape.

    >>> import torch
    >>> a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> logit_pairing(a, b), logit_pairing(a, b, reduction="sum")
    (tensor([2.5000]), tensor([5.]))
    """
    check_reduction(reduction)
    check_same_shape(first, second)
    squares = (wide(first) - wide(second)).square()
    return squares.mean(-1) if reduction == "mean" else squares.sum(-1)


def clean_logit_pairing(logits: Float[Tensor, "n classes"], *, reduction: str = "mean") -> Float[Tensor, " pairs"]:
    """`logit_pairing` between the first half of a batch and its second: row i with row i + n // 2.

    In a shuffled batch these are random pairs. With n odd the last example has no partner; a single one has no pair.
    """
    pairs = len(logits) // 2
    return logit_pairing(logits[:pairs], logits[pairs : 2 * pairs], reduction=reduction)


@dataclass(frozen=True, kw_only=True)
class AdversarialLogitPairing(Objective):
    """`weight` times the batch mean of `logit_pairing` between two views of the same examples.

    The thesis' weight is 0.5 for CIFAR-10 (the default) and 5 for CIFAR-100.
    """

    over: tuple[str, str] = ("clean", "adversarial")
    weight: float = 0.5
    reduction: str = "mean"

    def __post_init__(self) -> None:
        check_names("over", self.over, at_least=2, at_most=2)
        check_weight(self.weight)
        check_reduction(self.reduction)

    def __call__(self, logits: Logits, views: Views) -> Loss:
        check_same_examples(views, self.over)
        value = logit_pairing(*logits.stack(self.over).unbind(), reduction=self.reduction).mean()
        return Loss.of(f"pairing({', '.join(self.over)})", value, self.weight)


@dataclass(frozen=True, kw_only=True)
class CleanLogitPairing(Objective):
    """`weight` times the mean over the pairs of one view's `clean_logit_pairing`; 0 for a batch of one example."""

    view: str = "clean"
    weight: float = 0.5
    reduction: str = "mean"

    def __post_init__(self) -> None:
        check_weight(self.weight)
        check_reduction(self.reduction)

    def __call__(self, logits: Logits, views: Views) -> Loss:
        distances = clean_logit_pairing(logits[self.view], reduction=self.reduction)
        value = distances.sum() / max(len(distances), 1)
        return Loss.of(f"clean_pairing({self.view})", value, self.weight)


def check_reduction(reduction: str) -> None:
    """Raise `InputError` for a reduction that is not known."""
    if reduction not in REDUCTIONS:
        raise unknown("reduction over classes", reduction, REDUCTIONS)


def check_same_shape(first: Float[Tensor, "..."], second: Float[Tensor, "..."]) -> None:
    """Raise `InputError` unless both logits have the same shape."""
    if first.shape != second.shape:
        raise InputError(
            f"logits that are compared must have one shape, got {tuple(first.shape)}, {tuple(second.shape)}"
        )
