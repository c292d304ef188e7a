"""Images to augment, and what Pillow makes of them."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_digits, load_sample_images
from torch import Tensor

from elinvar.augment import OPS, Program
from elinvar.rng import streams

Picture = Image.Image


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Torch's threads cost more than they gain on what is tested here; tests that want more say so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _affine(image: Picture, *matrix: float) -> Picture:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


# What each operation is, in Pillow, as the reference code of AugMix calls it.
PILLOW: Mapping[str, Callable[[Picture, float], Picture]] = {
    "identity": lambda image, _: image,
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "posterize": lambda image, bits: ImageOps.posterize(image, int(bits)),
    "rotate": lambda image, degrees: image.rotate(degrees, Image.Resampling.BILINEAR),
    "solarize": lambda image, threshold: ImageOps.solarize(image, threshold),  # type: ignore[arg-type]
    "shear_x": lambda image, slope: _affine(image, 1, slope, 0, 0, 1, 0),
    "shear_y": lambda image, slope: _affine(image, 1, 0, 0, slope, 1, 0),
    "translate_x": lambda image, pixels: _affine(image, 1, 0, pixels, 0, 1, 0),
    "translate_y": lambda image, pixels: _affine(image, 1, 0, 0, 0, 1, pixels),
    "color": lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    "contrast": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "brightness": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "sharpness": lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
    "invert": lambda image, _: ImageOps.invert(image),
    "flip": lambda image, _: ImageOps.mirror(image),
    "solarize_add": lambda image, addition: image.point(
        [min(max(v + int(addition), 0), 255) if v < 128 else v for v in range(256)] * len(image.getbands())
    ),
    "flip_vertical": lambda image, _: ImageOps.flip(image),
}


def pillow(name: str, images: Tensor, parameters: Tensor) -> Tensor:
    """Each image through Pillow's version of the operation, with its own parameter."""
    made = []
    for image, parameter in zip(images, parameters.tolist(), strict=True):
        picture = Image.fromarray(image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy())
        array = np.array(PILLOW[name](picture, parameter))
        made.append(torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1))
    return torch.stack(made)


@cache
def _photos() -> list[Tensor]:
    return [torch.from_numpy(photo.copy()).permute(2, 0, 1) for photo in load_sample_images().images]


def photos(count: int, channels: int, height: int, width: int) -> Tensor:
    """Cuts from two photographs at various scales."""
    generator = np.random.default_rng(height * width + channels)
    cuts = []
    for place in range(count):
        photo = _photos()[place % 2]
        scale = 1 + place // 2 % max(1, min(photo.shape[1] // height, photo.shape[2] // width))
        top = generator.integers(0, photo.shape[1] - scale * height + 1)
        left = generator.integers(0, photo.shape[2] - scale * width + 1)
        cuts.append(photo[:channels, top : top + scale * height : scale, left : left + scale * width : scale])
    return torch.stack(cuts).contiguous()


def digits(count: int, channels: int, height: int, width: int) -> Tensor:
    """Handwritten digits, enlarged: flat grounds, few values."""
    small = torch.from_numpy(load_digits().images[:count]).mul(255 / 16).float()[:, None]
    large = torch.nn.functional.interpolate(small, (height, width), mode="bilinear")
    return large.round().to(torch.uint8).expand(-1, channels, -1, -1).contiguous()


def noise(count: int, channels: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height * width + channels)
    return torch.randint(0, 256, (count, channels, height, width), generator=generator).to(torch.uint8)


def same(name: str, images: Tensor, parameters: Tensor) -> Program:
    """Pure programs of one operation, with a parameter, or a row of them, for each image."""
    ops = torch.full((len(images), 1, 1), OPS[name].code, dtype=torch.int32)
    args = parameters if parameters.ndim == 2 else parameters.unsqueeze(1)
    return Program(ops, args.to(torch.float32)[:, None, None])


def keys(count: int, key: int = 0) -> Tensor:
    return streams(key, torch.arange(count))
