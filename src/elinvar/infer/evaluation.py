"""What an evaluation found, as plain data that is written next to a run and read by reports.

Errors and calibration errors are in per cent, NLL in nats, Brier scores between 0 and 1 (top label). The file says so
itself, under "meaning". What is not defined is NaN, and null in JSON.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..attacks import Distribution
from ..check import InputError, warn
from ..files import to_json, write_text

SHOWN = 3  # sets that are named

MEANING = {
    "error": "per cent of images whose largest logit is not the target's; of equal ones the first counts",
    "nll": "negative log-likelihood of the target in nats, mean over images",
    "brier": "top label, 0 to 1: (largest probability - whether it is right)^2, mean over images",
    "rms_calibration": "per cent: root mean square gap of confidence and accuracy over bins of 100 images",
    "shift.errors": "per cent, at severities 1 to 5",
    "shift.pooled": "of all severities of a corruption taken together",
    "shift.mean": "mean over corruptions of what is under errors (severities averaged) and under pooled",
    "calibration.brier": "all classes, 0 to 2: sum over classes of (probability - target)^2, mean over images",
    "calibration.top_label_brier": "top label, 0 to 1",
    "calibration.corrupted": "of all severities of a corruption taken together, mean over corruptions",
    "calibration.by_severity": "of the images of a severity, mean over corruptions",
    "stability": "per cent of frames whose class is another than that of the frame they are compared with",
    "attacks": "per cent of images that are right under attack",
}
"""key -> what its number means; as "meaning" in every file"""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Equal-width confidence bins: mean confidence, accuracy and count of each bin that is not empty."""

    confidence: list[float]
    accuracy: list[float]
    count: list[int]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Judgement of `n` predictions on one set of images.

    not_finite   of how many the logits are NaN or infinite. They are misclassified; then nll, brier and
                 rms_calibration are NaN, not defined, and reliability has no bins
    """

    n: int
    error: float
    nll: float
    brier: float
    rms_calibration: float
    reliability: Reliability
    not_finite: int = 0


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Judgement under the corruptions of one benchmark subset.

    subset      which corruptions, for example "15 corruptions of CIFAR-10-C, generated"
    generator   how the images were made, with everything that differs from the published files
    errors      corruption -> error at severities 1 to 5
    pooled      corruption -> scores of its five severities together
    mean        means over the corruptions: error (mCE, unnormalized), nll, brier, rms_calibration; for 1,000 classes
                mce and relative_mce, in per cent of AlexNet's errors on ImageNet-C
    reliability of all corrupted predictions together

    Numbers of probabilities are NaN where logits are not finite, and so are means over them.
    """

    subset: str
    generator: str
    errors: dict[str, list[float]]
    pooled: dict[str, dict[str, float]]
    mean: dict[str, float]
    reliability: Reliability


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """More measures of calibration: rms, ece, adaptive_ece, mce and overconfidence in per cent, brier (all classes, 0
    to 2), top_label_brier and nll.

    corrupted     of the pooled severities of a corruption, mean over corruptions
    by_severity   at severities 1 to 5, mean over corruptions
    subset        over which corruptions these means are

    NaN where logits are not finite.
    """

    clean: dict[str, float]
    corrupted: dict[str, float] | None = None
    by_severity: list[dict[str, float]] = field(default_factory=list)
    subset: str = ""


