"""Tables of measured numbers, for a terminal, a README and a page. No number stands without its n."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import rich.box
import rich.table
from markupsafe import Markup, escape
from rich.text import Text

from ..infer.evaluation import lost_in_words
from .content import more_than_recipes
from .grouping import by_recipe
from .result import CORRUPTION_ERROR, MEASURES, Measure, RunResult, corruption_errors, label, run_name
from .statistics import Summary
from .verdict import contrast

ABSENT, UNDEFINED = "not run", "not defined"


@dataclass(frozen=True)
class Heading:
    """The name of a row or column, and the n of its numbers if they share one."""

    text: str
    n: int | None = None

    def __str__(self) -> str:
        return self.text if self.n is None else f"{self.text} (n={self.n})"


@dataclass(frozen=True)
class Cell:
    """A summary, how many decimals of it are shown, and what tells it apart from the others.

    summary   None where there is no such number, because some logits are not finite
    """

    summary: Summary | None
    decimals: int
    mark: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Summaries by row and column. A cell says its n unless its row or column has said it."""

    title: str
    rows: tuple[Heading, ...]
    columns: tuple[Heading, ...]
    cells: tuple[tuple[Cell | None, ...], ...]
    notes: tuple[str, ...] = ()

    def transposed(self) -> "Table":
        """Rows for columns."""
        cells = tuple(zip(*self.cells, strict=True))
        return replace(self, rows=self.columns, columns=self.rows, cells=cells)

    def narrow(self) -> "Table":
        """The way round that has fewer columns: what fits a phone or a terminal."""
        return self.transposed() if len(self.columns) > len(self.rows) else self

    def texts(self) -> list[list[str]]:
        """What stands in the cells."""
        return [
            [_text(cell, {row.n, column.n}) for cell, column in zip(cells, self.columns, strict=True)]
            for row, cells in zip(self.rows, self.cells, strict=True)
        ]

    def to_markdown(self) -> str:
        """A table for a README, its notes below."""
        lines = ["| | " + " | ".join(_markdown(str(column)) for column in self.columns) + " |"]
        lines.append("|---|" + "---:|" * len(self.columns))
        for row, texts in zip(self.rows, self.texts(), strict=True):
            lines.append(f"| {_markdown(str(row))} | " + " | ".join(texts) + " |")
        return "\n".join(lines) + "\n" + "".join(f"\n{_markdown(note)}\n" for note in self.notes)

    def to_rich(self) -> rich.table.Table:
        """A table for a terminal, the narrow way round."""
        narrow = self.narrow()
        table = rich.table.Table(
            title=Text(self.title), caption=Text("\n".join(self.notes)), box=rich.box.SIMPLE_HEAD, title_justify="left",
            caption_justify="left", title_style="bold", caption_style="",
        )  # fmt: skip
        table.add_column("", overflow="fold")
        for column in narrow.columns:
            table.add_column(Text(str(column)), justify="right", overflow="fold")
        for row, texts in zip(narrow.rows, narrow.texts(), strict=True):
            table.add_row(Text(str(row)), *map(Text, texts))
        return table

    def html_rows(self) -> Markup:
        """Head and body of an HTML table, the narrow way round, with row and column headers marked as such."""
        narrow = self.narrow()
        head = Markup("").join(
            Markup('<th scope="col">{}</th>').format(_html_heading(column)) for column in narrow.columns
        )
        body = Markup("\n").join(
            Markup('<tr><th scope="row">{}</th>{}</tr>').format(
                _html_heading(row), Markup("").join(map(_html_cell, texts))
            )
            for row, texts in zip(narrow.rows, narrow.texts(), strict=True)
        )
        return Markup("<thead><tr><td></td>{}</tr></thead>\n<tbody>\n{}\n</tbody>").format(head, body)


def _text(cell: Cell | None, said: set[int | None]) -> str:
    if cell is None:
        return ABSENT
    if cell.summary is None:
        return UNDEFINED
    text = cell.summary.text(cell.decimals)
    text = text if cell.summary.n in said else f"{text} (n={cell.summary.n})"
    return f"{text}, {cell.mark}" if cell.mark else text


def _markdown(text: str) -> str:
    return str(escape(text)).replace("\\", "\\\\").replace("|", "\\|")


def _html_heading(heading: Heading) -> Markup:
    n = Markup("") if heading.n is None else Markup(" <small>n={}</small>").format(heading.n)
    return Markup("{}{}").format(heading.text, n)


