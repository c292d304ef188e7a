"""Stability over the perturbations: mean flip probability, mean flip rate and mean top-5 distance.

    mFP  = mean over the perturbations of FP_p                              unnormalized, as for CIFAR-10-P
    FR_p = 100 * FP_p / FP_p of AlexNet,     mFR = mean of FR_p             as for ImageNet-P
    mT5D = mean of T5D_p, with T5D_p = uT5D_p, or 100 * uT5D_p / that of a normalizing classifier

Source   Hendrycks and Dietterich, "Benchmarking neural network robustness", ICLR 2019, section 4; mFP as in Hendrycks
         et al., "AugMix", ICLR 2020.
"""

from collections.abc import Mapping
from copy import copy
from typing import ClassVar

from ..check import InputError, unknown
from .accumulator import Accumulator, Average
from .alexnet import ALEXNET_FLIPS
from .stability import FlipProbability, Frames, Top5Distance
from .subset import SubsetMean

_WITHOUT_SNOW = (
    *("gaussian_noise", "shot_noise", "motion_blur", "zoom_blur"),
    *("brightness", "translate", "rotate", "tilt", "scale"),
)
_BENCHMARK = (*_WITHOUT_SNOW[:4], "snow", *_WITHOUT_SNOW[4:])
_VALIDATION = ("speckle_noise", "gaussian_blur", "spatter", "shear")

PERTURBATION_SUBSETS: Mapping[str, tuple[str, ...]] = {
    "benchmark": _BENCHMARK,
    "spatter": (*_WITHOUT_SNOW[:4], "spatter", *_WITHOUT_SNOW[4:]),
    "validation": _VALIDATION,
    "all": _BENCHMARK + _VALIDATION,
}
"""name -> perturbations that a mean is taken over. "benchmark" are the 10 of the paper; "spatter" has spatter in the
place of snow, as the published evaluation script does, so that figures computed with it can be compared"""

NOISES = ("gaussian_noise", "shot_noise", "speckle_noise")
"""the perturbations whose frames are compared with the first one"""


class PerturbationMean(SubsetMean):
    """A mean over perturbations; `subset` is a name of `PERTURBATION_SUBSETS`."""

    kind = "perturbations"

    @property
    def per_perturbation(self) -> Mapping[str, float]:
        """The value of each perturbation."""
        return self.each


def mean_flip_probability(flips: Mapping[str, float], *, subset: str = "benchmark") -> PerturbationMean:
    """Mean flip probability (mFP), in the unit of `flips`: perturbation -> flip probability.

    Raises `InputError` for names that are missing or unknown, and for values that are not numbers from 0 to 100.

    >>> mean_flip_probability({**ALEXNET_FLIPS, "snow": 0.0})
    0.128535, mean over 10 perturbations (benchmark)
    """
    names = _complete("flips", flips, subset)
    return PerturbationMean({name: _checked(name, flips[name], 100) for name in names}, subset)


def mean_flip_rate(
    flips: Mapping[str, float], *, normalizers: Mapping[str, float] = ALEXNET_FLIPS, subset: str = "benchmark"
) -> PerturbationMean:
    """Mean flip rate (mFR) in per cent of the normalizing classifier's; all flip probabilities are fractions.

    Raises as `mean_flip_probability`, and for a normalizer of 0.

    >>> float(mean_flip_rate({name: flips / 2 for name, flips in ALEXNET_FLIPS.items()}))
    50.0
    """
    return _normalized("flips", flips, normalizers, subset, 1)


def mean_top5_distance(
    distances: Mapping[str, float], *, normalizers: Mapping[str, float] | None = None, subset: str = "benchmark"
) -> PerturbationMean:
    """Mean top-5 distance over perturbations.

    distances     perturbation -> unnormalized distance (uT5D), 0 to 15
    normalizers   None: the mean of the distances. The distances of another classifier: mT5D, in per cent of them

    Raises as `mean_flip_rate`.
    Differs  the benchmark divides by AlexNet's distances, which were never published: bring your own.
    """
    if normalizers is None:
        names = _complete("distances", distances, subset)
        return PerturbationMean({name: _checked(name, distances[name], 15) for name in names}, subset)
    return _normalized("distances", distances, normalizers, subset, 15)


