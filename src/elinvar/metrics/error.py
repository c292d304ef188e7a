"""Top-1 error."""

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from ..check import InputError
from ..outputs import wrong
from .accumulator import Average


def mistakes(
    predictions: Float[Tensor, "n classes"] | Integer[Tensor, " n"], targets: Integer[Tensor, " n"]
) -> Bool[Tensor, " n"]:
    """Which examples are misclassified, by logits, probabilities or predicted classes. The first of equal scores wins.

    Scores with NaN or +inf decide nothing and are mistakes, and so are rows of -inf alone. Raises `InputError` when the
    shapes do not fit.
    """
    if predictions.ndim not in (1, 2) or targets.shape != predictions.shape[:1]:
        raise InputError(
            f"got predictions of shape {tuple(predictions.shape)} and targets of shape {tuple(targets.shape)}, "
            "expected (n, classes) or (n,), and (n,)"
        )
    if predictions.ndim == 1:
        return predictions != targets
    return wrong(predictions, targets)


def error_rate(
    predictions: Float[Tensor, "n classes"] | Integer[Tensor, " n"], targets: Integer[Tensor, " n"]
) -> float:
    """Share of misclassified examples, 0 to 1.

    >>> error_rate(torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([0, 1]))
    0.5
    """
    wrong = mistakes(predictions, targets)
    if not len(wrong):
        raise InputError("the error of no examples is not defined")
    return int(torch.count_nonzero(wrong)) / len(wrong)


class ErrorRate(Average):
    """`error_rate` of all pieces together."""

    def update(
        self, predictions: Float[Tensor, "n classes"] | Integer[Tensor, " n"], targets: Integer[Tensor, " n"]
    ) -> None:
        self.take(mistakes(predictions, targets))
