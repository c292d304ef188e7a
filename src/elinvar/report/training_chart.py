"""The chart of training: a panel for each number in the log; numbers of one name, one for each view, share a panel."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .canvas import SMALL, WIDTH, charted, entitle, new_axes, shorten
from .palette import style
from .result import Groups, label
from .svg import INK, figure

POINTS = 40_000  # all lines together, so that many seeds do not swell the page
NOT_CURVES = ("epoch", "step", "lr", "seconds")
PITCH, HEIGHT, LEFT, LINE = 142.0, 92.0, 46.0, 12.0
NARROW = (WIDTH - 12) / 2 - LEFT - 4

Log = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Panel:
    """Numbers of the log by what tells them apart, if there are several."""

    title: str
    members: Mapping[str, str]

    @property
    def wide(self) -> bool:
        """Whether it needs a row of its own, with room for names at the ends of its lines."""
        return len(self.members) > 1


def panels(keys: Sequence[str]) -> list[Panel]:
    """`mu(first)` and `mu(second)` are one panel; `loss` is one, and so is what names several views at once.

    >>> [(panel.title, list(panel.members)) for panel in panels(["loss", "mu(first)", "mu(second)", "test_error"])]
    [('Loss', ['']), ('Mu', ['first', 'second']), ('Test error, %', [''])]
    """
    families: dict[str, dict[str, str]] = {}
    for key in keys:
        named = re.fullmatch(r"(\w+)\(([^(),]+)\)", key)
        family, member = named.groups() if named else (key, "")
        families.setdefault(family, {})[member] = key
    found = []
    for family, members in families.items():
        several = len(members) > 1
        key = family if several else next(iter(members.values()))
        title = label(key) + (", %" if family.endswith("error") else "")
        found.append(Panel(title, members if several else {"": key}))
    return found


@charted("training")
def training_curves(groups: Groups) -> tuple[Figure, str] | None:
    """Thin lines: the loss, its parts and errors by epoch, one line for each run."""
    logs = [(name, run.metrics) for name, runs in groups.items() for run in runs if run.metrics]
    present = dict.fromkeys(key for _, rows in logs for row in rows for key in row if key not in NOT_CURVES)
    keys = [key for key in present if key != "test_error"] + ["test_error"] * ("test_error" in present)
    if not keys:
        return None
    drawn = panels(keys)
    places = _places(drawn)
    page = figure(WIDTH, (places[-1][0] + 1) * PITCH + 6)
    looks = {name: style(place) for place, name in enumerate(groups)}
    most = max(2, POINTS // (len(logs) * len(keys)))
    for panel, (row, column) in zip(drawn, places, strict=True):
        room = 7.0 + 5.6 * max(len(shorten(member, 18)) for member in panel.members) if panel.wide else 0.0
        width = WIDTH - LEFT - 12 - room if panel.wide else NARROW
        axes = new_axes(page, LEFT + column * (NARROW + LEFT + 4), 22 + row * PITCH, width, HEIGHT)
        ends = {}
        for member, key in panel.members.items():
            lines = [(name, points) for name, rows in logs if (points := _points(rows, key, most)).size]
            for name, (epochs, values) in lines:
                look = looks[name]
                axes.plot(
                    epochs, values, color=look.light, linestyle=look.line, linewidth=1.1, alpha=0.85,
                    marker=look.marker if len(epochs) == 1 else None, markersize=4.5,
                )  # fmt: skip
            last = [values[np.isfinite(values)][-1:] for _, (_, values) in lines]
            ends[member] = float(np.mean(np.concatenate(last))) if any(map(len, last)) else 0.0
        axes.set_ylim(bottom=0) if panel.members == {"": "test_error"} else axes.margins(y=0.08)
        axes.locator_params(nbins=4)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1, steps=(1, 2, 5, 10)))
        if max(rows[-1]["epoch"] for _, rows in logs) == 1:
            axes.set_xlim(0.5, 1.5)
        axes.grid(visible=False, axis="x")
        entitle(axes, shorten(panel.title, 50 if panel.wide else 25))
        axes.set_xlabel("epoch", fontsize=SMALL, color=INK)
        if panel.wide:
            _name_ends(axes, ends)
    counts = ", ".join(f"{name} n={len(runs)}" for name, runs in groups.items())
    names = ", ".join("Test error" if key == "test_error" else label(key) for key in keys)
    return page, f"By epoch, one line for each run ({counts}): {names}."


def _places(drawn: Sequence[Panel]) -> list[tuple[int, int]]:
    """Row and column of each panel, from left to right; a wide one begins a row and fills it."""
    places, row, column = [], 0, 0
    for panel in drawn:
        if panel.wide and column:
            row, column = row + 1, 0
        places.append((row, column))
        row, column = (row + 1, 0) if panel.wide or column else (row, 1)
    return places


def _points(rows: Log, key: str, most: int) -> np.ndarray:
    """Epochs and values, (2, at most `most`)."""
    found = np.array([(row["epoch"], row[key]) for row in rows if key in row], dtype=float)
    kept = np.unique(np.linspace(0, len(found) - 1, min(len(found), most)).round().astype(int))
    points: np.ndarray = found[kept].T
    return points


def _name_ends(axes: Axes, ends: Mapping[str, float]) -> None:
    """Names of lines at their right ends, from bottom to top, none upon another."""
    low, high = axes.get_ylim()
    step, height = LINE / HEIGHT, -np.inf
    heights = []
    for end in sorted(ends.values()):
        height = max((end - low) / (high - low), height + step)
        heights.append(height)
    down = max(0.0, heights[-1] - 1.0)
    for name, at in zip(sorted(ends, key=ends.__getitem__), heights, strict=True):
        axes.annotate(
            shorten(label(name), 18), (1.0, at - down), xycoords="axes fraction",
            xytext=(5, 0), textcoords="offset points", fontsize=SMALL - 1, color=INK, va="center",
            annotation_clip=False, parse_math=False,
        )  # fmt: skip
