"""What a series of seeds says about a claim: a verdict in words, a table, the paper's numbers."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from ..experiments import AtMost, Cell, Claim, Exceeds, Near, Series
from .statistics import LEVEL, Summary, difference
from .table import Cell as Shown
from .table import Heading, Table, over_runs


class State(StrEnum):
    """What the runs say about a claim."""

    HOLDS = "holds here"
    FAILS = "does not hold here"
    OPEN = "cannot be told"


@dataclass(frozen=True)
class Judged:
    """A claim, what the runs say about it, and how sure that is."""

    claim: Claim
    state: State
    evidence: str

    @property
    def sentence(self) -> str:
        return f"{self.claim.text}: {self.state.upper()}. {self.evidence}"


@dataclass(frozen=True)
class Gap:
    """The mean difference of two cells and its 95% interval; without spread between runs there is none."""

    mean: float
    low: float
    high: float
    words: str


def _gap(claim: Exceeds | Near, first: Sequence[float], second: Sequence[float], axis: str | None) -> Gap | None:
    about, left, right = _names(claim.first, claim.second, axis)
    if not claim.paired:
        found = difference(first, second)
        if found is None:
            return None
        low, high = (found.mean, found.mean) if found.low is None or found.high is None else (found.low, found.high)
        return Gap(found.mean, low, high, about + found.interval(left, right))
    gaps = np.subtract(first, second)
    if len(gaps) < 2 or not np.isfinite(gaps).all():
        return None
    from scipy.special import stdtrit

    mean, error = float(gaps.mean()), float(gaps.std(ddof=1)) / math.sqrt(len(gaps))
    half = error * float(stdtrit(len(gaps) - 1, 0.5 + LEVEL / 2))
    said = f"95% interval {_number(mean - half)} to {_number(mean + half)}" if error else "no spread between runs"
    words = f"{about}{left} minus {right}: {_number(mean)} points, {said}, n={len(gaps)} runs, paired"
    return Gap(mean, mean - half, mean + half, words)


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def _names(first: Cell, second: Cell, axis: str | None) -> tuple[str, str, str]:
    """What two cells have in common, and what tells them apart."""
    settings = [f"{axis} {cell.setting}" if axis else cell.setting for cell in (first, second)]
    if first.measure == second.measure:
        return f"{first.measure}: ", *settings  # type: ignore[return-value]
    if first.setting == second.setting:
        return f"{settings[0]}: ", first.measure, second.measure
    return "", f"{first.measure}, {settings[0]}", f"{second.measure}, {settings[1]}"


def judge(claim: Claim, series: Series) -> Judged:
    """Compare the cells of a claim over seeds.

    By Welch's interval; or, where both are readings of the same networks, by that of the mean difference, which is
    narrower because what differs from network to network cancels.
    """
    first = series.values(claim.first)
    if isinstance(claim, AtMost):
        return _at_most(claim, series, first)
    second = series.values(claim.second)
    gap = _gap(claim, first, second, series.experiment.axis)
    if gap is None:
        mean = Summary.of(first).mean - Summary.of(second).mean
        return Judged(claim, State.OPEN, f"{claim.first} minus {claim.second}: {mean:.2f} points in one finite run")
    if isinstance(claim, Exceeds):
        holds, fails, asked = gap.low > claim.by, gap.high <= claim.by, f"more than {claim.by:g}"
    else:
        holds = -claim.within < gap.low and gap.high < claim.within
        fails = gap.low >= claim.within or gap.high <= -claim.within
        asked = f"less than {claim.within:g} either way"
    state = State.HOLDS if holds else State.FAILS if fails else State.OPEN
    return Judged(claim, state, f"{gap.words}; asked for {asked}")


def _at_most(claim: AtMost, series: Series, first: Sequence[float]) -> Judged:
    limits = series.values(claim.limit) if isinstance(claim.limit, Cell) else [claim.limit] * len(first)
    below = [value <= limit for value, limit in zip(first, limits, strict=True)]
    worst = max(range(len(first)), key=lambda run: first[run] - limits[run])
    evidence = f"{sum(below)} of {len(below)} runs; the closest has {first[worst]:.4g} against {limits[worst]:.4g}"
    return Judged(claim, State.HOLDS if all(below) else State.FAILS, evidence)


def judged(series: Series) -> list[Judged]:
    """Every claim of the experiment at the series' scale."""
    return [judge(claim, series) for claim in series.experiment.claims(series.scale)]


def overall(found: Sequence[Judged]) -> str:
    """One line for all claims together."""
    if not found:
        return "Nothing is claimed at this scale."
    counts = {state: sum(item.state is state for item in found) for state in State}
    if counts[State.HOLDS] == len(found):
        return "The effect shows here."
    if counts[State.FAILS] == len(found):
        return "The effect does not show here."
    if counts[State.OPEN] == len(found):
        return "Whether the effect shows cannot be told from so few runs."
    words = {State.HOLDS: "that hold", State.FAILS: "that do not hold", State.OPEN: "that cannot be told"}
    parts = [f"{words[state]}: {count} of {len(found)}" for state, count in counts.items() if count]
    first = "The effect shows in part" if counts[State.HOLDS] else "The effect does not show"
    return f"{first}. Claims {'; '.join(parts)}."


def table(series: Series) -> Table:
    """Mean and standard deviation over seeds, a row for each setting."""
    n, decimals = len(series.seeds), series.experiment.decimals
    settings = list(series.rows)

    def shown(setting: str, measure: str) -> Shown | None:
        if measure not in series.rows[setting]:
            return None
        return Shown(Summary.of(series.values(Cell(setting, measure))), decimals)

    measures = series.measures
    return Table(
        title=f"{series.experiment.title} ({series.experiment.unit})",
        rows=tuple(Heading(setting) for setting in settings),
        columns=tuple(Heading(measure, n) for measure in measures),
        cells=tuple(tuple(shown(setting, measure) for measure in measures) for setting in settings),
        notes=(over_runs([n], what="seeds"),),
    )


def to_csv(series: Series) -> str:
    """A line for each cell: mean, sample standard deviation, n, and the number of every seed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["setting", "measure", "mean", "sd", "n", *(f"seed {seed}" for seed in series.seeds)])
    for setting, row in series.rows.items():
        for measure in row:
            values = series.values(Cell(setting, measure))
            summary = Summary.of(values)
            writer.writerow([setting, measure, summary.mean, summary.sd, summary.n, *values])
    return text.getvalue()


def to_json(series: Series) -> dict[str, Any]:
    """Everything about a series as plain data."""
    of, found = series.experiment, judged(series)
    return {
        "experiment": of.name,
        "title": of.title,
        "source": of.source,
        "claim": of.claim,
        "scale": series.scale.value,
        "data": series.data,
        "verdict": overall(found),
        "claims": [{"text": item.claim.text, "state": item.state.value, "evidence": item.evidence} for item in found],
        "remark": of.remark,
        "seeds": {str(seed): rows for seed, rows in series.seeds.items()},
        "published": None if of.published is None else {"where": of.published.where, "numbers": of.published.numbers},
    }


def json_text(series: Series) -> str:
    return json.dumps(to_json(series), indent=1) + "\n"
