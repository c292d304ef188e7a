"""Random resized crops have Pillow's pixels and the published distribution.

Keys are fixed. With a key chosen at random, a statistical test would reject a correct sampler with probability 1e-6
(`RARE`).
"""

import math
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import Tensor

from elinvar.augment import Compose, Flip, RandomResizedCrop
from elinvar.augment.backend import Backend
from elinvar.augment.filters import Interpolation
from elinvar.augment.regions import TRIES
from elinvar.augment.resized_crop import resized_crop
from elinvar.check import InputError
from elinvar.rng import uniform

from .conftest import keys, noise, photos

RARE = 1e-6
BACKENDS = get_args(Backend)
both = pytest.mark.parametrize("backend", BACKENDS)
filters = pytest.mark.parametrize("interpolation", get_args(Interpolation))


def by_pillow(image: Tensor, box: list[int], size: tuple[int, int], interpolation: Interpolation) -> Tensor:
    """Rows, then columns: two calls, for the order of the passes inside of one differs between versions of Pillow."""
    height, width, row, column = box
    how = Image.Resampling[interpolation.upper()]
    picture = Image.fromarray(image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy())
    across = picture.resize((size[1], picture.height), how, box=(column, 0, column + width, picture.height))
    array = np.array(across.resize((size[1], size[0]), how, box=(0, row, size[1], row + height)))
    return torch.from_numpy(array.reshape(*size, -1)).permute(2, 0, 1)


def some_boxes(count: int, height: int, width: int) -> Tensor:
    """Everything, corners, single pixels, and boxes at random."""
    u = uniform(keys(count, key=height * width), 4)
    sides = (u[:, :2] * torch.tensor([height, width])).floor() + 1
    corners = (u[:, 2:] * (torch.tensor([height, width]) - sides + 1)).floor()
    boxes = torch.cat([sides, corners], 1).long()
    boxes[:3] = torch.tensor([[height, width, 0, 0], [1, 1, height - 1, width - 1], [1, width, 0, 0]])
    return boxes


@both
@filters
@pytest.mark.parametrize("size", [(32, 32), (17, 50), (1, 1), (130, 3)])
def test_pixels_are_pillows(size: tuple[int, int], interpolation: Interpolation, backend: Backend) -> None:
    for shape in ((12, 3, 61, 83), (12, 1, 40, 23), (12, 3, 4, 300), (12, 3, 1, 1), (12, 1, 150, 2)):
        boxes = some_boxes(12, *shape[2:])
        for images in (photos(*shape), noise(*shape)):
            made = resized_crop(images, boxes, size, interpolation=interpolation, backend=backend)
            expected = [by_pillow(*pair, size, interpolation) for pair in zip(images, boxes.tolist(), strict=True)]
            assert made.equal(torch.stack(expected))


@both
@filters
def test_pixels_are_pillows_on_large_images(interpolation: Interpolation, backend: Backend) -> None:
    images = photos(4, 3, 300, 400)
    boxes = RandomResizedCrop(224).draw(keys(4), height=300, width=400)
    made = resized_crop(images, boxes, (224, 224), interpolation=interpolation, backend=backend)
    expected = [by_pillow(*pair, (224, 224), interpolation) for pair in zip(images, boxes.tolist(), strict=True)]
    assert made.equal(torch.stack(expected))


@both
def test_whole_images_stay(backend: Backend) -> None:
    images = photos(3, 3, 20, 31)
    boxes = torch.tensor([[20, 31, 0, 0]]).expand(3, 4)
    for interpolation in get_args(Interpolation):
        assert resized_crop(images, boxes, (20, 31), interpolation=interpolation, backend=backend).equal(images)
    cut = torch.tensor([[6, 5, 4, 3]]).expand(3, 4)
    assert resized_crop(images, cut, (6, 5), backend=backend).equal(images[:, :, 4:10, 3:8])


@both
def test_rows_layout_and_types_do_not_matter(backend: Backend) -> None:
    images, boxes = photos(70, 3, 33, 29), some_boxes(70, 33, 29)
    whole = resized_crop(images, boxes, (16, 20), backend=backend)
    one = [resized_crop(images[n : n + 1], boxes[n : n + 1], (16, 20), backend=backend) for n in range(5)]
    assert torch.cat(one).equal(whole[:5])
    torch.set_num_threads(3)
    last = images.contiguous(memory_format=torch.channels_last)
    assert resized_crop(last, boxes.flip(1).flip(1), (16, 20), backend=backend).equal(whole)
    for dtype in (torch.float16, torch.float32, torch.float64):
        made = resized_crop((images.double() / 255).to(dtype), boxes, (16, 20), backend=backend)
        assert made.dtype == dtype
        assert (made.double() * 255).round().to(torch.uint8).equal(whole)
    assert resized_crop(images[:0], boxes[:0], (16, 20), backend=backend).shape == (0, 3, 16, 20)


