"""Perturbations: their definitions against Pillow, torchvision, scipy and slow references, and what all of them owe."""

import math
import sys
from collections.abc import Iterator
from inspect import unwrap

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
from numpy.typing import NDArray
from PIL import Image

from elinvar.check import InputError
from elinvar.rng import fold, streams, uniform
from elinvar.shift import BENCHMARKS, EXTRA_PERTURBATIONS, PERTURBATIONS, perturb, perturbation_frames
from elinvar.shift.corrupt import batched
from elinvar.shift.perturbation import EVERY
from elinvar.shift.spatter import relief
from libraries import load

from . import reference
from .images import hwc, keys, pictures

NOISE = ["gaussian_noise", "shot_noise", "speckle_noise"]
SIDES = [32, 224]
vision = load("torchvision.transforms.functional")
LENGTHS = {"motion_blur": (21, 31, 31, 31), "translate": (16, 31, 41, 41)}


def exact(n: int, side: int) -> torch.Tensor:
    return pictures(n, 3, side, side).double() / 255


def frame_of(images: torch.Tensor, name: str, i: int, **settings: object) -> torch.Tensor:
    for place, frame in enumerate(perturbation_frames(images, name, i + 1, **settings)):  # type: ignore[arg-type]
        if place == i:
            return frame
    raise AssertionError(i)


