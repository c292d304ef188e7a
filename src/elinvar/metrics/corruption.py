"""Corruption errors: one number for a classifier on the corrupted copies of a test set.

    E_cs      top-1 error under corruption c at severity s = 1..5
    uCE_c   = mean_s E_cs
    CE_c    = 100 * sum_s E_cs / sum_s A_cs                      A: errors of the normalizing classifier, AlexNet
    rCE_c   = 100 * sum_s (E_cs - E) / sum_s (A_cs - A)          E, A: clean errors
    mCE     = mean over the corruptions of CE_c, or of uCE_c on CIFAR

Source   Hendrycks and Dietterich, "Benchmarking neural network robustness", ICLR 2019, section 4; hendrycks/robustness,
         ImageNet-C/test.py; the mean of uCE as in Hendrycks et al., "AugMix", ICLR 2020.
"""

import math
from collections.abc import Mapping, Sequence

from ..check import InputError, unknown
from .alexnet import ALEXNET, ALEXNET_CLEAN
from .subset import SubsetMean

_BENCHMARK = (
    *("gaussian_noise", "shot_noise", "impulse_noise"),
    *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog", "brightness"),
    *("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
)
_VALIDATION = ("speckle_noise", "gaussian_blur", "spatter", "saturate")

SUBSETS: Mapping[str, tuple[str, ...]] = {
    "benchmark": _BENCHMARK,
    "validation": _VALIDATION,
    "all": _BENCHMARK + _VALIDATION,
}
"""name -> corruptions that a mean is taken over: the 15 of the published figures, the 4 for validation, all 19"""


class MeanCorruptionError(SubsetMean):
    """A mean over corruptions; `subset` is a name of `SUBSETS`."""

    kind = "corruptions"

    @property
    def per_corruption(self) -> Mapping[str, float]:
        """The value of each corruption."""
        return self.each


def unnormalized_corruption_error(errors: Sequence[float]) -> float:
    """Mean error over the five severities of one corruption (uCE), in the unit of `errors`.

    >>> unnormalized_corruption_error([0.1, 0.2, 0.3, 0.4, 0.5])
    0.3
    """
    return _mean("errors", errors)


def mean_corruption_error(
    errors: Mapping[str, Sequence[float]],
    *,
    normalizers: Mapping[str, Sequence[float]] | None = None,
    subset: str = "benchmark",
) -> MeanCorruptionError:
    """Mean corruption error of a classifier.

    errors        corruption -> errors at severities 1 to 5
    normalizers   None: the mean of uCE, in the unit of the errors, as for CIFAR-10-C and CIFAR-100-C. A table such as
                  `ALEXNET` (corruption -> five errors, or one mean): the mean of CE in per cent, as for ImageNet-C;
                  errors are fractions then
    subset        which corruptions: "benchmark" (15), "validation" (4) or "all" (19); others in `errors` are left out

    Raises `InputError` for names that are missing or unknown, for other than five severities, and for errors that are
    not numbers from 0 to 100 (from 0 to 1 with normalizers).

    >>> halved = {name: [e / 2 for e in table] for name, table in ALEXNET.items() if len(table) == 5}
    >>> result = mean_corruption_error(halved, normalizers=ALEXNET)
    >>> float(result), result.subset, round(result.per_corruption["fog"], 6)
    (50.0, 'benchmark', 50.0)
    >>> result
    50.0, mean over 15 corruptions (benchmark)
    """
    names = _complete("errors", errors, subset)
    if normalizers is None:
        return MeanCorruptionError({name: _mean(name, errors[name]) for name in names}, subset)
    _complete("normalizers", normalizers, subset)
    means = {name: _mean(name, errors[name], largest=1) for name in names}
    divisors = {name: _mean(name, normalizers[name], largest=1, or_mean=True) for name in names}
    if not all(divisors.values()):
        raise InputError(f"normalizers: errors of 0 for {[name for name in names if not divisors[name]]}")
    return MeanCorruptionError({name: 100 * means[name] / divisors[name] for name in names}, subset)


def relative_mean_corruption_error(
    errors: Mapping[str, Sequence[float]],
    clean: float,
    *,
    normalizers: Mapping[str, Sequence[float]] = ALEXNET,
    normalizer_clean: float = ALEXNET_CLEAN,
    subset: str = "benchmark",
) -> MeanCorruptionError:
    """Mean over corruptions of how much worse than on clean images, relative to the normalizer (rCE), in per cent.

    All errors are fractions; `clean` is the classifier's own error on clean images. Raises as `mean_corruption_error`,
    and when the normalizer is not worse than on clean images.
    """
    names = _complete("errors", errors, subset)
    _complete("normalizers", normalizers, subset)
    for which, error in (("clean", clean), ("normalizer_clean", normalizer_clean)):
        _mean(which, [error], largest=1, or_mean=True)
    relative = {}
    for name in names:
        divisor = _mean(name, normalizers[name], largest=1, or_mean=True) - normalizer_clean
        if divisor <= 0:
            raise InputError(f"normalizers: {name} is not worse than the clean error {normalizer_clean}")
        relative[name] = 100 * (_mean(name, errors[name], largest=1) - clean) / divisor
    return MeanCorruptionError(relative, subset)


def _complete(what: str, table: Mapping[str, Sequence[float]], subset: str) -> tuple[str, ...]:
    if subset not in SUBSETS:
        raise unknown("subset of corruptions", subset, SUBSETS)
    for name in table:
        if name not in SUBSETS["all"]:
            raise unknown("corruption", name, SUBSETS["all"])
    if missing := [name for name in SUBSETS[subset] if name not in table]:
        raise InputError(
            f"{what}: {', '.join(missing)} missing, the mean over {subset!r} needs {len(SUBSETS[subset])} corruptions"
        )
    return SUBSETS[subset]


def _mean(name: str, errors: Sequence[float], *, largest: int = 100, or_mean: bool = False) -> float:
    values = [float(error) for error in errors]
    if len(values) != 5 and not (or_mean and len(values) == 1):
        raise InputError(f"{name}: got {len(values)} errors, expected one for each severity from 1 to 5")
    if not all(0 <= value <= largest for value in values):  # also true for NaN
        unit = "fractions; divide errors in per cent by 100" if largest == 1 else "errors as fractions, or in per cent"
        raise InputError(f"{name}: got {values}, expected {unit}")
    return math.fsum(values) / len(values)
