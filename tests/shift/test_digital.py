"""Contrast, elastic transform, pixelate and JPEG against numpy, scipy and Pillow."""

import numpy as np
import pytest
import torch

from elinvar.shift import CORRUPTIONS, LEVELS, SEVERITY, corrupt
from elinvar.shift.frame import Frame
from elinvar.shift.jpeg import jpeg_compression, plan_jpeg_compression

from . import reference
from .backend import BACK_ENDS, draws, levels
from .images import hwc, keys, pictures

SIZES = [(32, 32), (20, 41), (224, 224)]


@pytest.mark.parametrize("severity", LEVELS)
def test_contrast(severity: int) -> None:
    images = pictures(4)
    got = corrupt(images.double() / 255, "contrast", severity)
    for image, result in zip(hwc(images), levels(got), strict=True):
        expected = reference.contrast(image, *SEVERITY["contrast"].level(severity, 32, 32))
        assert np.abs(expected - result).max() < 1e-10
    assert torch.allclose(got.mean((2, 3)), images.double().mean((2, 3)) / 255)


@pytest.mark.parametrize("size", [*SIZES, (72, 90)], ids=str)
@pytest.mark.parametrize("severity", LEVELS)
def test_elastic_transform(severity: int, size: tuple[int, int]) -> None:
    images = pictures(4, 3, *size).double() / 255
    got = levels(corrupt(images, "elastic_transform", severity, keys=keys(4)))
    u = draws(keys(4), "elastic_transform", severity, 6 + 2 * size[0] * size[1])
    for image, own, result in zip(hwc(images), u, got, strict=True):
        expected = reference.elastic_transform(image, own, *SEVERITY["elastic_transform"].level(severity, *size))
        assert np.abs(expected - result).max() < 1e-8


@pytest.mark.parametrize("end", BACK_ENDS)
@pytest.mark.parametrize("size", [(3, 32, 32), (1, 32, 32), (3, 8, 8), (3, 64, 64), (3, 27, 50), (1, 61, 13)], ids=str)
@pytest.mark.parametrize("severity", LEVELS)
def test_pixelate_is_pillow(severity: int, size: tuple[int, int, int], end: str) -> None:
    noise = torch.randint(0, 256, (6, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    got = BACK_ENDS[end](noise, "pixelate", severity, keys(6))
    (scale,) = SEVERITY["pixelate"].level(severity, *size[1:])
    for image, result in zip(hwc(noise), hwc(got), strict=True):
        assert np.array_equal(reference.pixelate(image, scale), result)


@pytest.mark.parametrize("end", BACK_ENDS)
@pytest.mark.parametrize("size", [(3, 32, 32), (1, 32, 32), (3, 19, 50)], ids=str)
@pytest.mark.parametrize("severity", LEVELS)
def test_jpeg_is_pillow(severity: int, size: tuple[int, int, int], end: str) -> None:
    images = pictures(6, *size)
    got = BACK_ENDS[end](images, "jpeg_compression", severity, keys(6))
    (quality,) = SEVERITY["jpeg_compression"].level(severity, *size[1:])
    for image, result in zip(hwc(images), hwc(got), strict=True):
        assert np.array_equal(reference.jpeg_compression(image, quality), result)


@pytest.mark.parametrize("quality", [1, 25, 49, 75, 100])
@pytest.mark.parametrize("size", [(3, 32, 32), (1, 32, 32), (3, 33, 17), (3, 9, 24), (1, 20, 41)], ids=str)
def test_jpeg_is_pillow_at_all_qualities(size: tuple[int, int, int], quality: int) -> None:
    """Noise reaches every rounding and clipping of the transform, smooth pictures its usual range; both back ends."""
    noise = torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(quality), dtype=torch.uint8)
    extremes = (noise[:2] > 127).to(torch.uint8) * 255
    images = torch.cat([noise, extremes, pictures(2, *size)])
    plan = plan_jpeg_compression((quality,), Frame(*size))
    x = images.double()
    out = np.empty_like(x.numpy())
    CORRUPTIONS["jpeg_compression"].compiled()(x.numpy(), *plan, out)
    expected = np.stack([reference.jpeg_compression(image, quality) for image in hwc(images)]).transpose(0, 3, 1, 2)
    assert np.array_equal(out.clip(0, 255), expected)
    assert np.array_equal(jpeg_compression(x, *plan).numpy(), expected)


@pytest.mark.parametrize("name", ["pixelate", "jpeg_compression"])
def test_floats_are_rounded_to_levels_first(name: str) -> None:
    images = pictures(3)
    floats = images.float() / 255
    expected = corrupt(images, name, 3).float() / 255
    assert torch.equal(corrupt(floats, name, 3), expected)
    assert torch.equal(corrupt((floats + 0.4 / 255).clamp(max=1), name, 3), expected)
