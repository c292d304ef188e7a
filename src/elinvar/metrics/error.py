"""Top-1 error."""

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from ..check import InputError
from .accumulator import Accumulator


def mistakes(
    predictions: Float[Tensor, "n classes"] | Integer[Tensor, " n"], targets: Integer[Tensor, " n"]
) -> Bool[Tensor, " n"]:
    """Which examples are misclassified, by logits, probabilities or predicted classes. The first of equal scores wins.

    Raises `InputError` when the shapes do not fit.
    """
    if predictions.ndim not in (1, 2) or targets.shape != predictions.shape[:1]:
        raise InputError(
            f"got predictions of shape {tuple(predictions.shape)} and targets of shape {tuple(targets.shape)}, "
            "expected (n, classes) or (n,), and (n,)"
        )
    return (predictions.argmax(1) if predictions.ndim == 2 else predictions) != targets


def error_rate(
    predictions: Float[Tensor, "n classes"] | Integer[Tensor, " n"], targets: Integer[Tensor, " n"]
) -> float:
    """Share of misclassified examples, 0 to 1.

    >>> error_rate(torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([0, 1]))
    0.5
    """
    metric = ErrorRate()
    metric.update(predictions, targets)
    return metric.compute()


class ErrorRate(Accumulator):
    """`error_rate` of all pieces together."""

    def reset(self) -> None:
        self.wrong = self.seen = 0

    def update(
        self, predictions: Float[Tensor, "n classes"] | Integer[Tensor, " n"], targets: Integer[Tensor, " n"]
    ) -> None:
        self.wrong += int(torch.count_nonzero(mistakes(predictions, targets)))
        self.seen += len(targets)

    def merge(self, other: "ErrorRate") -> None:
        self.wrong += other.wrong
        self.seen += other.seen

    def compute(self) -> float:
        if not self.seen:
            raise InputError("the error of no examples is not defined; call update first")
        return self.wrong / self.seen
