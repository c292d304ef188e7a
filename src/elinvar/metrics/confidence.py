"""The confidence of a prediction and whether it was right: all that most calibration measures look at."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from ..check import InputError

Probabilities = Float[Tensor, "n classes"] | Float[Tensor, " n"]
Targets = Integer[Tensor, " n"] | Bool[Tensor, " n"]


class TopLabel(NamedTuple):
    """For each example the largest probability, and whether its class is the target. On the CPU."""

    confidence: Float[Tensor, " n"]
    correct: Bool[Tensor, " n"]


def top_label(probabilities: Probabilities, targets: Targets) -> TopLabel:
    """Confidence c = max_k p_k and correctness a = [argmax_k p_k = y]. The first of equal probabilities wins.

    probabilities   (n, classes), rows sum to 1; compute the softmax in float32 or better, half precision makes ties
    targets         (n,) class numbers

    What is already reduced is handed through: confidences (n,) and correctness (n,) as booleans.

    Raises `InputError` for no examples, other shapes, class numbers out of range, and rows that are no probabilities.

    >>> top_label(torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([0, 0]))
    TopLabel(confidence=tensor([0.7000, 0.6000]), correct=tensor([ True, False]))
    """
    if probabilities.ndim == 2:
        check_probabilities(probabilities, targets)
        confidence, predicted = torch.max(probabilities.detach(), 1)
        return TopLabel(_wide(confidence).cpu(), (predicted == targets).cpu())
    confidence, correct = _wide(probabilities.detach()).cpu(), targets.cpu()
    if confidence.ndim != 1 or correct.dtype != torch.bool or correct.shape != confidence.shape or not len(confidence):
        raise InputError(
            f"got shapes {tuple(confidence.shape)} and {tuple(correct.shape)} with {targets.dtype}, expected "
            "probabilities (n, classes) and class numbers (n,), or confidences (n,) and booleans (n,), at least one"
        )
    if not ((confidence >= 0) & (confidence <= 1 + 1e-3)).all():  # means of distributions may exceed 1 by rounding
        bad = int((~((confidence >= 0) & (confidence <= 1 + 1e-3))).sum())
        raise InputError(
            f"confidences: got {bad} of {len(confidence)} outside of [0, 1], or NaN; expected largest probabilities"
        )
    return TopLabel(confidence, correct)


def check_probabilities(probabilities: Tensor, targets: Tensor) -> None:
    """Raise `InputError` unless these are n >= 1 distributions and as many class numbers."""
    check_scores("probabilities", probabilities, targets)
    tolerance = 1e-3 if probabilities.dtype.itemsize >= 4 else 2e-2
    sums = probabilities.detach().sum(1, dtype=torch.promote_types(probabilities.dtype, torch.float32))
    low = probabilities.detach().amin()
    if lost := int(probabilities.detach().isnan().any(1).sum()):
        raise InputError(f"probabilities: got {lost} of {len(probabilities)} rows with NaN, expected distributions")
    if not (low >= 0 and ((sums - 1).abs() <= tolerance).all()):
        raise InputError(
            f"probabilities: got rows that sum to {sums.min():.4g} to {sums.max():.4g} with a smallest entry of "
            f"{low:.4g}, expected distributions; for logits use logits.float().softmax(1)"
        )


def check_scores(name: str, scores: Tensor, targets: Tensor) -> None:
    """Raise `InputError` unless `scores` are floating point (n, classes), n >= 1, and `targets` n of those classes."""
    if scores.ndim != 2 or not scores.is_floating_point() or not scores.numel() or targets.shape != scores.shape[:1]:
        raise InputError(
            f"got {name} of shape {tuple(scores.shape)} ({scores.dtype}) and targets of shape {tuple(targets.shape)}, "
            "expected floating point (n, classes) and (n,), at least one example"
        )
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise InputError(f"targets: got {targets.dtype}, expected class numbers")
    low, high = (int(value) for value in torch.aminmax(targets))
    if low < 0 or high >= scores.shape[1]:
        raise InputError(f"targets: got class numbers {low} to {high}, expected 0 to {scores.shape[1] - 1}")


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
