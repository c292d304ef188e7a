"""Snow, frost, fog and brightness against slow references with the same draws, and fog by its statistics."""

import numpy as np
import pytest
import torch

from elinvar.rng import streams
from elinvar.shift import LEVELS, SEVERITY, corrupt, frost_textures
from elinvar.shift.frame import Frame
from elinvar.shift.weather import brightness, plasma, plasma_side

from . import reference
from .backend import draws, levels
from .images import hwc, keys, pictures

SIZES = [(32, 32), (20, 41), (224, 224)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("severity", LEVELS)
def test_snow(severity: int, size: tuple[int, int]) -> None:
    images = pictures(2, 3, *size).double() / 255
    got = levels(corrupt(images, "snow", severity, keys=keys(2)))
    u = draws(keys(2), "snow", severity, 1 + 2 * ((size[0] * size[1] + 1) // 2))
    for image, own, result in zip(hwc(images), u, got, strict=True):
        expected = reference.snow(image, own, SEVERITY["snow"].level(severity, *size))
        assert np.abs(expected.clip(0, 255) - result).max() < 1e-9


@pytest.mark.parametrize("severity", LEVELS)
def test_frost_is_a_crop_of_a_picture(severity: int) -> None:
    image_weight, texture_weight = SEVERITY["frost"].level(severity, 32, 32)
    images = pictures(40)
    got = levels(corrupt(images.double() / 255, "frost", severity, keys=keys(40)))
    textures = frost_textures().shrunk(0.2, 32)
    chosen = set()
    u = draws(keys(40), "frost", severity, 3)
    for image, (which, down, right), result in zip(hwc(images), u, got, strict=True):
        texture = textures[int(which * 5)]
        top, left = int(down * (texture.shape[0] - 32)), int(right * (texture.shape[1] - 32))
        expected = image_weight * image + texture_weight * texture[top : top + 32, left : left + 32]
        assert np.abs(expected.clip(0, 255) - result).max() < 1e-9
        chosen.add(int(which * 5))
    assert chosen == {0, 1, 2, 3, 4}


def test_grey_frost_is_the_grey_of_the_picture() -> None:
    """A black image shows the picture alone: its grey, once as three channels weighed, once as one channel."""
    colour = corrupt(torch.zeros(9, 3, 32, 32, dtype=torch.float64), "frost", 3, keys=keys(9))
    grey = corrupt(torch.zeros(9, 1, 32, 32, dtype=torch.float64), "frost", 3, keys=keys(9))
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(1, 3, 1, 1)
    assert torch.allclose((colour * weights).sum(1, keepdim=True), grey, atol=1e-12)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("severity", LEVELS)
def test_fog(severity: int, size: tuple[int, int]) -> None:
    images = pictures(2, 3, *size).double() / 255
    got = levels(corrupt(images, "fog", severity, keys=keys(2)))
    u = draws(keys(2), "fog", severity, plasma_side(Frame(3, *size)) ** 2 - 1)
    for image, own, result in zip(hwc(images), u, got, strict=True):
        expected = reference.fog(image, own, *SEVERITY["fog"].level(severity, *size))
        assert np.abs(expected - result).max() < 1e-9


@pytest.mark.parametrize(
    ("side", "decay", "deviation", "tolerance"),
    [(32, 3, 0.144, 0.004), (32, 2.5, 0.152, 0.004), (32, 2, 0.160, 0.004), (32, 1.75, 0.169, 0.004),
     (256, 2, 0.160, 0.03), (256, 1.4, 0.187, 0.03)],
)  # fmt: skip
def test_plasma(side: int, decay: float, deviation: float, tolerance: float) -> None:
    """Range, mean, spread, and no seam: steps across the border are no larger than steps inside."""
    maps = plasma(streams(4, torch.arange(400 if side == 32 else 6)), side, decay)
    assert (maps.amin((1, 2)) == 0).all()
    assert (maps.amax((1, 2)) == 1).all()
    assert maps.mean().item() == pytest.approx(0.5, abs=0.05)
    assert maps.std((1, 2)).mean().item() == pytest.approx(deviation, abs=tolerance)
    inside = (maps[:, 1:] - maps[:, :-1]).abs().mean()
    seam = (maps[:, 0] - maps[:, -1]).abs().mean()
    assert seam < inside


def test_fog_takes_its_peak_from_each_image() -> None:
    dark, bright = torch.full((1, 3, 32, 32), 0.2), torch.ones(1, 3, 32, 32)
    together = corrupt(torch.cat([dark, bright]), "fog", 3, keys=keys(2))
    assert torch.equal(together[:1], corrupt(dark, "fog", 3, keys=keys(1)))


@pytest.mark.parametrize("severity", LEVELS)
def test_brightness(severity: int) -> None:
    images = torch.cat([pictures(4), torch.zeros(1, 3, 32, 32, dtype=torch.uint8), pictures(1).expand(-1, 3, -1, -1)])
    got = levels(corrupt(images.double() / 255, "brightness", severity))
    for image, result in zip(hwc(images), got, strict=True):
        expected = reference.brightness(image, *SEVERITY["brightness"].level(severity, 32, 32))
        assert np.abs(expected - result).max() < 1e-10


def test_no_added_brightness_changes_nothing() -> None:
    """The way to hue, saturation and value and back loses nothing: as bytes at most one level to truncation."""
    images = pictures(4).double()
    assert (brightness(images, 0.0) - images).abs().max() < 1e-10


def test_brightness_of_every_grey_is_truncated_as_in_the_benchmark() -> None:
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 8, 32).expand(1, 3, 8, 32).contiguous()
    for severity in LEVELS:
        (added,) = SEVERITY["brightness"].level(severity, 8, 32)
        expected = np.uint8(np.clip(np.arange(256) / 255.0 + added, 0, 1) * 255)
        assert np.array_equal(corrupt(ramp, "brightness", severity)[0, 0].numpy().ravel(), expected)
