"""Blurs against scipy and plain loops, pixel by pixel."""

import numpy as np
import pytest
import scipy.ndimage
import torch

from elinvar.shift import LEVELS, SEVERITY, corrupt
from elinvar.shift.blur import _sources, disk, motion_taps
from elinvar.shift.zoom import zoom_axis, zoom_stencil

from . import reference
from .backend import draws, levels
from .images import hwc, keys, pictures

SIZES = [(32, 32), (20, 41), (224, 224)]


def exact(n: int, size: tuple[int, int]) -> torch.Tensor:
    return pictures(n, 3, *size).double() / 255


@pytest.mark.parametrize(
    ("severity", "centre", "edge", "corner"),
    [(1, 0.84497, 0.03713, 0.00163), (2, 0.61935, 0.08382, 0.01134), (3, 0.44521, 0.11101, 0.02768),
     (4, 0.2, 0.2, 0.0), (5, 1 / 9, 1 / 9, 1 / 9)],
)  # fmt: skip
def test_defocus_kernels(severity: int, centre: float, edge: float, corner: float) -> None:
    kernel = disk(*SEVERITY["defocus_blur"].level(severity, 32, 32))
    assert kernel[8, 8] == pytest.approx(centre, abs=1e-5)
    assert [kernel[7, 8], kernel[9, 8], kernel[8, 7], kernel[8, 9]] == pytest.approx([edge] * 4, abs=1e-5)
    assert [kernel[7, 7], kernel[7, 9], kernel[9, 7], kernel[9, 9]] == pytest.approx([corner] * 4, abs=1e-5)
    assert kernel.sum(dtype=float) == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize(
    ("radius", "alias", "pixels", "total"),
    [(3, 0.1, 29, 1.0), (4, 0.5, 49, 1.0), (6, 0.5, 113, 1.0), (8, 0.5, 197, 1.0130), (10, 0.5, 317, 1.0108)],
)
def test_large_disks(radius: float, alias: float, pixels: int, total: float) -> None:
    """Sizes of 224-pixel images: pixels of the disk before smoothing, and the sum of the kernel after."""
    axis = np.arange(-12, 13)
    assert (axis[:, None] ** 2 + axis**2 <= radius**2).sum() == pixels
    assert disk(radius, alias).sum() == pytest.approx(total, abs=5e-5)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("severity", LEVELS)
def test_defocus_blur(severity: int, size: tuple[int, int]) -> None:
    images = exact(3, size)
    kernel = disk(*SEVERITY["defocus_blur"].level(severity, *size)).astype(float)[..., None]
    got = levels(corrupt(images, "defocus_blur", severity))
    for image, result in zip(hwc(images), got, strict=True):
        expected = scipy.ndimage.correlate(image, kernel, mode="mirror").clip(0, 255)  # large kernels brighten
        assert np.abs(expected - result).max() < 1e-8


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("severity", LEVELS)
def test_glass_blur(severity: int, size: tuple[int, int]) -> None:
    sigma, reach, rounds = SEVERITY["glass_blur"].level(severity, *size)
    images = pictures(3, 3, *size)
    got = levels(corrupt(images.double() / 255, "glass_blur", severity, keys=keys(3)))
    u = draws(keys(3), "glass_blur", severity, 2 * int(rounds) * size[0] * size[1])
    for image, own, result in zip(hwc(images), u, got, strict=True):
        assert np.abs(reference.glass_blur(image, own, sigma, int(reach), int(rounds)) - result).max() < 1e-9


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_glass_moves_pixels_as_the_scan_does(reach: int) -> None:
    generator = torch.Generator().manual_seed(reach)
    offset = torch.randint(-reach, reach, (3, 2, 18, 23), generator=generator)
    images = pictures(3, 3, 18, 23)
    source = _sources(offset, reach)
    for image, own, places in zip(hwc(images), offset.numpy(), source, strict=True):
        moved = image.reshape(-1, 3)[places.numpy().ravel()].reshape(image.shape)
        assert np.array_equal(moved, reference.shuffled(image, own, reach))
        assert np.array_equal(moved[: reach + 1], image[: reach + 1])
        assert np.array_equal(moved[:, : reach + 1], image[:, : reach + 1])


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("severity", LEVELS)
def test_motion_blur(severity: int, size: tuple[int, int]) -> None:
    radius, sigma = SEVERITY["motion_blur"].level(severity, *size)
    images = exact(2, size)
    got = levels(corrupt(images, "motion_blur", severity, keys=keys(2)))
    u = draws(keys(2), "motion_blur", severity, 1)
    for image, own, result in zip(hwc(images), u, got, strict=True):
        assert np.abs(reference.motion(image, radius, sigma, own[0] * 90 - 45) - result).max() < 1e-9


@pytest.mark.parametrize("severity", LEVELS)
def test_motion_taps(severity: int) -> None:
    radius, sigma = SEVERITY["motion_blur"].level(severity, 32, 32)
    taps = motion_taps(radius, sigma)
    assert len(taps) == 2 * radius + 1
    assert taps.sum() == pytest.approx(1)
    assert (np.diff(taps) < 0).all()


@pytest.mark.parametrize("size", [*SIZES, (64, 64), (8, 8), (33, 25)], ids=str)
@pytest.mark.parametrize("severity", LEVELS)
def test_zoom_blur(severity: int, size: tuple[int, int]) -> None:
    images = exact(2, size)
    got = levels(corrupt(images, "zoom_blur", severity))
    factors = SEVERITY["zoom_blur"].level(severity, *size)
    for image, result in zip(hwc(images), got, strict=True):
        assert np.abs(reference.zoom_blur(image, factors) - result).max() < 1e-8


def test_zoom_factors_that_coincide() -> None:
    """At 32 pixels 1.00 and 1.01 change nothing, and 1.02 is 1.03."""
    for factor in (1.0, 1.01):
        low, along = zoom_axis(32, factor)
        assert np.abs(low + along - np.arange(32)).max() < 1e-12
    for one, other in zip(zoom_axis(32, 1.02), zoom_axis(32, 1.03), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("size", [(32, 32), (224, 224), (13, 50)], ids=str)
def test_zoom_weights_sum_to_one(size: tuple[int, int]) -> None:
    index, weight = zoom_stencil((1.0, 1.05, 1.3), *size)
    assert np.abs(weight.sum(1) - 1).max() < 1e-12
    assert index.min() >= 0
    assert index.max() < size[0] * size[1]


@pytest.mark.parametrize("side", [32, 224])
@pytest.mark.parametrize(
    "name", ["defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "pixelate", "contrast", "gaussian_blur"]
)
def test_a_constant_image_stays(name: str, side: int) -> None:
    """Within rounding as floats (defocus: of float32); as bytes the truncation of 99.999... may take one level."""
    images = torch.tensor([0, 1, 100, 255], dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, side, side).contiguous()
    for severity in LEVELS:
        gain = 1.0
        if name == "defocus_blur" and side == 224:  # the kernels of the largest disks sum to more than 1
            gain = {4: 1.0130, 5: 1.0108}.get(severity, 1.0)
        expected = (images.double() * gain).clamp(max=255)
        inside = int(name == "glass_blur")  # glass truncates once more, inside
        within = inside + (0.01 if gain != 1 else 1e-5 if name == "defocus_blur" else 1e-9)
        result = corrupt(images.double() / 255, name, severity, keys=keys(4)) * 255
        assert (result - expected).abs().max() < within
        assert (expected - corrupt(images, name, severity, keys=keys(4)).double()).abs().max() <= 1 + within
