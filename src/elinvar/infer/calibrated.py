"""Measures of calibration beyond those of every set: several binnings, the sign of the gap, severities."""

import math
from collections.abc import Iterable, Mapping, Sequence

from .. import metrics
from .evaluation import Calibration
from .predictions import Predictions

NAMES = ("rms", "ece", "adaptive_ece", "mce", "overconfidence", "brier", "top_label_brier", "nll")


def measures(found: Predictions) -> dict[str, float]:
    """All measures of one set of predictions: gaps in per cent, scores as they are; NaN if logits are not finite."""
    if found.not_finite:
        return dict.fromkeys(NAMES, math.nan)
    top = found.confidence, found.correct
    return {
        "rms": 100 * metrics.rms_calibration_error(*top),
        "ece": 100 * metrics.expected_calibration_error(*top),
        "adaptive_ece": 100 * metrics.adaptive_calibration_error(*top),
        "mce": 100 * metrics.maximum_calibration_error(*top),
        "overconfidence": 100 * metrics.overconfidence(*top),
        "brier": float(found.brier.mean()),
        "top_label_brier": metrics.top_label_brier_score(*top),
        "nll": float(found.nll.mean()),
    }


def calibration(clean: Predictions, corrupted: Mapping[str, Sequence[Predictions]] | None) -> Calibration:
    """Measures on clean images; under corruptions: pooled over severities, and at each severity, means over them."""
    if corrupted is None:
        return Calibration(clean=measures(clean))
    pooled = [measures(Predictions.pooled(parts)) for parts in corrupted.values()]
    levels = [[measures(part) for part in level] for level in zip(*corrupted.values(), strict=True)]
    return Calibration(
        clean=measures(clean),
        corrupted=mean(pooled),
        by_severity=[mean(rows) for rows in levels],
        subset=f"mean over {subset(corrupted)}",
    )


def subset(names: Iterable[str]) -> str:
    """Which corruptions these are, in words."""
    given = set(names)
    kinds = {"of the benchmark": metrics.SUBSETS["benchmark"], "for validation": metrics.SUBSETS["validation"]}
    kind = next((f" {words}" for words, members in kinds.items() if given == set(members)), "")
    return f"{len(given)} corruptions{kind}"


def mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means of each measure over rows; NaN where one of them is."""
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