def frames_of(images: torch.Tensor, name: str, chosen: list[int]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Chosen frames of the first image as grey levels (h, w, c)."""
    for i, frame in enumerate(perturbation_frames(images, name, max(chosen) + 1, keys=keys(len(images)))):
        if i in chosen:
            yield i, hwc(frame)[0]


def draws(name: str, count: int, difficulty: int = 1) -> NDArray[np.float64]:
    return uniform(streams(fold("perturbation", name, difficulty), keys(1)), count)[0].numpy()


def test_the_table() -> None:
    assert list(PERTURBATIONS) == [
        "gaussian_noise", "shot_noise", "motion_blur", "zoom_blur", "snow", "brightness", "translate", "rotate",
        "tilt", "scale",
    ]  # fmt: skip
    assert list(EXTRA_PERTURBATIONS) == ["speckle_noise", "gaussian_blur", "spatter", "shear"]
    assert [name for name, row in EVERY.items() if row.noise] == NOISE
    assert {name for name, row in EVERY.items() if row.clean} == {*NOISE, "zoom_blur"}


@pytest.mark.parametrize("name", EVERY)
def test_shapes_and_lengths(name: str) -> None:
    lengths = LENGTHS.get(name, (31, 31, 31, 31))
    assert perturb(pictures(2), name).shape == (2, lengths[0], 3, 32, 32)
    assert tuple(EVERY[name].length(*size) for size in ((32, 32), (64, 8), (224, 224), (299, 299))) == lengths
    assert tuple(EVERY[name].length(32, 32, constants) for constants in BENCHMARKS) == lengths
    assert perturb(pictures(2, 1, 20, 70), name, frames=3).shape == (2, 3, 1, 20, 70)
    assert perturb(pictures(0), name, frames=2).shape == (0, 2, 3, 32, 32)


@pytest.mark.parametrize("name", EVERY)
def test_frames_come_one_by_one(name: str) -> None:
    images = pictures(3)
    whole = perturb(images, name, key=1)
    made = perturbation_frames(images, name, keys=keys(3))
    assert iter(made) is made
    assert torch.equal(torch.stack(list(made), 1), whole)
    assert torch.equal(perturb(images, name, frames=5, key=1), whole[:, :5])


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", EVERY)
def test_back_ends_agree(name: str, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images, count = exact(2 if side == 32 else 1, side), 31 if side == 32 else 5
    count = min(count, EVERY[name].length(side, side))
    one = perturb(images, name, count, key=1)
    monkeypatch.setattr(sys.modules["elinvar.shift.perturb"], "run", batched)
    assert (one - perturb(images, name, count, key=1)).abs().max() * 255 < 1e-9


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", EVERY)
def test_type_range_and_batch(name: str, dtype: torch.dtype) -> None:
    images = pictures(5) if dtype == torch.uint8 else (pictures(5).double() / 255).to(dtype)
    before, whole = images.clone(), perturb(images, name, 4, key=1)
    assert whole.dtype == dtype
    assert torch.equal(images, before)
    if dtype != torch.uint8:
        assert whole.min() >= 0
        assert whole.max() <= 1
    assert torch.equal(perturb(images[2:4], name, 4, keys=keys(5)[2:4]), whole[2:4])


@pytest.mark.parametrize("name", EVERY)
def test_fresh_draws_without_a_key(name: str) -> None:
    images, drawn = pictures(2), name in (*NOISE, "snow", "spatter")
    torch.manual_seed(4)
    one, two = perturb(images, name, 3), perturb(images, name, 3)
    torch.manual_seed(4)
    assert torch.equal(perturb(images, name, 3), one)
    assert torch.equal(one, two) != drawn


@pytest.mark.parametrize("name", [name for name in EVERY if name not in NOISE])
def test_neighbours_differ_less_than_distant_frames(name: str) -> None:
    frames = perturb(exact(16, 32), name, key=1)
    near = (frames[:, 1:] - frames[:, :-1]).abs().mean()
    assert near < 0.7 * (frames[:, 10:] - frames[:, :-10]).abs().mean()


@pytest.mark.parametrize("name", ["translate", "rotate", "scale"])
def test_the_middle_of_a_movement_is_the_image(name: str) -> None:
    middle = {"translate": (7, 20), "rotate": (15, 15), "scale": (15, 24)}[name]
    for side, i in zip(SIDES, middle, strict=True):
        assert torch.equal(frame_of(pictures(2, 3, side, side), name, i), pictures(2, 3, side, side))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", ["rotate", "scale", "shear"])
def test_affine_maps_are_torchvisions_on_pictures(name: str, side: int) -> None:
    """Equal but where a place falls on the border of a pixel or a value on a whole level, by rounding."""
    images = pictures(1, 3, side, side)
    picture = Image.fromarray(images[0].permute(1, 2, 0).numpy())
    for i in (0, 4, 13, 22, 30):
        angle, scale, shear = 0.0, 1.0, 0.0
        if name == "rotate":
            angle = i - 15
        elif name == "scale":
            scale = (2 * i + 70) / 100 if side == 32 else (2.5 * i + 40) / 100
        else:
            shear = i - 15
        expected = vision.affine(
            picture, angle, [0, 0], scale, [shear, 0.0], interpolation=vision.InterpolationMode.BILINEAR
        )
        differs = frame_of(images, name, i)[0].permute(1, 2, 0).numpy().astype(int) - np.asarray(expected)
        assert (differs != 0).mean() < 2e-3
        assert np.median(np.abs(differs[differs != 0])) <= 1 if differs.any() else True


@pytest.mark.parametrize(("side", "first"), [(32, -7), (224, -20)])
def test_translate(side: int, first: int) -> None:
    images = pictures(2, 3, side, side)
    for i in (0, 3, 15):
        shift = first + i
        expected = torch.zeros_like(images)
        kept = slice(max(shift, 0), side + min(shift, 0)), slice(max(-shift, 0), side + min(-shift, 0))
        expected[..., kept[0]] = images[..., kept[1]]
        assert torch.equal(frame_of(images, "translate", i), expected)


@pytest.mark.parametrize("side", SIDES)
def test_tilt(side: int) -> None:
    """Every pixel through the camera by hand, and scipy in between."""
    images = exact(1, side)
    f, half = math.sqrt(2) * side, side / 2
    v, u = np.mgrid[:side, :side].astype(float)
    for i, got in frames_of(images, "tilt", [0, 9, 15, 30]):
        angle = math.radians((i - 15) * (0.75 if side == 32 else 1.0))
        c, s = math.cos(angle), math.sin(angle)
        # a point (x, y, 1): about the y axis (x, z) -> (c x - s z, s x + c z), about the x axis (y, z) likewise, then
        # f (x, y) / (z + f) + half is the pixel; solved for x and y
        a = np.stack([np.stack([f * c - (u - half) * c * s, (u - half) * -s], -1),
                      np.stack([-f * s * s - (v - half) * c * s, f * c - (v - half) * s], -1)], -2)  # fmt: skip
        b = np.stack([(u - half) * (c * c + f) + f * s, (v - half) * (c * c + f) + f * s * c], -1)
        x, y = np.moveaxis(np.linalg.solve(a, b[..., None])[..., 0], -1, 0)
        image = hwc(images)[0]
        expected = np.stack(
            [
                scipy.ndimage.map_coordinates(image[..., k], (y + half, x + half), order=1, mode="grid-constant")
                for k in range(3)
            ],
            -1,
        )
        assert np.abs(expected - got).max() < 1e-7
        if i == 15:  # a centred reduction by f / (f + 1)
            assert np.abs(x - (u - half) * (f + 1) / f).max() < 1e-9


@pytest.mark.parametrize("side", SIDES)
def test_zoom_blur(side: int) -> None:
    """The mean of Pillow's enlarged copies, in its format of floats."""
    images = exact(1, side)
    total, count = hwc(images)[0], 6
    for i, got in frames_of(images, "zoom_blur", list(range(count))):
        if i:
            factor = 1 + 0.004 * i
            inverse = (1 / factor, 0, side / 2 * (1 - 1 / factor), 0, 1 / factor, side / 2 * (1 - 1 / factor))
            for k in range(3):
                plane = Image.fromarray(hwc(images)[0][..., k].astype(np.float32))
                total[..., k] += np.asarray(
                    plane.transform((side, side), Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR)
                )
        assert np.abs(total / (i + 1) - got).max() < 1e-4


@pytest.mark.parametrize("side", SIDES)
def test_motion_blur(side: int) -> None:
    radius, sigma, first, step = (6, 1.8, -180, 9) if side == 32 else (10, 3, -120, 4)
    images = exact(1, side)
    for i, got in frames_of(images, "motion_blur", [0, 7, 20]):
        assert np.abs(reference.motion(hwc(images)[0], radius, sigma, first + step * i) - got).max() < 1e-9


@pytest.mark.parametrize("side", SIDES)
def test_snow(side: int) -> None:
    """One layer, whose direction turns: the corruption's reference with the same draws and a chosen angle."""
    level = (0.05, 0.3, 2, 0.5, 10, 2, 0.85) if side == 32 else (0.05, 0.3, 3, 0.5, 14, 4, 0.85)
    images, u = exact(1, side), draws("snow", 1 + side * side)
    for i, got in frames_of(images, "snow", [0, 11, 30]):
        u[0] = (4 * i - 150 + 135) / 90
        assert np.abs(reference.snow(hwc(images)[0], u, level).clip(0, 255) - got).max() < 1e-9


@pytest.mark.parametrize("side", SIDES)
def test_brightness(side: int) -> None:
    images = exact(1, side)
    for i, got in frames_of(images, "brightness", [0, 15, 30]):
        added = (i - 15) * (0.015 if side == 32 else 0.02)
        assert np.abs(reference.brightness(hwc(images)[0], added).clip(0) - got).max() < 1e-9
    assert (frame_of(pictures(4), "brightness", 15).int() - pictures(4).int()).abs().max() <= 1


@pytest.mark.parametrize("side", SIDES)
def test_gaussian_blur(side: int) -> None:
    images = exact(1, side)
    for i, got in frames_of(images, "gaussian_blur", [0, 12, 30]):
        sigma, cut = (0.3 + 0.015 * i, 7) if side == 32 else (0.25 + 0.035 * i, 6)
        expected = scipy.ndimage.gaussian_filter(hwc(images)[0], (sigma, sigma, 0), mode="nearest", truncate=cut)
        assert np.abs(expected - got).max() < 1e-9


@pytest.mark.parametrize("side", SIDES)
def test_spatter(side: int) -> None:
    """Columns run down by numpy's convolution of the same size, again for each frame."""
    mean, std, sigma, cut = (0.6, 0.265, 1.75, 0.7) if side == 32 else (0.65, 0.27, 3.7, 0.69)
    fall = [0.2, 0.8] if side == 32 else [0.05, 0.1, 0.15, 0.7]
    images = exact(1, side)
    layer = reference.normals(draws("spatter", side * side)).reshape(side, side) * std + mean
    layer = scipy.ndimage.gaussian_filter(layer, sigma, mode="nearest")
    layer[layer < cut] = 0
    for _, got in frames_of(images, "spatter", list(range(6))):
        drops = np.floor(layer.clip(0, 1) * 255).astype(int)
        lit = (relief(torch.from_numpy(drops)[None])[0].numpy() * drops).astype(float)
        expected = hwc(images)[0] + (lit / max(lit.max(), 1) * 0.6)[..., None] * [175, 238, 238]
        assert np.abs(expected.clip(0, 255) - got).max() < 1e-8
        layer = np.apply_along_axis(lambda column: np.convolve(column, fall, mode="same"), 0, layer)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("difficulty", [1, 2, 3])
@pytest.mark.parametrize("name", NOISE)
def test_noise_is_fresh_in_each_frame(name: str, difficulty: int, side: int) -> None:
    """Frame 0 is clean; variances on mid-grey within four standard errors, frames uncorrelated: level .001."""
    grey = torch.full((64 if side == 32 else 2, 3, side, side), 0.4, dtype=torch.float64)
    frames = perturb(grey, name, 4, key=3, difficulty=difficulty)
    assert torch.equal(frames[:, 0], grey)
    noise = frames[:, 1:] - 0.4
    place = difficulty - 1
    variance = {
        ("gaussian_noise", 32): (0.02, 0.04, 0.06), ("gaussian_noise", 224): (0.03, 0.05, 0.08),
        ("shot_noise", 32): tuple(math.sqrt(0.4 / c) for c in (700, 400, 200)),
        ("shot_noise", 224): tuple(math.sqrt(0.4 / c) for c in (300, 120, 60)),
        ("speckle_noise", 32): (0.02, 0.028, 0.04), ("speckle_noise", 224): (0.02, 0.04, 0.06),
    }[name, side][place] ** 2  # fmt: skip
    assert noise.square().mean().item() == pytest.approx(variance, rel=4 * math.sqrt(2.1 / noise.numel()))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        correlation = (noise[:, one] * noise[:, other]).mean() / variance
        assert abs(correlation) * math.sqrt(grey.numel()) < scipy.stats.norm.isf(0.0005)


def test_geometry_moves_the_whole_image_before_the_cut() -> None:
    images = pictures(2, 3, 256, 256)
    frames = perturb(images, "translate", crop=224)
    assert frames.shape == (2, 41, 3, 224, 224)
    for i in (4, 20, 36):  # up to 16 pixels real ones move in
        assert torch.equal(frames[:, i], images[:, :, 16:240, 36 - i : 260 - i])
    assert (frames[:, 0, :, :, -4:] == 0).all()
    turned = frame_of(images, "rotate", 3)
    assert torch.equal(frame_of(images, "rotate", 3, crop=224), turned[:, :, 16:240, 16:240])
    assert torch.equal(
        frame_of(images, "zoom_blur", 3, crop=224), frame_of(images, "zoom_blur", 3)[:, :, 16:240, 16:240]
    )


@pytest.mark.parametrize("name", ["snow", "motion_blur", "brightness", "gaussian_noise"])
def test_all_else_acts_on_the_cut(name: str) -> None:
    images = pictures(2, 3, 96, 80)
    assert torch.equal(
        perturb(images, name, 3, key=1, crop=70), perturb(images[:, :, 13:83, 5:75].contiguous(), name, 3, key=1)
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "rotat"}, "unknown perturbation 'rotat': did you mean 'rotate'"),
        ({"frames": 0}, "frames: got 0, expected 1 to 31 of rotate at 32x32"),
        ({"frames": 32}, "frames: got 32, expected 1 to 31"),
        ({"frames": True}, "frames: got True"),
        ({"frames": 2.0}, "frames: got 2.0"),
        ({"name": "translate", "frames": 17}, "expected 1 to 16 of translate"),
        ({"difficulty": 2}, "difficulty: got 2, expected 1 for rotate"),
        ({"name": "shot_noise", "difficulty": 4}, "difficulty: got 4, expected 1, 2 or 3"),
        ({"crop": 33}, "crop: got 33, expected at most the 32 pixels"),
        ({"crop": "8"}, "crop: got '8'"),
        ({"crop": 7}, "got 7x7 pixels, expected sides of at least 8"),
        ({"key": 1, "keys": keys(1)}, "got both key= and keys="),
        ({"key": 0.5}, "key: got float, expected an integer"),
        ({"images": pictures(1, 2)}, "got 2 channels"),
        ({"images": torch.full((1, 3, 32, 32), 2.0)}, "expected finite values in"),
    ],
    ids=str,
)
def test_bad_input(settings: dict[str, object], message: str) -> None:
    call = {"images": pictures(1), "name": "rotate", **settings}
    with pytest.raises(InputError, match=message):
        unwrap(perturbation_frames)(call.pop("images"), call.pop("name"), **call)  # at once, before any frame
