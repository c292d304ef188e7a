"""Images of other sizes than 32 and 224, and what the published files have by accident.

A number told of a benchmark must come of its constants and its pixels. Besides the size of 64 pixels and the accidents
that are named in `perturb`, each with its right value, this holds: sizes between and beyond the published ones, images
that are not square, sets by name in any spelling, the pictures of frost and the map of fog that belong to a set and
not to a size, lengths of sequences, the other accidents of spatter (wrapping drops, the corruption itself), images of
floating point and of one channel, cut frames, and both back ends on all of it.
"""

import math
import sys
from inspect import unwrap

import numpy as np
import pytest
import scipy.stats
import torch
from numpy.typing import NDArray
from PIL import Image

from elinvar.check import InputError
from elinvar.shift import BENCHMARKS, FLAVOURS, SEVERITY, corrupt, frost_textures, perturb, perturbation_frames
from elinvar.shift.benchmark import benchmark
from elinvar.shift.blur import motion_steps
from elinvar.shift.corrupt import batched
from elinvar.shift.frame import Frame
from elinvar.shift.kernels import spatter as kernels
from elinvar.shift.perturbation import EVERY
from elinvar.shift.spatter import wet
from elinvar.shift.table import KNOWN
from elinvar.shift.weather import plasma_side

from .backend import by_kernels, by_tensors, draws
from .images import keys, pictures

DETERMINISTIC = [name for name, row in KNOWN.items() if not row.stochastic]


@pytest.mark.parametrize(
    ("size", "name"),
    [
        ((8, 8), "cifar-10"), ((32, 32), "cifar-10"), ((45, 45), "cifar-10"), ((46, 46), "tiny-imagenet"),
        ((64, 20), "tiny-imagenet"), ((96, 96), "tiny-imagenet"), ((119, 119), "tiny-imagenet"),
        ((20, 120), "imagenet"), ((224, 224), "imagenet"), ((258, 258), "imagenet"), ((259, 259), "imagenet-299"),
        ((299, 299), "imagenet-299"), ((900, 700), "imagenet-299"),
    ],
    ids=str,
)  # fmt: skip
def test_size_chooses_where_nobody_does(size: tuple[int, int], name: str) -> None:
    assert benchmark(None, *size).name == name
    for row in SEVERITY.values():
        assert row.level(4, *size) == row.sets[name].levels[3]


