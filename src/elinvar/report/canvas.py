"""What every chart is drawn on: axes with no more ink than needed, at places given in the pixels of a phone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .result import Groups
from .svg import INK, RULE, plain, render

WIDTH = 350.0
SMALL = 10.0  # font size of ticks


@dataclass(frozen=True)
class Chart:
    """A drawn chart: the picture, and what it shows in words."""

    name: str
    svg: str
    alt: str


Draw = Callable[[Groups], tuple[Figure, str] | None]


def charted(name: str) -> Callable[[Draw], Callable[[Groups], Chart | None]]:
    """Draw with matplotlib's own settings and render. A chart with nothing to show is None."""

    def decorate(draw: Draw) -> Callable[[Groups], Chart | None]:
        @wraps(draw)
        def drawn(groups: Groups) -> Chart | None:
            with plain(name):
                found = draw(groups)
                return None if found is None else Chart(name, render(found[0], name, found[1]), found[1])

        return drawn

    return decorate


def new_axes(page: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place in pixels from the top left corner, with no more ink than needed."""
    total_width, total_height = (side * 72 for side in page.get_size_inches())
    bottom = total_height - top - height
    axes = page.add_axes(
        (left / total_width, bottom / total_height, width / total_width, height / total_height), facecolor="none"
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(length=0, labelsize=SMALL, labelcolor=INK, pad=4)
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def entitle(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=SMALL + 0.5, color=INK, loc="left", pad=5, parse_math=False)


def shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
