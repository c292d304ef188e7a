"""What a report is made from: judged runs as plain data, grouped by recipe, and the measures that tables show."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..check import InputError
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
    """One number of an evaluation, where lower is better. `of` gives None where the evaluation did not look."""

    name: str
    unit: str
    decimals: int
    of: Callable[[Evaluation], float | None]

    @property
    def heading(self) -> str:
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def values(self, runs: Sequence[RunResult]) -> list[float]:
        """The measure of every run that has it."""
        found = (self.of(run.evaluation) for run in runs)
        return [value for value in found if value is not None]


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


def by_recipe(results: Sequence[RunResult]) -> dict[str, list[RunResult]]:
    """Runs grouped by recipe, in the order given.

    Raises `InputError` where the numbers cannot stand in one table: no runs, a run given twice, or runs that were
    judged on different images.
    """
    if not results:
        raise InputError("results: got no runs, expected at least one; judge one with 'elinvar evaluate'")
    groups = dict[str, list[RunResult]]()
    for result in results:
        runs = groups.setdefault(printable(result.name), [])
        if result.seed is not None and any(run.seed == result.seed for run in runs):
            raise InputError(f"recipe {result.name!r} with seed {result.seed} is given twice; a run counts once")
        runs.append(result)
    judged = [(run.evaluation.data, f"{run.evaluation.clean.n} test images") for run in results]
    shifts = [run.evaluation.shift for run in results]
    shifted = [(s.subset, s.generator, _levels(s.errors)) for s in shifts if s is not None]
    found = [run.evaluation for run in results]
    others: list[list[tuple[str, ...]]] = [
        [(of.extra.subset, of.extra.generator) for of in found if of.extra is not None],
        [(of.stability.subset, of.stability.generator) for of in found if of.stability is not None],
        [(of.spectrum.subset,) for of in found if of.spectrum is not None],
        [(a.subset, a.settings, f"{a.thorough} of them at length") for of in found if (a := of.attacks) is not None],
    ]
    every: list[Sequence[tuple[str, ...]]] = [judged, shifted, *others]
    for conditions in every:
        for other in conditions:
            for ours, theirs in zip(conditions[0], other, strict=True):
                if ours != theirs:
                    raise InputError(
                        f"runs were judged on different images ({ours!r} and {theirs!r}); report them apart"
                    )
    return groups


def _levels(errors: dict[str, list[float]]) -> str:
    counts = {len(by_severity) for by_severity in errors.values()}
    if len(counts) != 1 or counts == {0}:
        raise InputError(
            f"an evaluation has {sorted(counts)} severities for its corruptions, expected as many for each"
        )
    return f"{counts.pop()} severities of {', '.join(errors)}"


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


def label(name: str) -> str:
    """A technical name as a reader sees it.

    >>> label("jpeg_compression"), label("cross_entropy(clean)")
    ('JPEG compression', 'Cross entropy (clean)')
    """
    words = [ACRONYMS.get(word, word) for word in printable(name).replace("_", " ").replace("(", " (").split()]
    text = " ".join(words)
    return text[:1].upper() + text[1:]
