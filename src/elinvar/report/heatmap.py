"""The picture of Fourier heatmaps: error by frequency, one panel for each model, all in one scale of colours.

Lightness grows with the error, so that the picture reads in grey, and the colours (cividis) are told apart with every
kind of colour vision.
"""

import io
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from ..check import InputError
from ..files import replacing
from ..shift import FourierHeatmap
from .canvas import SMALL, entitle, new_axes, shorten
from .svg import INK, plain

COLOURS = "cividis"
SIDE, GAP, LEFT, TOP, BELOW, BAR = 190.0, 26.0, 44.0, 40.0, 46.0, 58.0
SHARPNESS = 2.0  # pixels of the file for each of the layout


def heatmap_figure(heatmaps: Mapping[str, FourierHeatmap], *, largest: float = 1.0, across: int = 3) -> Figure:
    """Panels with a title each, DC in the centre, and one colour bar from 0 to `largest`, a share of errors up to 1.

    across   panels side by side

    Raises `InputError` when there is nothing to draw, or `largest` is no share.
    """
    if not heatmaps:
        raise InputError("heatmaps: got none, expected at least one")
    if not 0 < largest <= 1 or across < 1:
        raise InputError(f"got largest={largest}, across={across}; expected a share up to 1, and at least one panel")
    columns, rows = min(across, len(heatmaps)), -(-len(heatmaps) // across)
    width = LEFT + columns * (SIDE + GAP) + BAR
    height = rows * (TOP + SIDE + BELOW)
    page = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="white")
    for place, (name, heatmap) in enumerate(heatmaps.items()):
        row, column = divmod(place, columns)
        axes = new_axes(page, LEFT + column * (SIDE + GAP), TOP + row * (TOP + SIDE + BELOW), SIDE, SIDE)
        k_y, k_x = heatmap.vertical.tolist(), heatmap.horizontal.tolist()
        picture = axes.imshow(
            100 * heatmap.error.numpy(),
            cmap=COLOURS, vmin=0, vmax=100 * largest, interpolation="nearest", aspect="auto",
            extent=(k_x[0] - 0.5, k_x[-1] + 0.5, k_y[-1] + 0.5, k_y[0] - 0.5),
        )  # fmt: skip
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_xticks(sorted({k_x[0], 0, k_x[-1]}))
        axes.set_yticks(sorted({k_y[0], 0, k_y[-1]}))
        if column:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel("vertical frequency", fontsize=SMALL, color=INK)
        axes.set_xlabel("horizontal frequency", fontsize=SMALL, color=INK)
        entitle(axes, f"{shorten(name, 24)}\nmean error {100 * heatmap.mean():.1f} %, norm {heatmap.norm:g}")
    bar = new_axes(page, LEFT + columns * (SIDE + GAP) - 4, TOP, 12, SIDE)
    bar.spines["left"].set_visible(False)
    page.colorbar(picture, cax=bar, extend="max" if largest < 1 else "neither").outline.set_visible(False)
    bar.tick_params(length=0, labelsize=SMALL, labelcolor=INK)
    bar.set_ylabel("error, %", fontsize=SMALL, color=INK)
    return page


def heatmap_png(heatmaps: Mapping[str, FourierHeatmap], *, largest: float = 1.0, across: int = 3) -> bytes:
    """`heatmap_figure` as a PNG file, the same bytes each time."""
    buffer = io.BytesIO()
    with plain("fourier"):
        page = heatmap_figure(heatmaps, largest=largest, across=across)
        page.savefig(buffer, format="png", dpi=72 * SHARPNESS, metadata={"Software": None})
    return buffer.getvalue()


def write_heatmaps(
    path: Path, heatmaps: Mapping[str, FourierHeatmap], *, largest: float = 1.0, across: int = 3
) -> None:
    """Write `heatmap_png` to `path`, atomically."""
    picture = heatmap_png(heatmaps, largest=largest, across=across)
    with replacing(path) as temporary:
        temporary.write_bytes(picture)