@pytest.mark.parametrize("spelling", ["tiny-imagenet", "tiny-imagenet-c", "Tiny-ImageNet-P", "TINY-IMAGENET-C"])
def test_a_name_chooses_at_any_size(spelling: str) -> None:
    images = pictures(2)
    expected = corrupt(images, "contrast", 1, constants="tiny-imagenet")
    assert not torch.equal(expected, corrupt(images, "contrast", 1))
    assert torch.equal(corrupt(images, "contrast", 1, constants=spelling), expected)
    assert perturb(images, "translate", constants=spelling).shape[1] == 31


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"constants": "tiny-imagnet"}, "unknown set of constants 'tiny-imagnet': did you mean 'tiny-imagenet'"),
        ({"constants": 64}, "constants: got 64, expected one of cifar-10, tiny-imagenet"),
        ({"flavour": "publised"}, "unknown flavour 'publised': did you mean 'published'"),
        ({"flavour": None}, "unknown flavour 'None'"),
    ],
    ids=str,
)
def test_bad_names(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        unwrap(corrupt)(pictures(1), "fog", 1, **settings)
    with pytest.raises(InputError, match=message):
        unwrap(perturbation_frames)(pictures(1), "rotate", **settings)


def test_frost_and_fog_belong_to_the_set() -> None:
    assert [plasma_side(Frame(3, side, side)) for side in (32, 64, 224, 299)] == [32, 64, 256, 512]
    assert [row.frost for row in BENCHMARKS.values()] == [0.2, 0.3, 1.0, 1.0]
    assert plasma_side(Frame(3, 32, 32, None, "imagenet")) == 256
    assert plasma_side(Frame(3, 96, 96, None, "cifar-10")) == 128
    images = torch.zeros(2, 3, 64, 64, dtype=torch.float64)
    weight = SEVERITY["frost"].level(3, 64, 64)[1]
    got = corrupt(images, "frost", 3, keys=keys(2)) * 255
    textures = frost_textures().shrunk(0.3, 64)
    for result, (which, down, right) in zip(got, draws(keys(2), "frost", 3, 3), strict=True):
        texture = textures[int(which * 5)]
        top, left = int(down * (texture.shape[0] - 64)), int(right * (texture.shape[1] - 64))
        expected = weight * texture[top : top + 64, left : left + 64].transpose(2, 0, 1)
        assert np.abs(result.numpy() - expected).max() < 1e-9


@pytest.mark.parametrize("name", KNOWN)
def test_back_ends_agree_on_every_set(name: str) -> None:
    for side, constants in ((64, None), (48, "imagenet-299"), (70, "cifar-10")):
        images = pictures(2, 3, side, side).double() / 255
        for severity in (2, 5):
            one = by_kernels(images, name, severity, keys(2), constants, "published")
            other = by_tensors(images, name, severity, keys(2), constants, "published")
            assert (one - other).abs().max() * 255 <= KNOWN[name].tolerance


@pytest.mark.parametrize("name", EVERY)
def test_back_ends_agree_on_published_frames(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(2, 3, 64, 64).double() / 255
    one = perturb(images, name, 12, key=1, flavour="published")
    monkeypatch.setattr(sys.modules["elinvar.shift.perturb"], "run", batched)
    assert (one - perturb(images, name, 12, key=1, flavour="published")).abs().max() * 255 < 1e-9


def test_64_pixels_change_as_much_as_the_generator_makes_them() -> None:
    """By the constants of 32 pixels a 64-pixel image changed less, for some corruptions a tenth."""
    images = pictures(6, 3, 64, 64)
    for name in ("contrast", "brightness", "defocus_blur", "gaussian_noise", "jpeg_compression"):
        own, small = (
            (corrupt(images, name, 5, key=0, constants=constants).double() - images).square().mean()
            for constants in (None, "cifar-10")
        )
        assert own > 1.2 * small


def of_2018(image: Image.Image, turn: float, scale: float, shear: float) -> NDArray[np.int64]:
    """Pillow's bilinear transform with the matrix of torchvision before 0.8, written as one product."""
    a, s = math.radians(turn), math.radians(shear)
    linear = np.array([[math.cos(a + s), math.sin(a + s)], [-math.sin(a), math.cos(a)]]) / math.cos(s) / scale
    centre = np.array(image.size) / 2 + 0.5
    (xx, xy), (yx, yy) = linear
    x, y = centre - linear @ centre
    return np.asarray(
        image.transform(image.size, Image.Transform.AFFINE, (xx, xy, x, yx, yy, y), Image.Resampling.BILINEAR)
    ).astype(int)


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("name", ["rotate", "scale", "shear"])
def test_affine_maps_of_2018(name: str, side: int) -> None:
    images = pictures(2, 3, side, side)
    frames = perturb(images, name, flavour="published").permute(0, 1, 3, 4, 2).numpy().astype(int)
    first, growth = (70, 2) if side == 32 else (40, 2.5)
    for image, got in zip(images, frames, strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        for i in (0, 7, 15, 22, 30):
            how = {
                "rotate": (i - 15, 1.0, 0.0), "scale": (0.0, (growth * i + first) / 100, 0.0),
                "shear": (0.0, 1.0, i - 15),
            }[name]  # fmt: skip
            differs = got[i] - of_2018(picture, *how)
            assert np.abs(differs).max() <= 1
            assert (differs != 0).mean() < 5e-3  # values within rounding of a whole level


def test_zoom_blur_of_2018_counts_in_bytes() -> None:
    (image,) = images = pictures(1)
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    total = np.asarray(picture).astype(np.float32) / np.float32(255)
    for i, frame in enumerate(perturbation_frames(images, "zoom_blur", 9, flavour="published")):
        if i:
            total = total + of_2018(picture, 0.0, 1 + 0.004 * i, 0.0).astype(np.float32) / np.float32(255)
        expected = (total / np.float32(i + 1) * np.float32(255)).astype(np.uint8)
        assert np.array_equal(frame[0].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("side", [32, 224])
def test_tilt_rounds(side: int) -> None:
    """To the nearest level in both flavours; published places are whole 32nds of a pixel, so values are 1024ths."""
    images = pictures(1, 3, side, side)
    for flavour in FLAVOURS:
        stored = perturb(images, "tilt", 9, flavour=flavour).double()
        exact = perturb(images.double() / 255, "tilt", 9, flavour=flavour) * 255
        near = (exact - exact.floor() - 0.5).abs() < 1e-9
        assert torch.equal(stored[~near], exact.round()[~near])
        whole = ((exact * 1024 - (exact * 1024).round()).abs() < 1e-6).double().mean()
        assert whole == 1 if flavour == "published" else whole < 0.9


def test_snow_where_a_step_ends_between_two_pixels() -> None:
    """At -150 and -30 degrees the second tap is half a pixel up: ImageMagick takes the lower of both pixels."""
    assert motion_steps(-150.0, 21)[:, :3].T.tolist() == [[0, 0], [0, -1], [-1, -2]]
    assert motion_steps(-30.0, 21)[:, :3].T.tolist() == [[0, 0], [0, 1], [-1, 2]]
    assert motion_steps(-90.0, 21)[:, :3].T.tolist() == [[0, 0], [-1, 0], [-2, 0]]
    assert motion_steps(None, 3).shape == (2, 0)


@pytest.mark.parametrize("channels", [3, 1])
def test_spatter_runs_dry(channels: int) -> None:
    """Of 100 sequences 12 to 14 have no drop left in frame 30, here level .001; both flavours agree on all others."""
    grey = torch.full((100, channels, 32, 32), 128, dtype=torch.uint8)
    clean, black = (perturb(grey, "spatter", key=0, flavour=flavour) for flavour in FLAVOURS)
    dry = (clean == 128).all(dim=(2, 3, 4))
    low, high = scipy.stats.binom.interval(0.999, 100, 0.13)
    assert low <= int(dry[:, 30].sum()) <= high
    assert (black[dry] == 0).all()
    assert torch.equal(black[~dry], clean[~dry])
    exact = perturb(grey[:20].double() / 255, "spatter", key=0, flavour="published")
    assert ((exact == 0).all(dim=(2, 3, 4)) == dry[:20]).all()


def test_drops_above_white_wrap_around() -> None:
    layer = np.zeros((16, 16))
    layer[4:12, 4:12] = 0.9
    layer[6, 6] = 1.02  # 260 levels, of which a byte keeps 4
    wrapped = layer.copy()
    wrapped[6, 6] = 4.5 / 255
    image, colour = np.full((3, 16, 16), 90.0), np.array([175.0, 238.0, 238.0])
    results = []
    for drops, published in ((layer, True), (wrapped, False), (layer, False)):
        out = np.empty_like(image)
        kernels.wet(image, drops, 0.5, colour, published, out)
        tensors = wet(torch.from_numpy(image)[None], torch.from_numpy(drops)[None], 0.5, colour, published)
        assert np.abs(tensors[0].numpy() - out).max() < 1e-9
        results.append(out)
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


@pytest.mark.parametrize("name", EVERY)
def test_flavours_differ_where_they_say_so(name: str) -> None:
    images = pictures(3)
    one, other = (perturb(images, name, 9, key=1, flavour=flavour) for flavour in FLAVOURS)
    assert torch.equal(one, other) != (name in ("rotate", "scale", "shear", "zoom_blur", "tilt"))


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_corruptions_have_one_flavour_but_for_spatter(name: str) -> None:
    one, other = (corrupt(pictures(3), name, 2, key=1, flavour=flavour) for flavour in FLAVOURS)
    assert torch.equal(one, other)


def test_a_cut_takes_the_constants_of_what_is_left() -> None:
    images = pictures(1, 3, 72, 72)
    assert perturb(images, "translate", crop=64).shape == (1, 31, 3, 64, 64)
    assert perturb(images, "translate", crop=32).shape == (1, 16, 3, 32, 32)
    assert perturb(images, "translate", crop=32, constants="imagenet").shape == (1, 41, 3, 32, 32)
    whole = perturb(images, "rotate", 3, flavour="published")
    assert torch.equal(perturb(images, "rotate", 3, crop=64, flavour="published"), whole[..., 4:68, 4:68])


@pytest.mark.parametrize(
    ("constants", "sigma"),
    [("cifar-10", 0.02), ("tiny-imagenet", 0.025), ("imagenet", 0.03), ("imagenet-299", 0.035)],
)
def test_noise_of_sequences_by_set(constants: str, sigma: float) -> None:
    """Standard deviation within four standard errors."""
    grey = torch.full((60, 3, 32, 32), 0.5, dtype=torch.float64)
    noise = perturb(grey, "gaussian_noise", 2, key=0, constants=constants)[:, 1] - 0.5
    assert noise.std().item() == pytest.approx(sigma, rel=4 / math.sqrt(2 * noise.numel()))
