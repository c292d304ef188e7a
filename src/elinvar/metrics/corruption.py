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


class MeanCorruptionError(float):
    """A mean over corruptions that knows what it is a mean of.

    subset           a name of `SUBSETS`
    per_corruption   the value of each corruption in it
    """

    subset: str
    per_corruption: Mapping[str, float]

    def __new__(cls, per_corruption: Mapping[str, float], subset: str) -> "MeanCorruptionError":
        self = super().__new__(cls, math.fsum(per_corruption.values()) / len(per_corruption))
        self.subset, self.per_corruption = subset, dict(per_corruption)
        return self

    def __reduce__(self) -> tuple[type["MeanCorruptionError"], tuple[Mapping[str, float], str]]:
        return MeanCorruptionError, (self.per_corruption, self.subset)


def unnormalized_corruption_error(errors: Sequence[float]) -> float:
    """Mean error over the five severities of one corruption (uCE), in the unit of `errors`.

    >>> unnormalized_corruption_error([0.1, 0.2, 0.3, 0.4, 0.5])
    0.3
    """
    return _mean("errors", errors, severities=(5,))


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
    """
    names = _complete("errors", errors, subset)
    unnormalized = {name: _mean(name, errors[name], severities=(5,)) for name in names}
    if normalizers is None:
        return MeanCorruptionError(unnormalized, subset)
    _fractions(errors, names)
    _complete("normalizers", normalizers, subset)
    divisors = {name: _mean(name, normalizers[name], severities=(1, 5)) for name in names}
    if not all(divisors.values()):
        raise InputError(f"normalizers: errors of 0 for {[name for name in names if not divisors[name]]}")
    return MeanCorruptionError({name: 100 * unnormalized[name] / divisors[name] for name in names}, subset)


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
    _fractions(
        {**errors, "clean": [clean], "normalizer_clean": [normalizer_clean]}, [*names, "clean", "normalizer_clean"]
    )
    _complete("normalizers", normalizers, subset)
    relative = {}
    for name in names:
        divisor = _mean(name, normalizers[name], severities=(1, 5)) - normalizer_clean
        if divisor <= 0:
            raise InputError(f"normalizers: {name} is not worse than the clean error {normalizer_clean}")
        relative[name] = 100 * (_mean(name, errors[name], severities=(5,)) - clean) / divisor
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


def _mean(name: str, errors: Sequence[float], *, severities: tuple[int, ...]) -> float:
    values = [float(error) for error in errors]
    if len(values) not in severities:
        raise InputError(f"{name}: got {len(values)} errors, expected one for each severity from 1 to 5")
    if not all(0 <= value <= 100 for value in values):  # also true for NaN
        raise InputError(f"{name}: got {values}, expected errors as fractions, or in per cent")
    return math.fsum(values) / len(values)


def _fractions(errors: Mapping[str, Sequence[float]], names: Sequence[str]) -> None:
    for name in names:
        if max(float(error) for error in errors[name]) > 1:
            raise InputError(f"{name}: got {list(errors[name])}, expected fractions; divide errors in per cent by 100")
