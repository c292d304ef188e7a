"""Which runs stand in one table, and which of them are repetitions of each other."""

from collections.abc import Sequence

from ..check import InputError
from ..infer.record import FINGERPRINT
from .content import labels
from .result import RunResult


def by_recipe(results: Sequence[RunResult]) -> dict[str, list[RunResult]]:
    """Runs grouped by what they are, in the order given: name and content, see `content.labels`.

    Raises `InputError` where the numbers cannot stand in one table: no runs, a run given twice, or runs that were
    judged on different images.
    """
    if not results:
        raise InputError("results: got no runs, expected at least one; judge one with 'elinvar evaluate'")
    groups = dict[str, list[RunResult]]()
    for label, result in zip(labels(results), results, strict=True):
        runs = groups.setdefault(label, [])
        if result.seed is not None and any(_seeds(run) == _seeds(result) for run in runs):
            raise InputError(f"recipe {result.name!r} with seed {result.seed} is given twice; a run counts once")
        runs.append(result)
    judged = [
        (of.data, f"{of.clean.n} test images", f"SHA-256 {str(of.about.get(FINGERPRINT))[:12]}")
        for of in (run.evaluation for run in results)
    ]
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


def _seeds(run: RunResult) -> tuple[int | None, str]:
    return run.seed, repr(run.manifest.get("seeds"))


def _levels(errors: dict[str, list[float]]) -> str:
    counts = {len(by_severity) for by_severity in errors.values()}
    if len(counts) != 1 or counts == {0}:
        raise InputError(
            f"an evaluation has {sorted(counts)} severities for its corruptions, expected as many for each"
        )
    return f"{counts.pop()} severities of {', '.join(errors)}"
