"""What attacks found: the white-box table, the black-box matrix, how logits are spread, and what to doubt."""

from collections.abc import Mapping, Sequence

from ..attacks.robustness import NATURAL
from ..infer.black_box import ATTACK
from ..infer.evaluation import Attacks, Evaluation
from .grouping import by_recipe
from .result import Groups, RunResult, label, printable, run_name
from .statistics import Summary
from .suites import Row, tabled
from .table import Cell, Heading, Table

LONGEST = "PGD-20"
TOGETHER = "all attacks together"


def _told(groups: Groups) -> list[Attacks]:
    found = (run.evaluation.attacks for runs in groups.values() for run in runs)
    return [attacks for attacks in found if attacks is not None]


def white_box(groups: Groups) -> Table | None:
    """Accuracy on the images as they are, under each attack, and under all of them."""
    told = _told(groups)
    if not told:
        return None

    def numbers(found: Evaluation) -> dict[str, float]:
        if found.attacks is None:
            return {}
        return {name: of.accuracy for name, of in found.attacks.results.items()} | {TOGETHER: found.attacks.worst}

    first = told[0]
    everything = first.results[NATURAL].n
    rows = [Row(name, _heading(label(name), of.n, everything), 1) for name, of in first.results.items()]
    rows.append(Row(TOGETHER, label(TOGETHER), 1))
    return tabled("Accuracy under attack, %", groups, numbers, rows, _about(told))


def _heading(text: str, n: int, everything: int) -> str:
    return text if n == everything else f"{text}, first {n:,} images"


def _about(told: Sequence[Attacks]) -> list[str]:
    first = told[0]
    n = first.results[NATURAL].n
    shown = ", and if images made for the other models do not fool this one" if any(of.black_box for of in told) else ""
    notes = [
        f"{first.settings}; {first.subset}, the same for every model, whose choice moves an accuracy by up to "
        f"± {50 / n**0.5:.1f} points (one standard error). The model that predicts is attacked, in float32, by "
        f"gradients of the cross-entropy{' (SPSA: by differences of the margin)' if first.thorough else ''}.",
        f"{label(TOGETHER)}: an image counts if it withstands every one that was tried on it{shown}.",
    ]
    if not first.thorough:
        notes.append(
            "PGD-1000 and SPSA were left out: an image costs more than a hundred times as much as under the rest. "
            "Without them some masked gradients go unseen; --attack-thorough 1000 tries them on 1,000 images."
        )
    return notes


def black_box(groups: Groups) -> Table | None:
    """Accuracy of each recipe on images that were made for each recipe; None if no model was shown another's."""
    told = _told(groups)
    rows = {name: [_by_source(run) for run in runs] for name, runs in groups.items()}
    sources = [source for runs in rows.values() for row in runs for source in row]
    if not sources:
        return None
    columns = [*groups] + [name for name in dict.fromkeys(sources) if name not in groups]
    cells = tuple(tuple(_entry(name, source, rows[name], groups[name]) for source in columns) for name in groups)
    alone = [name for name, row in zip(groups, cells, strict=True) if any(cell and cell.mark for cell in row)]
    return Table(
        title="Accuracy on images made for another model, %",
        rows=tuple(Heading(name, len(runs)) for name, runs in groups.items()),
        columns=tuple(Heading(f"for {name}") for name in columns),
        cells=cells,
        notes=tuple(_about_matrix(told, alone)),
    )


def _by_source(run: RunResult) -> dict[str, float]:
    """Source recipe -> accuracy on the images made for its runs, a mean over them."""
    found: dict[str, list[float]] = {}
    for row in run.evaluation.attacks.black_box if run.evaluation.attacks else ():
        found.setdefault(printable(row.source), []).append(row.accuracy)
    return {source: sum(values) / len(values) for source, values in found.items()}


def _entry(name: str, source: str, rows: Sequence[Mapping[str, float]], runs: Sequence[RunResult]) -> Cell | None:
    values = [row[source] for row in rows if source in row]
    if values:
        return Cell(Summary.of(values), 1)
    if name != source:
        return None
    attacks = [run.evaluation.attacks for run in runs if run.evaluation.attacks is not None]
    own = [of.results[ATTACK].accuracy for of in attacks if ATTACK in of.results]
    return Cell(Summary.of(own), 1, "white box") if own else None


def _about_matrix(told: Sequence[Attacks], alone: Sequence[str]) -> list[str]:
    first = next(of for of in told if of.black_box)
    row = first.black_box[0]
    notes = [
        f"{row.attack}, {first.settings}; {row.n:,} images. Each run is judged on the images made for every run of the "
        "source, never on its own: a recipe meets itself in another seed. Mean over these pairs, ± the sample standard "
        "deviation over the n runs that are judged."
    ]
    if alone:
        notes.append(
            f"White box: of {', '.join(alone)} there is one seed only, so the images were made for the very model that "
            "is judged. That is no black box; train another seed for one."
        )
    return notes


def logits(groups: Groups) -> Table | None:
    """How all logits are spread, on the images as they are and under the longest search on all of them."""

    def numbers(evaluation: Evaluation) -> dict[str, float]:
        return {} if evaluation.attacks is None else _spread(evaluation.attacks)

    rows = []
    for place in (NATURAL, LONGEST):
        for key, text in (("variance", "variance"), ("range", "range"), ("margin", "largest minus second largest")):
            rows.append(Row(f"{place} {key}", f"{label(place)}: {text}"))
    rows.append(Row("flat", "Images where the loss has no slope, %", 1))
    notes = ["Variance and range of all logits of all images; the last of three is a mean over images."]
    return tabled("How logits are spread", groups, numbers, rows, notes)


def _spread(attacks: Attacks) -> dict[str, float]:
    found = {"flat": attacks.flat}
    for place in (NATURAL, LONGEST):
        of = attacks.results[place].logits if place in attacks.results else None
        if of is not None:
            found |= {f"{place} variance": of.variance, f"{place} range": of.range, f"{place} margin": of.margin}
    return found


def attack_tables(results: Sequence[RunResult]) -> list[Table]:
    """The tables of attacks; none if no run was attacked. Raises `InputError` as `by_recipe` does."""
    groups = by_recipe(results)
    return [table for table in (white_box(groups), black_box(groups), logits(groups)) if table is not None]


def doubts(results: Sequence[RunResult]) -> list[tuple[str, tuple[str, ...]]] | None:
    """Signs of gradient masking in plain words: those of each run that has any. None if no run was attacked."""
    if not _told({"": results}):
        return None
    return [
        (run_name(result), tuple(result.evaluation.attacks.warnings))
        for result in results
        if result.evaluation.attacks is not None and result.evaluation.attacks.warnings
    ]