@dataclass(frozen=True, kw_only=True)
class Stability:
    """Judgement under perturbation sequences.

    flips   perturbation -> flip probability in per cent; spatter is there besides the ten of the mean
    top5    perturbation -> unnormalized top-5 distance, 0 to 15; empty for five classes or fewer
    mean    means over the ten: flip_probability; flip_probability_spatter, with spatter in the place of snow; where
            there are more than five classes top5_distance; for 1,000 classes flip_rate, in per cent of AlexNet's

    NaN where logits of some frame are not finite, and where a mean is over such a perturbation.
    """

    subset: str
    generator: str
    flips: dict[str, float]
    top5: dict[str, float]
    mean: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Sensitivity to single frequencies, and accuracy without the high ones.

    subset            which images, how large the change
    heatmap           `shift.FourierHeatmap.to_dict`; errors are fractions there
    mean, bands       error in per cent over the map, and over low, mid and high frequencies
    low_pass          `shift.LowPassCurve.to_dict`; accuracies are fractions there
    needed_bandwidth  from which on 95 % of the final accuracy is reached
    """

    subset: str
    heatmap: dict[str, Any]
    mean: float
    bands: dict[str, float]
    low_pass: dict[str, Any]
    needed_bandwidth: int


@dataclass(frozen=True, kw_only=True)
class UnderAttack:
    """`n` images under one attack: the accuracy in per cent, and how logits are spread; None if none is finite.

    not_finite   images whose logits are NaN or infinite: they are misclassified
    """

    n: int
    accuracy: float
    logits: Distribution | None
    not_finite: int = 0


@dataclass(frozen=True, kw_only=True)
class FromSource:
    """`n` images that `attack` made for another model, the run `seed` of the recipe `source`: accuracy in per cent.

    not_finite   as in `UnderAttack`
    """

    source: str
    seed: int | None
    attack: str
    n: int
    accuracy: float
    not_finite: int = 0


@dataclass(frozen=True, kw_only=True)
class Attacks:
    """Judgement under attacks, in per cent.

    subset     which images
    settings   how they are attacked
    thorough   how many of the images PGD-1000 and SPSA were tried on; 0: neither was
    results    "natural", then each attack on the model itself
    black_box  each model whose images it was shown
    worst      accuracy under all of it: of an image, under everything that was tried on it
    flat       share of images where the gradient of the loss is exactly zero
    warnings   signs of gradient masking, in plain words
    """

    subset: str
    settings: str
    thorough: int
    results: dict[str, UnderAttack]
    black_box: list[FromSource]
    worst: float
    flat: float
    warnings: list[str]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything that was found about one trained model; None where no suite looked.

    not_finite   sets of images with NaN or infinite logits: how many of the set's images, and of how many
    """

    recipe: str
    data: str
    seed: int | None
    suites: list[str]
    clean: Scores
    shift: Shift | None = None
    extra: Shift | None = None
    calibration: Calibration | None = None
    stability: Stability | None = None
    spectrum: Spectrum | None = None
    attacks: Attacks | None = None
    about: dict[str, Any] = field(default_factory=dict)
    not_finite: dict[str, list[int]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain data, with what the numbers mean."""
        return {**asdict(self), "meaning": MEANING}

    def save(self, path: Path) -> None:
        """Write as JSON, atomically."""
        write_text(path, to_json(self.to_dict(), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Evaluation":
        """Read what `save` wrote; raises `InputError` naming the file otherwise."""
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            raw = {key: value for key, value in {**raw}.items() if key != "meaning"}
            return cls(**{**raw, **{key: make(raw[key]) for key, make in _PARTS.items() if raw.get(key) is not None}})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not an evaluation ({error}); make one with 'elinvar evaluate'") from error


def lost_in_words(sets: Mapping[str, Sequence[int]]) -> str:
    """Where logits are not finite.

    >>> lost_in_words({"clean": [72, 500]})
    '72 of 500 outputs are not finite (clean)'
    """
    texts = [
        f"{count:,} of {of:,}{'' if place else ' outputs are not finite'} ({name.replace('_', ' ')})"
        for place, (name, (count, of)) in enumerate(sets.items())
    ]
    rest = f", and some of {len(texts) - SHOWN} more sets" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + rest


def warn_of_lost(name: str, sets: Mapping[str, Sequence[int]]) -> None:
    """Warn of the logits of the model `name` that are not finite, if there are any."""
    if sets:
        warn(
            f"{name}: {lost_in_words(sets)}; they count as misclassified, and what needs their probabilities is not "
            "defined"
        )


def _defined(raw: Any) -> Any:
    """NaN for null, in what holds numbers alone."""
    if isinstance(raw, dict):
        return {key: _defined(value) for key, value in raw.items()}
    if isinstance(raw, list):
        return [_defined(value) for value in raw]
    return math.nan if raw is None else raw


def _scores(raw: dict[str, Any]) -> Scores:
    return Scores(**{**_defined(raw), "reliability": Reliability(**raw["reliability"])})


def _shift(raw: dict[str, Any]) -> Shift:
    return Shift(**{**_defined(raw), "reliability": Reliability(**raw["reliability"])})


def _calibration(raw: dict[str, Any]) -> Calibration:
    kept: dict[str, Any] = {
        key: value if key == "corrupted" and value is None else _defined(value) for key, value in raw.items()
    }
    return Calibration(**kept)


def _attacks(raw: dict[str, Any]) -> Attacks:
    results = {name: _under_attack(row) for name, row in raw["results"].items()}
    return Attacks(**{**raw, "results": results, "black_box": [FromSource(**row) for row in raw["black_box"]]})


def _under_attack(raw: dict[str, Any]) -> UnderAttack:
    logits = raw["logits"]
    return UnderAttack(**{**raw, "logits": None if logits is None else Distribution.from_dict(logits)})


_PARTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "clean": _scores,
    "shift": _shift,
    "extra": _shift,
    "calibration": _calibration,
    "stability": lambda raw: Stability(**_defined(raw)),
    "spectrum": lambda raw: Spectrum(**raw),
    "attacks": _attacks,
}
