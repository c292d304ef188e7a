"""The chart of logits: how those of the images as they are and of attacked ones are spread, a panel for each recipe."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..attacks import Distribution
from ..attacks.robustness import NATURAL
from .attacked import LONGEST
from .canvas import SMALL, WIDTH, charted, entitle, new_axes, shorten
from .palette import style
from .result import Groups, RunResult
from .svg import INK, figure

BINS = 60
COLUMNS, PITCH, HEIGHT, TOP = 2, 120.0, 72.0, 22.0


@charted("logits")
def logit_histograms(groups: Groups) -> tuple[Figure, str] | None:
    """Filled: the images as they are; line: under PGD-20. Mean density over the runs of a recipe, each on its scale."""
    panels = {
        name: {place: found for place in (NATURAL, LONGEST) if (found := _spreads(runs, place))}
        for name, runs in groups.items()
    }
    panels = {name: panel for name, panel in panels.items() if NATURAL in panel}
    if not panels:
        return None
    looks = {name: style(place) for place, name in enumerate(groups)}
    page = figure(WIDTH, -(-len(panels) // COLUMNS) * PITCH + 8)
    width = (WIDTH - 12) / COLUMNS - 20
    said = []
    for place, (name, panel) in enumerate(panels.items()):
        row, column = divmod(place, COLUMNS)
        axes = new_axes(page, 10 + column * (width + 22), TOP + row * PITCH, width, HEIGHT)
        edges = _edges([of for found in panel.values() for of in found])
        for where, found in panel.items():
            heights = np.mean([density(of, edges) for of in found], axis=0)
            if where == NATURAL:
                axes.stairs(heights, edges, fill=True, color=looks[name].light, alpha=0.3, linewidth=0)
            else:
                axes.stairs(heights, edges, color=looks[name].light, linewidth=1.3)
            ranges = np.mean([of.range for of in found])
            said.append(f"{name}, {where}: range {ranges:.3g}, n={len(found)}.")
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(bottom=0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        axes.locator_params(axis="x", nbins=4)
        entitle(axes, shorten(name, 24))
        if place >= len(panels) - COLUMNS:
            axes.set_xlabel("logit", fontsize=SMALL, color=INK)
    return page, "Density of all logits, as they are and under PGD-20, each recipe on its own scale. " + " ".join(said)


def _spreads(runs: Sequence[RunResult], place: str) -> list[Distribution]:
    told = [run.evaluation.attacks for run in runs if run.evaluation.attacks is not None]
    found = [attacks.results[place].logits for attacks in told if place in attacks.results]
    return [spread for spread in found if spread is not None]


def _edges(found: Sequence[Distribution]) -> np.ndarray:
    low, high = min(of.low for of in found), max(of.high for of in found)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)


def density(found: Distribution, edges: np.ndarray) -> np.ndarray:
    """The share of logits in each interval over its length, as if they were uniform inside of their own intervals."""
    reached = np.concatenate([[0], np.cumsum(found.counts)]) / max(1, sum(found.counts))
    shares: np.ndarray = np.diff(np.interp(edges, found.edges, reached))
    return shares / np.diff(edges)
