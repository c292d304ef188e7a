"""Brier scores, and what they are made of."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Integer
from torch import Tensor

from .accumulator import Average
from .binning import Bins, EqualSize, Ties
from .confidence import Probabilities, Targets, check_probabilities, top_label

ROWS = 1 << 16  # pieces that stay in the cache when they become float64


def brier_scores(probabilities: Float[Tensor, "n classes"], targets: Integer[Tensor, " n"]) -> Float64[Tensor, " n"]:
    """The Brier score of each example: sum_k (p_ik - [y_i = k])^2, 0 to 2."""
    check_probabilities(probabilities, targets)
    found = []
    for rows, y in zip(torch.split(probabilities.detach(), ROWS), torch.split(targets, ROWS), strict=True):
        p = rows.double()
        found.append(torch.linalg.vecdot(p, p) - 2 * p.gather(1, y.long().unsqueeze(1)).squeeze(1) + 1)
    return torch.cat(found)


def brier_score(probabilities: Float[Tensor, "n classes"], targets: Integer[Tensor, " n"]) -> float:
    """Mean squared distance between the distribution and the one-hot target, over all classes, 0 to 2.

        mean_i sum_k (p_ik - [y_i = k])^2

    Source   Brier, "Verification of forecasts expressed in terms of probability", 1950.
    Differs  the AugMix paper means the score of the top label alone: `top_label_brier_score`.

    >>> brier_score(torch.tensor([[0.75, 0.25]]), torch.tensor([1]))
    1.125
    """
    return float(brier_scores(probabilities, targets).mean())


def top_label_brier_score(probabilities: Probabilities, targets: Targets) -> float:
    """Mean squared distance between confidence and correctness, mean_i (c_i - a_i)^2, 0 to 1."""
    return float(_top_label_brier_scores(probabilities, targets).mean())


def _top_label_brier_scores(probabilities: Probabilities, targets: Targets) -> Float64[Tensor, " n"]:
    confidence, correct = top_label(probabilities, targets)
    return (confidence.double() - correct.double()).square()


class BrierScore(Average):
    """`brier_score` of all pieces together."""

    def update(self, probabilities: Float[Tensor, "n classes"], targets: Integer[Tensor, " n"]) -> None:
        self.take(brier_scores(probabilities, targets))


class TopLabelBrierScore(Average):
    """`top_label_brier_score` of all pieces together."""

    def update(self, probabilities: Probabilities, targets: Targets) -> None:
        self.take(_top_label_brier_scores(probabilities, targets))


@dataclass(frozen=True)
class BrierDecomposition:
    """score = calibration + refinement + within, exactly.

    score         the top-label Brier score
    calibration   squared RMS calibration error on the same bins
    refinement    sum_b w_b accuracy_b (1 - accuracy_b): what remains of a calibrated classifier's score
    within        sum_b w_b (Var_b(c) - 2 Cov_b(c, a)): what the width of the bins hides; small for narrow ones
    """

    score: float
    calibration: float
    refinement: float
    within: float

    @property
    def from_refinement(self) -> float:
        """calibration + refinement: the Brier score of the AugMix paper, appendix E."""
        return self.calibration + self.refinement


def brier_decomposition(
    probabilities: Probabilities, targets: Targets, *, bin_size: int = 100, ties: Ties = "shared"
) -> BrierDecomposition:
    """The top-label Brier score in parts, over bins of `bin_size` predictions as in `rms_calibration_error`.

    ties   as there; the parts depend on them, their sum does not

    Source   Hendrycks et al., "AugMix", ICLR 2020, appendix E; the term within bins makes their identity exact.
    """
    top = top_label(probabilities, targets)
    cut = EqualSize(bin_size, ties).cut(*top)
    bins, index = Bins.of(*cut), cut.bin_of
    weight, accuracy = bins.count.double() / bins.examples, bins.accuracy
    off_confidence, off_accuracy = cut.confidence.double() - bins.confidence[index], cut.accuracy - accuracy[index]
    return BrierDecomposition(
        score=float((top.confidence.double() - top.correct.double()).square().mean()),
        calibration=float((weight * (accuracy - bins.confidence).square()).sum()),
        refinement=float((weight * accuracy * (1 - accuracy)).sum()),
        within=float((off_confidence * (off_confidence - 2 * off_accuracy)).mean()),
    )
