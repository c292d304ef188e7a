"""The four corruptions outside of the mean: against scipy, colorsys, OpenCV's own results, and by law."""

import colorsys
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch

from elinvar.shift import EXTRA, LEVELS, SEVERITY, corrupt
from elinvar.shift.kernels import spatter as kernels
from elinvar.shift.spatter import relief

from . import reference
from .backend import draws, levels
from .images import hwc, keys, pictures

SIZES = [(32, 32), (20, 41), (224, 224)]
COLOURS = {0: (175, 238, 238), 1: (63, 42, 20)}
OPENCV = np.load(Path(__file__).with_name("opencv_relief.npz"))  # made with version 4.10, Intel's library switched off


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("severity", LEVELS)
def test_gaussian_blur(severity: int, size: tuple[int, int]) -> None:
    (sigma,) = SEVERITY["gaussian_blur"].level(severity, *size)
    images = pictures(2, 3, *size).double() / 255
    for image, result in zip(hwc(images), levels(corrupt(images, "gaussian_blur", severity)), strict=True):
        assert np.abs(reference.gaussian(image, sigma) - result).max() < 1e-9


@pytest.mark.parametrize("side", [32, 224])
@pytest.mark.parametrize("severity", LEVELS)
def test_saturate(severity: int, side: int) -> None:
    scale, shift = SEVERITY["saturate"].level(severity, side, side)
    images = pictures(1, 3, side, side)
    images[0, :, :3], images[0, :, 3] = 77, torch.tensor([[0], [0], [0]])  # greys and black
    images[0, :, 4], images[0, :, 5] = torch.tensor([[9], [200], [9]]), torch.tensor([[255], [0], [0]])

    def saturated(pixel: np.ndarray) -> tuple[float, float, float]:
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
        return colorsys.hsv_to_rgb(hue, min(max(saturation * scale + shift, 0), 1), value)

    expected = np.apply_along_axis(saturated, 2, hwc(images)[0]) * 255
    got = levels(corrupt(images.double() / 255, "saturate", severity))[0]
    assert np.abs(expected - got).max() < 1e-9


def test_full_saturation_changes_nothing() -> None:
    images = pictures(4).double()
    assert (EXTRA["saturate"].batched(images, 1.0, 0.0) - images).abs().max() < 1e-10


@pytest.mark.parametrize("side", [32, 224])
@pytest.mark.parametrize("severity", LEVELS)
def test_speckle_noise_law(severity: int, side: int) -> None:
    """Kolmogorov-Smirnov and variance of (result / x - 1) / sigma, away from the limits: level .001 each."""
    (sigma,) = SEVERITY["speckle_noise"].level(severity, side, side)
    grey = torch.full((200 if side == 32 else 4, 3, side, side), 0.1, dtype=torch.float64)
    z = ((corrupt(grey, "speckle_noise", severity, key=5) / grey - 1) / sigma).numpy().ravel()
    low = -1 / sigma  # darker than black is stored as black
    assert abs((z <= low + 1e-9).mean() - scipy.stats.norm.cdf(low)) < 4 * math.sqrt(scipy.stats.norm.cdf(low) / z.size)
    inside = z[(z > low + 1e-9) & (z < -low)]
    assert scipy.stats.kstest(inside, scipy.stats.truncnorm(low, -low).cdf).pvalue > 0.001


@pytest.mark.parametrize("number", range(6))
def test_relief_is_opencv(number: int) -> None:
    """Edges, distances, equalization, emboss and box filter in a row, level by level; both back ends."""
    drops, expected = OPENCV[f"drops{number}"].astype(np.int64), OPENCV[f"relief{number}"]
    out = np.empty_like(drops)
    kernels.relief(drops, out)
    assert np.array_equal(out, expected)
    assert np.array_equal(relief(torch.from_numpy(drops)[None])[0].numpy(), expected)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("severity", LEVELS)
def test_spatter(severity: int, size: tuple[int, int]) -> None:
    mean, std, sigma, cut, strength, mud = SEVERITY["spatter"].level(severity, *size)
    height, width = size
    images = pictures(3, 3, *size).double() / 255
    got = levels(corrupt(images, "spatter", severity, keys=keys(3)))
    u = draws(keys(3), "spatter", severity, 2 * ((height * width + 1) // 2))
    colour = np.array(COLOURS[int(mud)])
    touched = 0
    for image, own, result in zip(hwc(images), u, got, strict=True):
        layer = reference.normals(own)[: height * width].reshape(height, width) * std + mean
        layer = scipy.ndimage.gaussian_filter(layer, sigma, mode="nearest")
        layer[layer < cut] = 0
        if mud:
            m = scipy.ndimage.gaussian_filter((layer > cut).astype(float), strength, mode="nearest")
            m[m < 0.8] = 0
            expected = image * (1 - m[..., None]) + m[..., None] * colour
        else:
            drops = np.floor(np.clip(layer, 0, 1) * 255).astype(int)
            lit = relief(torch.from_numpy(drops)[None])[0].numpy() * drops
            expected = image + (lit * strength / max(lit.max(), 1))[..., None] * colour
        assert np.abs(expected.clip(0, 255) - result).max() < 1e-8
        touched += int((np.abs(result - image) > 1).sum())
    assert touched > 0


def test_no_drop_no_change() -> None:
    dry = torch.zeros(2, 20, 30, dtype=torch.int64)
    assert (relief(dry) * dry == 0).all()
    image, out = pictures(1, 3, 20, 30).double(), np.empty((1, 3, 20, 30))
    kernels.wet(image[0].numpy(), np.zeros((20, 30)), 0.5, np.array([175.0, 238.0, 238.0]), False, out[0])
    assert np.array_equal(out, image.numpy())


def test_grey_spatter_is_the_grey_of_the_colour() -> None:
    """On black, colours show alone: weighed to grey they are what a grey image gets."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(1, 3, 1, 1)
    for severity in (2, 5):
        colour = corrupt(torch.zeros(6, 3, 32, 32, dtype=torch.float64), "spatter", severity, key=2)
        grey = corrupt(torch.zeros(6, 1, 32, 32, dtype=torch.float64), "spatter", severity, key=2)
        assert torch.allclose((colour * weights).sum(1, keepdim=True), grey, atol=1e-12)