def published(u: list[float], height: int, width: int, crop: RandomResizedCrop) -> list[int]:
    """The loop that everyone uses, on given draws."""
    low, high = crop.ratio
    for first in range(0, 4 * TRIES, 4):
        pixels = height * width * (crop.scale[0] + (crop.scale[1] - crop.scale[0]) * u[first])
        aspect = math.exp(math.log(low) + (math.log(high) - math.log(low)) * u[first + 1])
        tall, wide = round(math.sqrt(pixels / aspect)), round(math.sqrt(pixels * aspect))
        if 1 <= tall <= height and 1 <= wide <= width:
            return [tall, wide, int(u[first + 2] * (height - tall + 1)), int(u[first + 3] * (width - wide + 1))]
    if width / height < low:
        tall, wide = max(1, round(width / low)), width
    elif width / height > high:
        tall, wide = height, max(1, round(height * high))
    else:
        tall, wide = height, width
    return [tall, wide, (height - tall) // 2, (width - wide) // 2]


@pytest.mark.parametrize(("height", "width"), [(224, 224), (50, 90), (11, 1000), (1000, 11), (3, 2), (1, 1), (1, 40)])
def test_parts_are_those_of_the_published_loop(height: int, width: int) -> None:
    for crop in (RandomResizedCrop(8), RandomResizedCrop(8, scale=(0.9, 1.0), ratio=(0.5, 0.6))):
        u = uniform(keys(1000), 4 * TRIES).tolist()
        expected = torch.tensor([published(row, height, width, crop) for row in u])
        assert crop.draw(keys(1000), height=height, width=width).equal(expected)


def test_parts_have_the_published_distribution() -> None:
    """Where every part fits, area, ratio and place are independent and as asked for."""
    crop = RandomResizedCrop(224, scale=(0.08, 0.7))
    tall, wide, row, column = crop.draw(keys(60_000, key=5), height=3000, width=3000).double().T
    area, ratio = tall * wide / 9e6, (wide / tall).log() / math.log(4 / 3)
    assert stats.kstest(area.numpy(), stats.uniform(0.08, 0.62).cdf).pvalue > RARE
    assert stats.kstest(ratio.numpy(), stats.uniform(-1, 2).cdf).pvalue > RARE
    assert stats.kstest((row / (3000 - tall)).numpy(), "uniform").pvalue > RARE
    assert stats.kstest((column / (3000 - wide)).numpy(), "uniform").pvalue > RARE
    for one, other in ((area, ratio), (area, row / (3000 - tall)), (row / (3000 - tall), column / (3000 - wide))):
        assert stats.pearsonr(one.numpy(), other.numpy()).pvalue > RARE


def test_parts_are_cut_and_resampled() -> None:
    images, drawn = photos(20, 3, 40, 30), keys(20)
    for crop in (RandomResizedCrop(24), RandomResizedCrop((10, 31), interpolation="bicubic")):
        boxes = crop.draw(drawn, height=40, width=30)
        made = crop(images, keys=drawn)
        expected = [by_pillow(*p, crop.sides, crop.interpolation) for p in zip(images, boxes.tolist(), strict=True)]
        assert made.equal(torch.stack(expected))
        assert crop(images[5:6], keys=drawn[5:6]).equal(made[5:6])
        assert crop(images[:, :1], keys=drawn).equal(made[:, :1])


def test_they_compose() -> None:
    images = photos(6, 3, 40, 30)
    made = Compose((RandomResizedCrop(16), Flip()))(images, keys=keys(6))
    assert made.shape == (6, 3, 16, 16)
    assert Compose((RandomResizedCrop(16), Flip()))(images, keys=keys(6)).equal(made)


def test_bad_settings_are_refused() -> None:
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: RandomResizedCrop(0), "size: got 0"),
        (lambda: RandomResizedCrop((8, 0)), "size: got \\(8, 0\\)"),
        (lambda: RandomResizedCrop(8, scale=(0.0, 1.0)), "scale: got"),
        (lambda: RandomResizedCrop(8, scale=(0.5, 1.5)), "scale: got"),
        (lambda: RandomResizedCrop(8, ratio=(2.0, 1.0)), "ratio: got"),
    ]
    for make, message in cases:
        with pytest.raises(InputError, match=message):
            make()
    settings: Any = object.__new__(RandomResizedCrop)
    for name, value in {**vars(RandomResizedCrop(8)), "interpolation": "bilinar"}.items():
        object.__setattr__(settings, name, value)
    with pytest.raises(InputError, match="did you mean 'bilinear'"):
        settings.__post_init__()


def test_bad_boxes_and_images_are_refused() -> None:
    images = photos(2, 3, 8, 8)
    for box in ([0, 4, 0, 0], [4, 4, -1, 0], [4, 4, 5, 0], [4, 4, 0, 5]):
        with pytest.raises(InputError, match="empty or leaves its image of 8 x 8"):
            resized_crop(images, torch.tensor([[4, 4, 0, 0], box]), (4, 4))
    with pytest.raises(InputError, match="got 2 channels"):
        RandomResizedCrop(4)(images[:, :2])
