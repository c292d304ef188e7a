"""From any size to the common one."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import kstest

from elinvar.check import InputError
from elinvar.data import Crop
from elinvar.data.crop import to_tensor


def picture(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_the_centre_is_cut_after_the_shorter_side_was_resized() -> None:
    image = picture(500, 333)
    expected = image.resize((384, 256), Image.Resampling.BILINEAR).crop((80, 16, 304, 240))
    assert torch.equal(to_tensor(Crop(224).centre(image)), to_tensor(expected))
    tall = picture(100, 250).resize((32, 80), Image.Resampling.BILINEAR).crop((0, 24, 32, 56))
    assert torch.equal(to_tensor(Crop(32, fraction=1.0).centre(picture(100, 250))), to_tensor(tall))


def test_an_image_of_the_right_size_stays_as_it_is() -> None:
    image = picture(24, 24)
    assert to_tensor(Crop(24).centre(image)).equal(torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1))


@given(width=st.integers(1, 90), height=st.integers(1, 90), size=st.integers(1, 40), key=st.integers(0, 2**64 - 1))
def test_any_size_becomes_the_common_one(width: int, height: int, size: int, key: int) -> None:
    crop, image = Crop(size), picture(width, height)
    draws = crop.draws(key, torch.tensor([0]))[0]
    assert crop.centre(image).size == crop.random(image, draws).size == (size, size)
    left, top, right, bottom = crop.box(width, height, draws)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_boxes_are_uniform_in_area_log_ratio_and_place() -> None:
    # Every first box fits: at most half the area and a side of sqrt(.5 * 4 / 3). Four fits at 1 in 4,000 each.
    crop, side = Crop(32, area=(0.08, 0.5)), 4000
    boxes = np.array([crop.box(side, side, row) for row in crop.draws(7, torch.arange(3000))], dtype=float)
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    area, ratio = width * height / side**2, np.log(width / height)
    low, high = math.log(3 / 4), math.log(4 / 3)
    for values in (
        (area - 0.08) / 0.42,
        (ratio - low) / (high - low),
        boxes[:, 0] / (side - width),
        boxes[:, 1] / (side - height),
    ):
        assert kstest(values, "uniform").pvalue > 1e-3 / 4


@pytest.mark.parametrize(("width", "height", "box"), [(900, 9, (444, 0, 456, 9)), (9, 900, (0, 444, 9, 456))])
def test_where_no_box_fits_the_largest_allowed_is_taken(
    width: int, height: int, box: tuple[int, int, int, int]
) -> None:
    crop = Crop(32)
    for row in crop.draws(3, torch.arange(50)):
        assert crop.box(width, height, row) == box


def test_draws_belong_to_the_key_and_the_example() -> None:
    crop = Crop(32)
    many = crop.draws(5, torch.arange(10))
    assert torch.equal(many[[7]], crop.draws(5, torch.tensor([7])))
    assert not torch.equal(many, crop.draws(6, torch.arange(10)))


@pytest.mark.parametrize(
    "settings",
    [
        {"size": 0},
        {"size": 8, "fraction": 0.0},
        {"size": 8, "fraction": 1.1},
        {"size": 8, "area": (0.0, 1.0)},
        {"size": 8, "area": (0.5, 0.4)},
        {"size": 8, "ratio": (0.0, 1.0)},
        {"size": 8, "ratio": (2.0, 1.0)},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object]) -> None:
    name = list(settings)[-1]
    with pytest.raises(InputError, match=f"{name}: got"):
        Crop(**settings)  # type: ignore[arg-type]