def _html_cell(text: str) -> Markup:
    mean, sign, rest = text.partition(" ± ")
    return Markup("<td>{} <small>± {}</small></td>").format(mean, rest) if sign else Markup("<td>{}</td>").format(text)


def _cell(values: Sequence[float], decimals: int) -> Cell | None:
    return Cell(Summary.of(values), decimals) if values else None


def _measured(measure: Measure, runs: Sequence[RunResult]) -> Cell | None:
    cell = _cell(measure.values(runs), measure.decimals)
    return Cell(None, measure.decimals) if cell is None and measure.undefined(runs) else cell


def over_runs(counts: Iterable[int], *, what: str = "runs", better: str = "") -> str:
    """What a mean and its ± are over, for tables of `counts` repetitions in a column."""
    single = 1 in counts
    rest = f"; one {what.removesuffix('s')} (n=1) has no standard deviation" if single else ""
    return f"Mean ± sample standard deviation over n {what}{better}{rest}."


def _about(groups: dict[str, list[RunResult]]) -> str:
    return over_runs(map(len, groups.values()), better="; lower is better")


def headline(results: Sequence[RunResult]) -> Table:
    """One row for each recipe, in the order given: errors, likelihood and calibration, clean and under shift.

    Between exactly two recipes with two runs each or more, a note states their difference with its 95% interval.

    Raises `InputError` as `by_recipe` does.
    """
    groups = by_recipe(results)
    measures = [measure for measure in MEASURES if measure.values(results) or measure.undefined(results)]
    told = contrast(groups)
    return Table(
        title="What was found",
        rows=tuple(Heading(name, len(runs)) for name, runs in groups.items()),
        columns=tuple(Heading(measure.heading) for measure in measures),
        cells=tuple(tuple(_measured(measure, runs) for measure in measures) for runs in groups.values()),
        notes=(
            _about(groups),
            *_subset(results),
            *_attacked(results),
            *_lost(results),
            *more_than_recipes(groups),
            *([told.sentence] if told else []),
        ),
    )


def _classes(results: Sequence[RunResult]) -> list[str]:
    """Which classes were judged, where they are some of those of the model."""
    found = next((told for run in results if (told := run.evaluation.about.get("classes"))), None)
    return [] if found is None else [f"Judged on {found}, by their outputs alone."]


def _subset(results: Sequence[RunResult]) -> list[str]:
    """Which classes were judged, where they are some of the model's, and what the means under corruptions are over."""
    return [*_classes(results), *_corruptions(results)]


def _corruptions(results: Sequence[RunResult]) -> list[str]:
    found = next((run.evaluation.shift.subset for run in results if run.evaluation.shift is not None), None)
    if found is None:
        return []
    return [
        f"Means under corruptions: {found}.",
        "A calibration error is that of all severities of a corruption taken together, then the mean over corruptions; "
        "errors, NLL and Brier scores are means over corruptions and severities.",
    ]


def _lost(results: Sequence[RunResult]) -> list[str]:
    """Of which runs some logits are not finite."""
    return [
        f"{run_name(run)}: {lost_in_words(run.evaluation.not_finite)}. They count as misclassified; what needs "
        "probabilities of all outputs is not defined."
        for run in results
        if run.evaluation.not_finite
    ]


def _attacked(results: Sequence[RunResult]) -> list[str]:
    """What error under attack means."""
    found = next((run.evaluation.attacks for run in results if run.evaluation.attacks is not None), None)
    return [] if found is None else [f"Under attack: wrong after any attack that was tried; {found.settings}."]


def per_corruption(results: Sequence[RunResult]) -> Table | None:
    """One row for each corruption and one for their mean: error over the five severities; a column for each recipe.

    None if no run was judged under corruptions. Raises `InputError` as `by_recipe` does.
    """
    groups = by_recipe(results)
    names = next((list(run.evaluation.shift.errors) for run in results if run.evaluation.shift is not None), None)
    if names is None:
        return None
    found = {name: corruption_errors(runs) for name, runs in groups.items()}
    decimals = CORRUPTION_ERROR.decimals
    rows = [tuple(_cell(errors.get(corruption, []), decimals) for errors in found.values()) for corruption in names]
    rows.append(tuple(_cell(CORRUPTION_ERROR.values(runs), decimals) for runs in groups.values()))
    return Table(
        title="Error for each corruption, %, mean over severities",
        rows=(*(Heading(label(name)) for name in names), Heading(f"Mean of {len(names)}")),
        columns=tuple(Heading(name, len(runs)) for name, runs in groups.items()),
        cells=tuple(rows),
        notes=(_about(groups),),
    )
