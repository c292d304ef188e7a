"""The picture of heatmaps: every frequency where it belongs, in colours that grow lighter with the error."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from elinvar.check import InputError
from elinvar.report.heatmap import LEFT, SHARPNESS, SIDE, TOP, heatmap_figure, heatmap_png, write_heatmaps
from elinvar.shift import FourierHeatmap


def heatmap(rows: int = 8, columns: int = 8, **places: float) -> FourierHeatmap:
    """Zero error but at places named like `r1c6`."""
    error = torch.zeros(rows, columns, dtype=torch.float64)
    for place, value in places.items():
        row, column = place[1:].split("c")
        error[int(row), int(column)] = value
    return FourierHeatmap(error, 4.0, True, 10, (rows, columns))


def lightness(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"))


def cell(picture: NDArray[np.uint8], row: int, column: int, cells: int = 8) -> int:
    """Lightness in the middle of a cell of the first panel."""
    y, x = (SHARPNESS * (start + SIDE * (k + 0.5) / cells) for start, k in ((TOP, row), (LEFT, column)))
    return int(picture[round(y), round(x)])


def test_a_frequency_stands_at_its_place() -> None:
    picture = lightness(heatmap_png({"one": heatmap(r1c6=1.0, r4c4=0.5)}))
    dark = cell(picture, 7, 0)
    assert cell(picture, 1, 6) > cell(picture, 4, 4) > dark
    others = [cell(picture, r, c) for r in range(8) for c in range(8) if (r, c) not in ((1, 6), (4, 4))]
    assert set(others) == {dark}


def test_lightness_grows_with_the_error() -> None:
    found = [
        cell(lightness(heatmap_png({"one": heatmap(r0c0=value)})), 0, 0) for value in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    ]
    assert found == sorted(set(found))
    assert cell(lightness(heatmap_png({"one": heatmap(r0c0=0.6)}, largest=0.5)), 0, 0) == found[-1]


def test_panels_fill_rows_and_say_what_they_show() -> None:
    maps = {name: heatmap(r0c0=0.64) for name in ("a", "b", "a very long name of a recipe that goes on", "d")}
    page = heatmap_figure(maps)
    panels = page.axes[:4]
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles[0] == "a\nmean error 1.0 %, norm 4"
    assert "\N{HORIZONTAL ELLIPSIS}" in titles[2]
    corners = [axes.get_position() for axes in panels]
    assert corners[0].y0 == corners[2].y0 > corners[3].y0
    assert corners[0].x0 == corners[3].x0 < corners[1].x0
    assert page.axes[4].get_ylabel() == "error, %"


def test_frequencies_are_labelled() -> None:
    axes = heatmap_figure({"one": heatmap(5, 8)}).axes[0]
    assert axes.get_xticks().tolist() == [-4, 0, 3]
    assert axes.get_yticks().tolist() == [-2, 0, 2]
    assert axes.get_xlim() == (-4.5, 3.5)
    assert axes.get_ylim() == (2.5, -2.5)  # the first row on top


def test_the_file_is_whole_and_the_same_each_time(tmp_path: Path) -> None:
    maps = {"one": heatmap(r1c6=1.0)}
    write_heatmaps(tmp_path / "map.png", maps)
    assert (tmp_path / "map.png").read_bytes() == heatmap_png(maps) == heatmap_png(maps)
    assert [path.name for path in tmp_path.iterdir()] == ["map.png"]


def test_mistakes_are_answered() -> None:
    with pytest.raises(InputError, match="got none"):
        heatmap_figure({})
    for settings in ({"largest": 0.0}, {"largest": 1.1}, {"across": 0}):
        with pytest.raises(InputError, match="expected a share up to 1"):
            heatmap_figure({"one": heatmap()}, **settings)
