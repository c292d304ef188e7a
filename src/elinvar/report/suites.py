"""What the suites beyond clean and corrupted images found: a table for each, and the picture of frequencies."""

import base64
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from ..infer.evaluation import Evaluation
from ..shift import FourierHeatmap
from .grouping import by_recipe
from .result import Groups, RunResult, label, printable
from .statistics import Summary
from .table import Cell, Heading, Table, over_runs

Numbers = Callable[[Evaluation], Mapping[str, float]]
CALIBRATION = {
    "ece": ("expected calibration error, 15 equal bins, %", 2),
    "adaptive_ece": ("expected calibration error, 10 bins of equal mass, %", 2),
    "mce": ("largest gap of the 15 bins, %", 1),
    "overconfidence": ("confidence minus accuracy, %", 2),
    "brier": ("Brier (all classes, 0 to 2)", 3),
}
CORRUPTED = (
    "Under corruptions: {}, of all severities of a corruption taken together. At a severity: mean over the same "
    "corruptions."
)
STABILITY = (
    ("mean flip_probability", "Mean of 10", 2),
    ("mean flip_probability_spatter", "Mean of 10, spatter for snow", 2),
    ("mean flip_rate", "Mean flip rate, % of AlexNet's", 1),
    ("mean top5_distance", "Mean top-5 distance, 0 to 15", 3),
)
SPECTRUM = (
    ("mean", "All frequencies", 2),
    ("low", "Low frequencies", 2),
    ("mid", "Mid frequencies", 2),
    ("high", "High frequencies", 2),
    ("needed", "Bandwidth for 95 % of the final accuracy, pixels", 0),
)


@dataclass(frozen=True)
class Row:
    """A line of a table: the number that it shows, its heading and its decimals."""

    key: str
    heading: str
    decimals: int = 2


def tabled(title: str, groups: Groups, numbers: Numbers, rows: Iterable[Row], notes: Sequence[str]) -> Table | None:
    """A column for each recipe, without the rows that no run has; None if that leaves nothing.

    A number that is NaN was looked for and is not defined.
    """
    found = {name: [numbers(run.evaluation) for run in runs] for name, runs in groups.items()}
    kept, cells = [], []
    for row in rows:
        looked = [[of[row.key] for of in runs if row.key in of] for runs in found.values()]
        if any(looked):
            kept.append(Heading(row.heading))
            cells.append(tuple(_cell(column, row.decimals) for column in looked))
    if not kept:
        return None
    columns = tuple(Heading(name, len(runs)) for name, runs in groups.items())
    notes = [*notes, over_runs(map(len, groups.values()))]
    return Table(title=title, rows=tuple(kept), columns=columns, cells=tuple(cells), notes=tuple(notes))


def _cell(column: Sequence[float], decimals: int) -> Cell | None:
    defined = [value for value in column if not math.isnan(value)]
    return Cell(Summary.of(defined) if defined else None, decimals) if column else None


def _evaluations(groups: Groups) -> list[Evaluation]:
    return [run.evaluation for runs in groups.values() for run in runs]


def extra(groups: Groups) -> Table | None:
    """Error under the corruptions for validation."""
    shifts = [found.extra for found in _evaluations(groups) if found.extra is not None]
    if not shifts:
        return None
    names = shifts[0].errors

    def numbers(found: Evaluation) -> dict[str, float]:
        if found.extra is None:
            return {}
        return {"mean": found.extra.mean["error"]} | {name: sum(e) / len(e) for name, e in found.extra.errors.items()}

    rows = [*(Row(name, label(name)) for name in names), Row("mean", f"Mean of {len(names)}")]
    notes = [f"{shifts[0].subset}; they are outside of the mean corruption error."]
    return tabled("Error under the corruptions for validation, %", groups, numbers, rows, notes)


def stability(groups: Groups) -> Table | None:
    """Flip probability for each perturbation, and the means."""
    told = [found.stability for found in _evaluations(groups) if found.stability is not None]
    if not told:
        return None

    def numbers(found: Evaluation) -> dict[str, float]:
        if found.stability is None:
            return {}
        return found.stability.flips | {f"mean {key}": value for key, value in found.stability.mean.items()}

    rows = [*(Row(name, label(name)) for name in told[0].flips), *(Row(*row) for row in STABILITY)]
    notes = [
        f"{told[0].subset}; sequences {told[0].generator}.",
        "Share of frames whose predicted class is another than that of the frame before (noise: of the clean image). "
        "The published script averages spatter where the paper has snow; both means are given.",
    ]
    return tabled("Flips along perturbation sequences, %", groups, numbers, rows, notes)


def frequencies(groups: Groups) -> Table | None:
    """Error under single frequencies, by band, and the bandwidth that a model needs."""
    told = [found.spectrum for found in _evaluations(groups) if found.spectrum is not None]
    if not told:
        return None

    def numbers(found: Evaluation) -> dict[str, float]:
        if found.spectrum is None:
            return {}
        return {"mean": found.spectrum.mean, "needed": float(found.spectrum.needed_bandwidth), **found.spectrum.bands}

    rows = [Row(*row) for row in SPECTRUM]
    return tabled("Error under single frequencies, %", groups, numbers, rows, [f"{told[0].subset}."])


def calibration(groups: Groups) -> Table | None:
    """Further measures of calibration."""
    told = [found.calibration for found in _evaluations(groups) if found.calibration is not None]

    def numbers(found: Evaluation) -> dict[str, float]:
        if found.calibration is None:
            return {}
        clean = {f"clean {key}": value for key, value in found.calibration.clean.items()}
        corrupted = {f"corrupted {key}": value for key, value in (found.calibration.corrupted or {}).items()}
        levels = {f"severity {place}": row["rms"] for place, row in enumerate(found.calibration.by_severity, 1)}
        return clean | corrupted | levels

    rows = [
        Row(f"{place} {key}", f"{label(place)}: {heading}", decimals)
        for place in ("clean", "corrupted")
        for key, (heading, decimals) in CALIBRATION.items()
    ]
    rows += [Row(f"severity {level}", f"Severity {level}: RMS calibration error, %") for level in range(1, 6)]
    subsets = dict.fromkeys(found.subset for found in told if found.subset)
    return tabled("Calibration in detail", groups, numbers, rows, [CORRUPTED.format(s) for s in subsets])


def suite_tables(results: Sequence[RunResult]) -> list[Table]:
    """A table for each further suite that some run was judged by. Raises `InputError` as `by_recipe` does."""
    groups = by_recipe(results)
    made = (extra(groups), stability(groups), frequencies(groups), calibration(groups))
    return [table for table in made if table is not None]


def heatmap_uri(groups: Groups) -> str | None:
    """The Fourier heatmaps of the recipes, means over their runs, as a data URI; None if there are none."""
    from .heatmap import heatmap_png  # brings matplotlib

    maps = {}
    for name, runs in groups.items():
        told = [run.evaluation.spectrum for run in runs if run.evaluation.spectrum is not None]
        if told:
            found = [FourierHeatmap.from_dict(spectrum.heatmap) for spectrum in told]
            error = torch.stack([heatmap.error for heatmap in found]).mean(0)
            maps[printable(name)] = replace(found[0], error=error)
    if not maps:
        return None
    return "data:image/png;base64," + base64.b64encode(heatmap_png(maps)).decode()
