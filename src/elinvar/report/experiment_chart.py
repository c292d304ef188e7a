"""The figure of an experiment: lines over ordered settings, dots for others, always with one standard deviation."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..experiments import Cell, Series
from ..files import replacing
from .canvas import SMALL, new_axes, shorten
from .palette import style
from .statistics import Summary
from .svg import INK, figure, plain

WIDTH = 560.0  # a figure by itself, wider than a chart inside a report
ROW = 26.0  # of a setting with one measure
STEP = 11.0  # for every further measure


def draw(series: Series) -> Figure:
    """The drawn measures of every setting."""
    drawn = series.experiment.drawn or series.measures
    with plain(series.experiment.name):
        return _lines(series, drawn) if series.experiment.axis else _dots(series, drawn)


def save(series: Series, path: Path) -> None:
    """`draw` as a PNG file, on white."""
    with plain(series.experiment.name), replacing(path) as temporary:
        draw(series).savefig(temporary, format="png", dpi=144, facecolor="white")


def _points(series: Series, measure: str) -> tuple[list[int], list[Summary]]:
    """Places among the settings that have the measure, and what was found there."""
    at = [place for place, row in enumerate(series.rows.values()) if measure in row]
    settings = list(series.rows)
    return at, [Summary.of(series.values(Cell(settings[place], measure))) for place in at]


def _legend(axes: Axes, height: float, count: int) -> None:
    if count > 1:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0.0, 1.0 + 4 / height), ncol=1, frameon=False, fontsize=SMALL,
            borderaxespad=0.0, labelcolor=INK,
        )  # fmt: skip


def _head(page: Figure, series: Series, count: int) -> float:
    """Write the title, and return the place below it and the legend."""
    n = len(series.seeds)
    text = f"{shorten(series.experiment.title, 66)} ({'n=1' if n == 1 else f'mean ± sd over n={n} seeds'})"
    page.text(12 / WIDTH, 1 - 10 / (page.get_size_inches()[1] * 72), text, va="top", color=INK,
              fontsize=SMALL + 1, fontweight="bold", parse_math=False)  # fmt: skip
    return 34.0 + (16.0 * count if count > 1 else 0.0)


def _lines(series: Series, drawn: tuple[str, ...]) -> Figure:
    height, head = 230.0, 34.0 + (16.0 * len(drawn) if len(drawn) > 1 else 0.0)
    page = figure(WIDTH, head + height + 48)
    axes = new_axes(page, 48, _head(page, series, len(drawn)), WIDTH - 64, height)
    for place, measure in enumerate(drawn):
        look, (at, found) = style(place), _points(series, measure)
        mean = np.array([summary.mean for summary in found])
        axes.plot(at, mean, color=look.light, linestyle=look.line, marker=look.marker, markersize=4.5, linewidth=1.8,
                  label=measure)  # fmt: skip
        if found and found[0].sd is not None:
            sd = np.array([summary.sd or 0.0 for summary in found])
            axes.fill_between(at, mean - sd, mean + sd, color=look.light, alpha=0.16, linewidth=0)
    axes.set_xticks(range(len(series.rows)), list(series.rows), parse_math=False)
    if len(series.rows) > 14:
        for tick in [label for place, label in enumerate(axes.get_xticklabels()) if place % 2]:
            tick.set_visible(False)
    axes.set_xlabel(series.experiment.axis or "", fontsize=SMALL, color=INK)
    axes.set_ylabel(series.experiment.unit, fontsize=SMALL, color=INK)
    _legend(axes, height, len(drawn))
    return page


def _dots(series: Series, drawn: tuple[str, ...]) -> Figure:
    settings = list(series.rows)
    row = ROW + STEP * (len(drawn) - 1)
    left = min(24.0 + 5.8 * max(map(len, settings)), WIDTH * 0.5)
    height, head = row * len(settings), 34.0 + (16.0 * len(drawn) if len(drawn) > 1 else 0.0)
    page = figure(WIDTH, head + height + 48)
    axes = new_axes(page, left, _head(page, series, len(drawn)), WIDTH - left - 20, height)
    for place, measure in enumerate(drawn):
        look, (at, found) = style(place), _points(series, measure)
        y = np.array(at) + (place - (len(drawn) - 1) / 2) * (STEP / row)
        spread = None if not found or found[0].sd is None else [summary.sd or 0.0 for summary in found]
        axes.errorbar([summary.mean for summary in found], y, xerr=spread, fmt=look.marker, color=look.light,
                      markersize=6, elinewidth=1.4, label=measure)  # fmt: skip
    axes.set_ylim(len(settings) - 0.5, -0.5)
    axes.set_yticks(range(len(settings)), [shorten(setting, 46) for setting in settings], parse_math=False)
    axes.set_xlabel(series.experiment.unit, fontsize=SMALL, color=INK)
    low, high = axes.get_xlim()
    if low > -0.05 * high:
        axes.set_xlim(left=min(0.0, low))
    _legend(axes, height, len(drawn))
    return page
