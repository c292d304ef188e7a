"""Sheets of labelled tiles."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from elinvar.check import InputError
from elinvar.report import Strip, gallery
from elinvar.report.gallery import GAP, MARGIN, SMALLEST, TEXT, _fitting


def flat(*values: int, side: int = 8, channels: int = 3) -> Tensor:
    """Images of one colour each, which no text has: their own red, no green, full blue."""
    plain = torch.tensor([[value, 0, 255] for value in values], dtype=torch.uint8)[:, :channels]
    return plain[:, :, None, None].expand(-1, -1, side, side)


def places(sheet: Image.Image, value: int) -> tuple[list[int], list[int]]:
    """Rows and columns of the sheet that have pixels of one such colour, in order."""
    found = (np.asarray(sheet) == (value, 0, 255)).all(-1)
    return np.flatnonzero(found.any(1)).tolist(), np.flatnonzero(found.any(0)).tolist()


def test_every_tile_is_there_whole_and_in_order() -> None:
    sheet = gallery("title", [Strip(flat(11, 77), ("a", "b")), Strip(flat(150, 200), ("a", "b"))], tile=32)
    found = {value: places(sheet, value) for value in (11, 77, 150, 200)}
    for rows, columns in found.values():
        assert len(rows) == rows[-1] - rows[0] + 1 == 32
        assert len(columns) == columns[-1] - columns[0] + 1 == 32
    assert found[11][0] == found[77][0]
    assert found[77][1][0] == found[11][1][-1] + GAP + 1
    assert found[150][0][0] > found[11][0][-1]
    assert found[11][1][0] == MARGIN


def test_small_images_grow_by_whole_factors_and_large_ones_shrink() -> None:
    for side, tile, expected in ((8, 30, 32), (32, 96, 96), (64, 96, 128), (96, 96, 96), (224, 96, 96)):
        rows, columns = places(gallery("", [Strip(flat(9, side=side), ("a",))], tile=tile), 9)
        assert len(rows) == len(columns) == expected
    wide = flat(9, side=40)[:, :, :20]
    rows, columns = places(gallery("", [Strip(wide, ("a",))], tile=80), 9)
    assert (len(rows), len(columns)) == (40, 80)
    pattern = (torch.arange(64) % 2 * 100).to(torch.uint8).view(1, 1, 8, 8)
    sheet = np.asarray(gallery("", [Strip(pattern, ("a",))], tile=32))
    assert {0, 100} <= set(np.unique(sheet[-MARGIN - 30 :, MARGIN : MARGIN + 32]).tolist())


def test_shared_labels_stand_once() -> None:
    rows = [Strip(flat(1, 2), ("one", "two")), Strip(flat(3, 4), ("one", "two"))]
    own = [rows[0], Strip(flat(3, 4), ("one", "three"))]
    assert gallery("x", own).height - gallery("x", rows).height == TEXT + GAP


def test_strips_stand_side_by_side_and_names_before_them() -> None:
    rows = [Strip(flat(10 + number), ("a",), f"name {number}") for number in range(5)]
    narrow, wide = gallery("x", rows, tile=16), gallery("x", rows, tile=16, across=2)
    assert narrow.height > wide.height
    assert places(narrow, 10)[1] == places(narrow, 14)[1]
    first, third, fourth = (places(wide, 10 + number) for number in (0, 2, 3))
    assert first[1] == third[1]
    assert first[0] == fourth[0]
    assert fourth[1][0] > first[1][-1] + GAP
    assert places(narrow, 10)[1][0] > MARGIN + 20


def test_text_fits() -> None:
    assert _fitting("short", 100)[0] == "short"
    for text in ("a label of some length", "x" * 80):
        fitted, font = _fitting(text, 64)
        assert font.getlength(fitted) <= 64
    assert _fitting("threshold 205", 64)[0] == "threshold 205"
    assert _fitting("x" * 80, 64)[0].endswith("\N{HORIZONTAL ELLIPSIS}")
    assert SMALLEST >= 9
    long = gallery("a title that is much wider than the one tile below it", [Strip(flat(7), ("a",))], tile=32)
    assert long.width > 300
    assert gallery("x", [Strip(flat(7), ("a",))], note="a line below the title").width > 120


def test_grey_images_and_mistakes() -> None:
    assert gallery("x", [Strip(flat(7, channels=1), ("a",))]).mode == "RGB"
    with pytest.raises(InputError, match="2 images and 1 labels"):
        gallery("x", [Strip(flat(1, 2), ("a",))])
    with pytest.raises(InputError, match="no strips"):
        gallery("x", [])
