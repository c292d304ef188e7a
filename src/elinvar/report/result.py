"""What a report is made from: judged runs as plain data, grouped by recipe, and the measures that tables show."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..infer.evaluation import Evaluation

ACRONYMS = {"jpeg": "JPEG", "jsd": "JSD", "kl": "KL"}


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One trained and judged model.

    name         the recipe's label: runs of the same name are repetitions of each other
    seed         base seed of the run; None where it is not known
    evaluation   what was found about the model
    metrics      the run's log, one row for each epoch; may be empty
    manifest     with what the run was made; may be empty
    recipe_yaml  the complete recipe; may be empty
    """

    name: str
    seed: int | None
    evaluation: Evaluation
    metrics: list[dict[str, Any]] = field(default_factory=list)
    manifest: dict[str, Any] = field(default_factory=dict)
    recipe_yaml: str = ""


Groups = Mapping[str, Sequence[RunResult]]  # runs by recipe, in the order of the report


@dataclass(frozen=True)
class Measure:
    """One number of an evaluation, where lower is better.

    `of` gives None where the evaluation did not look, and NaN where it looked at logits that are not finite, of which
    the number is not defined.
    """

    name: str
    unit: str
    decimals: int
    of: Callable[[Evaluation], float | None]

    @property
    def heading(self) -> str:
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def values(self, runs: Sequence[RunResult]) -> list[float]:
        """The measure of every run that has it."""
        return [value for value in self._looked(runs) if not math.isnan(value)]

    def undefined(self, runs: Sequence[RunResult]) -> bool:
        """Whether some run was looked at and has no such number."""
        return any(math.isnan(value) for value in self._looked(runs))

    def _looked(self, runs: Sequence[RunResult]) -> list[float]:
        return [value for run in runs if (value := self.of(run.evaluation)) is not None]


def _under_shift(key: str) -> Callable[[Evaluation], float | None]:
    return lambda evaluation: None if evaluation.shift is None else evaluation.shift.mean.get(key)


def _flips(evaluation: Evaluation) -> float | None:
    return None if evaluation.stability is None else evaluation.stability.mean["flip_probability"]


def _under_attack(evaluation: Evaluation) -> float | None:
    return None if evaluation.attacks is None else 100 - evaluation.attacks.worst


CLEAN_ERROR = Measure("clean error", "%", 2, lambda evaluation: evaluation.clean.error)
CORRUPTION_ERROR = Measure("mean corruption error", "%", 2, _under_shift("error"))
ATTACK_ERROR = Measure("error under attack", "%", 1, _under_attack)
MEASURES = (
    CLEAN_ERROR,
    CORRUPTION_ERROR,
    ATTACK_ERROR,
    Measure("mCE, AlexNet = 100", "%", 1, _under_shift("mce")),
    Measure("relative mCE, AlexNet = 100", "%", 1, _under_shift("relative_mce")),
    Measure("NLL clean", "nats", 3, lambda evaluation: evaluation.clean.nll),
    Measure("NLL corrupted", "nats", 3, _under_shift("nll")),
    Measure("RMS calibration error clean", "%", 2, lambda evaluation: evaluation.clean.rms_calibration),
    Measure("RMS calibration error corrupted", "%", 2, _under_shift("rms_calibration")),
    Measure("Brier clean (top label, 0 to 1)", "", 3, lambda evaluation: evaluation.clean.brier),
    Measure("Brier corrupted (top label, 0 to 1)", "", 3, _under_shift("brier")),
    Measure("mean flip probability", "%", 2, _flips),
)


def corruption_errors(runs: Sequence[RunResult]) -> dict[str, list[float]]:
    """Corruption -> error of each run that was judged under shift, a mean over severities."""
    errors = dict[str, list[float]]()
    for run in runs:
        for name, by_severity in run.evaluation.shift.errors.items() if run.evaluation.shift else ():
            errors.setdefault(name, []).append(sum(by_severity) / len(by_severity))
    return errors


def printable(text: str) -> str:
    """`text` on one line, without control characters, which terminals obey and XML refuses."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def run_name(result: RunResult) -> str:
    """A run as people name it."""
    name = printable(result.name)
    return name if result.seed is None else f"{name}, seed {result.seed}"


def label(name: str) -> str:
    """A technical name as a reader sees it.

    >>> label("jpeg_compression"), label("cross_entropy(clean)")
    ('JPEG compression', 'Cross entropy (clean)')
    """
    words = [ACRONYMS.get(word, word) for word in printable(name).replace("_", " ").replace("(", " (").split()]
    text = " ".join(words)
    return text[:1].upper() + text[1:]
