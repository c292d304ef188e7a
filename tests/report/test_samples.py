"""The sheet of samples holds the very pixels, in reading order, and stays small."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from elinvar.check import InputError
from elinvar.report.samples import BUDGET, GAP, SampleSheet, sample_grid


def pixels(sheet: SampleSheet) -> np.ndarray:
    data = base64.b64decode(sheet.uri.removeprefix("data:image/png;base64,"))
    image = Image.open(io.BytesIO(data))
    assert image.size == sheet.size
    return np.array(image)


def tile(sheet: SampleSheet, row: int, column: int, side: int) -> np.ndarray:
    top, left = row * (side + GAP), column * (side + GAP)
    return pixels(sheet)[top : top + side, left : left + side]


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_tiles_are_the_images_enlarged_without_smoothing() -> None:
    images, fog, snow = noise(2, 3, 32, 32), noise(5, 2, 3, 32, 32), noise(5, 2, 3, 32, 32)
    sheet = sample_grid(images, {"fog": fog, "snow_storm": snow})
    assert (sheet.rows, sheet.columns) == (("Fog", "Snow storm"), ("clean", "1", "2", "3", "4", "5"))
    assert sheet.scale == 2
    for row, versions in enumerate((fog, snow)):
        for column, image in enumerate((images[row], *versions[:, row])):
            shown = tile(sheet, row, column, 64)
            expected = image.permute(1, 2, 0).numpy().repeat(2, axis=0).repeat(2, axis=1)
            np.testing.assert_array_equal(shown[..., :3], expected)
            assert (shown[..., 3] == 255).all()
    assert (pixels(sheet)[64 : 64 + GAP, :, 3] == 0).all()


def test_rows_take_turns_with_the_images() -> None:
    images = noise(2, 1, 8, 8)
    sheet = sample_grid(images, {name: images.expand(1, 2, 1, 8, 8) for name in "abc"})
    assert sheet.columns == ("clean", "1")
    np.testing.assert_array_equal(tile(sheet, 0, 0, 64), tile(sheet, 2, 0, 64))
    np.testing.assert_array_equal(tile(sheet, 1, 0, 64)[::8, ::8, 0], images[1, 0].numpy())


def test_large_images_are_reduced_to_the_budget() -> None:
    images = noise(1, 3, 224, 224)
    versions = noise(5, 1, 3, 224, 224)
    sheet = sample_grid(images, {f"corruption {number}": versions for number in range(15)})
    assert len(base64.b64decode(sheet.uri.split(",")[1])) <= BUDGET
    assert 24 / 224 <= sheet.scale < 1


def test_what_cannot_be_shown_is_refused() -> None:
    images = noise(2, 3, 8, 8)
    with pytest.raises(InputError, match="0 corruptions"):
        sample_grid(images, {})
    with pytest.raises(InputError, match="2 channels"):
        sample_grid(images[:, :2], {"fog": images[None, :, :2]})
    with pytest.raises(InputError, match="'snow' has shape"):
        sample_grid(images, {"fog": images[None], "snow": images[None, :1]})
    with pytest.raises(InputError, match="as many severities"):
        sample_grid(images, {"fog": images[None], "snow": images.expand(2, 2, 3, 8, 8)})