class _PerPerturbation(Accumulator):
    """An average for each perturbation.

    normalizers, subset   as in the function for the mean
    difficulty            which frames are compared where the perturbation is no noise, as in `flip_probability`
    """

    state = ("averages",)
    measure: ClassVar[type[FlipProbability] | type[Top5Distance]]

    def __init__(
        self, *, normalizers: Mapping[str, float] | None = None, subset: str = "benchmark", difficulty: int = 1
    ) -> None:
        super().__init__()
        self.normalizers, self.subset, self.difficulty = normalizers, subset, difficulty

    def reset(self) -> None:
        self.averages: dict[str, Average] = {}

    def update(self, predictions: Frames, *, perturbation: str) -> None:
        """Add whole videos of one perturbation; its name tells whether they are noise."""
        self.forward(predictions, perturbation=perturbation)

    def forward(self, predictions: Frames, *, perturbation: str) -> float:
        """Take in some videos, and return the value of them alone: the mean needs all perturbations."""
        if perturbation not in PERTURBATION_SUBSETS["all"]:
            raise unknown("perturbation", perturbation, PERTURBATION_SUBSETS["all"])
        noise = perturbation in NOISES
        piece = self.measure(noise=noise, difficulty=1 if noise else self.difficulty)
        piece.update(predictions)
        self._add(perturbation, piece)
        return piece.value()

    __call__ = forward

    def merge(self, other: "_PerPerturbation") -> None:
        for name, average in other.averages.items():
            self._add(name, average)

    def each(self) -> dict[str, float]:
        """perturbation -> its unnormalized value."""
        if not self.averages:
            raise InputError("no predictions were collected; call update first")
        return {name: average.value() for name, average in self.averages.items()}

    def _add(self, name: str, piece: Average) -> None:
        if name in self.averages:
            self.averages[name].merge(piece)
        else:
            self.averages[name] = copy(piece)


class PerturbationFlips(_PerPerturbation):
    """Flips of videos that come in pieces: `mean_flip_rate` if there are normalizers, else `mean_flip_probability`."""

    measure = FlipProbability

    def value(self) -> PerturbationMean:
        if self.normalizers is None:
            return mean_flip_probability(self.each(), subset=self.subset)
        return mean_flip_rate(self.each(), normalizers=self.normalizers, subset=self.subset)


class PerturbationTop5(_PerPerturbation):
    """`mean_top5_distance` of the scores of videos that come in pieces."""

    measure = Top5Distance

    def value(self) -> PerturbationMean:
        return mean_top5_distance(self.each(), normalizers=self.normalizers, subset=self.subset)


def _normalized(
    what: str, values: Mapping[str, float], normalizers: Mapping[str, float], subset: str, largest: float
) -> PerturbationMean:
    names = _complete(what, values, subset)
    _complete("normalizers", normalizers, subset)
    divisors = {name: _checked(name, normalizers[name], largest) for name in names}
    if not all(divisors.values()):
        raise InputError(f"normalizers: 0 for {[name for name in names if not divisors[name]]}")
    rates = {name: 100 * _checked(name, values[name], largest) / divisors[name] for name in names}
    return PerturbationMean(rates, subset)


def _complete(what: str, table: Mapping[str, float], subset: str) -> tuple[str, ...]:
    if subset not in PERTURBATION_SUBSETS:
        raise unknown("subset of perturbations", subset, PERTURBATION_SUBSETS)
    for name in table:
        if name not in PERTURBATION_SUBSETS["all"]:
            raise unknown("perturbation", name, PERTURBATION_SUBSETS["all"])
    if missing := [name for name in PERTURBATION_SUBSETS[subset] if name not in table]:
        raise InputError(
            f"{what}: {', '.join(missing)} missing, the mean over {subset!r} needs "
            f"{len(PERTURBATION_SUBSETS[subset])} perturbations"
        )
    return PERTURBATION_SUBSETS[subset]


def _checked(name: str, value: float, largest: float) -> float:
    if not 0 <= value <= largest:  # also true for NaN
        raise InputError(f"{name}: got {value}, expected a number from 0 to {largest}")
    return float(value)
