"""The charts of a report. Each is drawn 350 pixels wide, the width of a phone, and grows with the page."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..infer.evaluation import Reliability
from .canvas import SMALL, WIDTH, charted, entitle, new_axes, shorten
from .palette import Style, style
from .result import CORRUPTION_ERROR, Groups, RunResult, corruption_errors, label
from .statistics import Summary
from .svg import INK, RULE, figure

BINS = 15  # the equal-width confidence bins of reliability diagrams
FEWEST = 20  # predictions in a bin that is drawn


def _shifted(groups: Groups) -> dict[str, list[RunResult]]:
    """The recipes with runs that were judged under corruptions, and those runs."""
    found = {name: [run for run in runs if run.evaluation.shift is not None] for name, runs in groups.items()}
    return {name: runs for name, runs in found.items() if runs}


def _styles(groups: Groups) -> dict[str, Style]:
    return {name: style(place) for place, name in enumerate(groups)}


@charted("corruptions")
def error_per_corruption(groups: Groups) -> tuple[Figure, str] | None:
    """Bars: error for each corruption and their mean, with a whisker of one standard deviation over runs."""
    shifted, styles = _shifted(groups), _styles(groups)
    if not shifted:
        return None
    errors = {name: corruption_errors(runs) for name, runs in shifted.items()}
    names = list(next(iter(errors.values())))
    labels = [*(shorten(label(name), 22) for name in names), f"Mean of {len(names)}"]
    bar = max(5.0, 15.0 / len(shifted))
    group = bar * len(shifted) + 9.0
    gap = 8.0  # above the mean
    height = group * len(labels) + gap
    left = 14.0 + 5.6 * max(map(len, labels))
    page = figure(WIDTH, height + 40)
    axes = new_axes(page, left, 4, WIDTH - left - 12, height)
    centres = np.arange(len(labels)) * group + group / 2
    centres[-1] += gap
    for place, (name, runs) in enumerate(shifted.items()):
        found = [Summary.of(errors[name][corruption]) for corruption in names]
        found.append(Summary.of(CORRUPTION_ERROR.values(runs)))
        at = centres + (place - (len(shifted) - 1) / 2) * bar
        axes.barh(at, [summary.mean for summary in found], height=bar * 0.86, color=styles[name].light)
        if found[0].sd is not None:
            spreads = [summary.sd or 0.0 for summary in found]
            axes.errorbar([s.mean for s in found], at, xerr=spreads, fmt="none", ecolor=INK, elinewidth=0.9)
    axes.axhline(height - group - gap / 2, color=RULE, linewidth=0.8)
    axes.set_ylim(height, 0)
    axes.set_xlim(left=0)
    axes.set_yticks(centres, labels, parse_math=False)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("error, %", fontsize=SMALL, color=INK)
    return page, "Error for each corruption, mean over severities. " + " ".join(map(_span, errors, errors.values()))


def _span(name: str, errors: Mapping[str, Sequence[float]]) -> str:
    means = {corruption: float(np.mean(values)) for corruption, values in errors.items()}
    low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    n = len(next(iter(errors.values())))
    return f"{name}: from {means[low]:.1f} % ({label(low)}) to {means[high]:.1f} % ({label(high)}), n={n}."


def _by_severity(run: RunResult, corruption: str | None = None) -> list[float]:
    """Error at severity 0 (clean) and 1 to 5, of one corruption or their mean."""
    assert run.evaluation.shift is not None
    errors = run.evaluation.shift.errors
    chosen = list(errors.values()) if corruption is None else [errors[corruption]]
    return [run.evaluation.clean.error, *np.mean(chosen, axis=0).tolist()]


def _curve(axes: Axes, curves: Sequence[Sequence[float]], look: Style, *, small: bool = False) -> None:
    """The mean of several curves from 0 on, in a band of one standard deviation."""
    values = np.array(curves)
    at, mean = np.arange(values.shape[1]), values.mean(0)
    marker = None if small else look.marker
    axes.plot(
        at, mean, color=look.light, linestyle=look.line, linewidth=1.4 if small else 1.8, marker=marker, markersize=4.5
    )
    if len(values) > 1:
        sd = values.std(0, ddof=1)
        axes.fill_between(at, mean - sd, mean + sd, color=look.light, alpha=0.18, linewidth=0)


@charted("severity")
def severity_curve(groups: Groups) -> tuple[Figure, str] | None:
    """Lines: error by severity, mean over corruptions, in a band of one standard deviation over runs."""
    shifted, styles = _shifted(groups), _styles(groups)
    if not shifted:
        return None
    page = figure(WIDTH, 240)
    axes = new_axes(page, 34, 20, WIDTH - 46, 180)
    said = []
    for name, runs in shifted.items():
        curves = [_by_severity(run) for run in runs]
        _curve(axes, curves, styles[name])
        first, last = np.mean(curves, axis=0)[[0, -1]]
        said.append(f"{name}: from {first:.1f} % clean to {last:.1f} % at the highest severity, n={len(runs)}.")
    _severity_ticks(axes, len(curves[0]))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("severity", fontsize=SMALL, color=INK)
    entitle(axes, "error, %")
    return page, "Error by severity, mean over corruptions. " + " ".join(said)


def _severity_ticks(axes: Axes, count: int) -> None:
    axes.set_xlim(-0.2, count - 0.8)
    axes.set_xticks(range(count), ["clean", *map(str, range(1, count))])
    axes.grid(visible=False, axis="x")


@charted("severities")
def severity_multiples(groups: Groups) -> tuple[Figure, str] | None:
    """Small lines: error by severity, one panel for each corruption, all on one scale."""
    shifted, styles = _shifted(groups), _styles(groups)
    if not shifted:
        return None
    curves = {
        corruption: {name: [_by_severity(run, corruption) for run in runs] for name, runs in shifted.items()}
        for corruption in corruption_errors(next(iter(shifted.values())))
    }
    columns, pitch, height = 3, 84.0, 52.0
    rows = -(-len(curves) // columns)
    page = figure(WIDTH, rows * pitch + 22)
    width = (WIDTH - 30) / columns - 10
    top = 1.05 * max(max(map(max, runs)) for panel in curves.values() for runs in panel.values())
    for place, (corruption, panel) in enumerate(curves.items()):
        row, column = divmod(place, columns)
        axes = new_axes(page, 26 + column * (width + 12), 22 + row * pitch, width, height)
        for name, found in panel.items():
            _curve(axes, found, styles[name], small=True)
        _severity_ticks(axes, len(found[0]))
        axes.set_ylim(0, top if np.isfinite(top) and top > 0 else 1)
        axes.locator_params(axis="y", nbins=3)
        if column:
            axes.tick_params(labelleft=False)
        axes.set_xticks([0, len(found[0]) - 1], ["clean", str(len(found[0]) - 1)])
        first, last = axes.get_xticklabels()
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")
        axes.tick_params(labelbottom=place >= len(curves) - columns)
        entitle(axes, shorten(label(corruption), 18))
    return page, f"Error in per cent by severity, one panel for each of {len(curves)} corruptions, all on one scale."


@charted("reliability")
def reliability_diagram(groups: Groups) -> tuple[Figure, str] | None:
    """Accuracy against confidence, clean and corrupted; all runs of a recipe pooled, dots by share of predictions."""
    shifted, styles = _shifted(groups), _styles(groups)
    panels: dict[str, dict[str, list[Reliability]]] = {
        "clean": {name: [run.evaluation.clean.reliability for run in runs] for name, runs in groups.items()},
        "corrupted": {
            name: [run.evaluation.shift.reliability for run in runs if run.evaluation.shift]
            for name, runs in shifted.items()
        },
    }
    panels = {title: kept for title, panel in panels.items() if (kept := _binned(panel))}
    if not panels:
        return None
    side = 138.0
    page = figure(WIDTH, side + 62)
    said = []
    for place, (title, panel) in enumerate(panels.items()):
        axes = new_axes(page, 36 + place * (side + 28), 22, side, side)
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, dashes=(4, 3), alpha=0.6)
        for name, found in panel.items():
            confidence, accuracy, share = pooled_bins(found)
            look = styles[name]
            axes.plot(confidence, accuracy, color=look.light, linestyle=look.line, linewidth=1.3)
            axes.scatter(
                confidence, accuracy, s=4 + 90 * share, color=look.light, marker=look.marker, alpha=0.85, linewidths=0
            )
            gap = float(np.sum(share * (confidence - accuracy)))
            over = "above" if gap > 0 else "below"
            said.append(f"{name}, {title}: confidence {abs(gap):.2f} {over} accuracy on average, n={len(found)}.")
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", ".5", "1"] if place == 0 else [])
        axes.set_xlabel("confidence", fontsize=SMALL, color=INK)
        entitle(axes, f"accuracy, {title}" if place == 0 else title)
    return page, "Accuracy against confidence in bins; on the diagonal they agree. " + " ".join(said)


def _binned(panel: Mapping[str, Sequence[Reliability]]) -> dict[str, list[Reliability]]:
    """The recipes of a panel with bins: a run with logits that are not finite has none."""
    found = {name: [of for of in runs if of.count] for name, runs in panel.items()}
    return {name: runs for name, runs in found.items() if runs}


def pooled_bins(found: Sequence[Reliability]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence, accuracy and share of predictions in each equal-width bin, all runs pooled by count.

    Bins with fewer than `FEWEST` predictions are left out: their accuracy is mostly chance.
    """
    sums = np.zeros((BINS, 3))
    for reliability in found:
        confidence, count = np.array(reliability.confidence), np.array(reliability.count, dtype=float)
        bins = np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(int)
        np.add.at(sums, bins, np.stack([confidence * count, reliability.accuracy * count, count], axis=1))
    sums = sums[sums[:, 2] >= min(FEWEST, sums[:, 2].max())]
    return sums[:, 0] / sums[:, 2], sums[:, 1] / sums[:, 2], sums[:, 2] / sums[:, 2].sum()
