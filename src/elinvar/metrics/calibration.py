"""Calibration errors: how far confidence is from accuracy, bin by bin.

    gap_b = accuracy_b - confidence_b,    w_b = |B_b| / n
    ECE = sum_b w_b |gap_b|,    RMS = sqrt(sum_b w_b gap_b^2),    MCE = max_b |gap_b|

Any binning goes with any of the three: `root_mean_square_gap(reliability_bins(p, y, binning=EqualWidth(15)))`. All
take probabilities and class numbers, or confidences and booleans (see `top_label`), and return fractions. None depends
on the order of the predictions: of equal confidences, all count with their common accuracy (see `binning`).

Source   Guo et al. 2017 (equal width); Nguyen and O'Connor 2015 and Hendrycks et al. 2019 (bins of equal size).
"""

import math
from dataclasses import replace

from jaxtyping import Float, Float64, Integer
from torch import Tensor

from ..check import InputError
from .binning import Binning, Bins, EqualMass, EqualSize, EqualWidth, Ties
from .confidence import Probabilities, Targets, check_probabilities, top_label


def reliability_bins(probabilities: Probabilities, targets: Targets, *, binning: Binning | None = None) -> Bins:
    """Count, mean confidence and accuracy of each bin: the data of a reliability diagram. Default `EqualWidth(15)`."""
    return (binning or EqualWidth()).table(*top_label(probabilities, targets))


def rms_calibration_error(
    probabilities: Probabilities,
    targets: Targets,
    *,
    bin_size: int = 100,
    skip_last_bin: bool = False,
    debias: bool = False,
    ties: Ties = "shared",
) -> float:
    """Root mean square calibration error over bins of `bin_size` predictions, 0 to 1.

    skip_last_bin   leave out the bin of the highest confidences, as the reference code does by mistake
    debias          subtract from each squared gap what sampling alone adds, accuracy * (1 - accuracy) / (|B| - 1). For
                    shared ties |B| is the number of predictions that the accuracy is a mean of
    ties            "shared": equal confidences count with their common accuracy in every bin. "rows": they stay in the
                    order of the rows, as in the authors' code, and another order gives another number

    A calibrated classifier does not reach 0 but about sqrt(mean(c * (1 - c)) / bin_size): 0.03 for bins of 100 and a
    mean confidence of 0.9. Compare only at equal n and bin size.

    Source   Hendrycks et al., "AugMix", ICLR 2020, appendix E, equation 3; outlier-exposure, calibration_tools.py.
    Differs  all bins count (see `skip_last_bin`); ties are shared, there an unstable sort leaves them in some order:
             its number is one of many, above ours on average. Without ties both are equal.

    >>> import torch
    >>> round(rms_calibration_error(torch.tensor([[0.8, 0.2]] * 1000), torch.tensor([0] * 1000)), 6)
    0.2
    """
    bins = reliability_bins(probabilities, targets, binning=EqualSize(bin_size, ties))
    if skip_last_bin:
        if bins.examples < bin_size:
            raise InputError(f"skip_last_bin leaves no bin of {bins.examples} predictions with bin_size={bin_size}")
        names = ("count", "confidence", "accuracy", "independent")
        bins = replace(bins, **{name: getattr(bins, name)[:-1] for name in names})
    return root_mean_square_gap(bins, debias=debias)


def expected_calibration_error(probabilities: Probabilities, targets: Targets, *, bins: int | Binning = 15) -> float:
    """Mean absolute gap (ECE), 0 to 1, over `bins` intervals of equal width, or over another `Binning`."""
    binning = EqualWidth(bins) if isinstance(bins, int) else bins
    return mean_absolute_gap(reliability_bins(probabilities, targets, binning=binning))


def maximum_calibration_error(probabilities: Probabilities, targets: Targets, *, bins: int = 15) -> float:
    """Largest absolute gap over the non-empty ones of `bins` intervals of equal width (MCE), 0 to 1."""
    return largest_gap(reliability_bins(probabilities, targets, binning=EqualWidth(bins)))


def adaptive_calibration_error(
    probabilities: Probabilities, targets: Targets, *, bins: int = 10, ties: Ties = "shared"
) -> float:
    """Mean absolute gap over `bins` bins of equal mass, 0 to 1; `ties` as in `rms_calibration_error`."""
    return mean_absolute_gap(reliability_bins(probabilities, targets, binning=EqualMass(bins, ties)))


def classwise_calibration_error(
    probabilities: Float[Tensor, "n classes"], targets: Integer[Tensor, " n"], *, bins: int = 15
) -> float:
    """Mean over the classes of the ECE of each class against the rest, 0 to 1.

    Source   Kull et al., "Beyond temperature scaling", NeurIPS 2019 (classwise-ECE).
    """
    check_probabilities(probabilities, targets)
    probabilities, targets = probabilities.detach().cpu(), targets.cpu()
    errors = [
        expected_calibration_error(column.contiguous(), targets == number, bins=bins)
        for number, column in enumerate(probabilities.unbind(1))
    ]
    return math.fsum(errors) / len(errors)


def overconfidence(probabilities: Probabilities, targets: Targets) -> float:
    """Mean confidence less accuracy, -1 to 1: the signed gap. Above 0 the classifier promises more than it keeps."""
    confidence, correct = top_label(probabilities, targets)
    return float(confidence.double().mean() - correct.double().mean())


def mean_absolute_gap(bins: Bins) -> float:
    """sum_b w_b |gap_b|. Empty bins count nothing."""
    weight, gap, _ = _gaps(bins)
    return float((weight * gap.abs()).sum())


def root_mean_square_gap(bins: Bins, *, debias: bool = False) -> float:
    """sqrt(sum_b w_b gap_b^2); debiased as in `rms_calibration_error`, where a sum below 0 gives 0."""
    weight, gap, accuracy = _gaps(bins)
    squares = gap.square()
    if debias:
        # A bin of one has accuracy 0 or 1: nothing is subtracted.
        others = (bins.independent[bins.count > 0] - 1).clamp(min=1)
        squares = squares - accuracy * (1 - accuracy) / others
    return math.sqrt(max(float((weight * squares).sum()), 0.0))


def largest_gap(bins: Bins) -> float:
    """max_b |gap_b| over the non-empty bins."""
    _, gap, _ = _gaps(bins)
    return float(gap.abs().max())


def _gaps(bins: Bins) -> tuple[Float64[Tensor, " filled"], Float64[Tensor, " filled"], Float64[Tensor, " filled"]]:
    filled = bins.count > 0
    accuracy = bins.accuracy[filled]
    return bins.count[filled].double() / bins.examples, accuracy - bins.confidence[filled], accuracy
