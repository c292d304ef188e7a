"""Operations on rectangles are what they say, in both back ends; Cutout and random erasing draw what is published.

Keys are fixed. With a key chosen at random, a statistical test would reject a correct sampler with probability 1e-6
(`RARE`).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from elinvar.augment import OPS, Cutout, Kind, Program, Programmed, RandomErasing, apply
from elinvar.augment.backend import Backend
from elinvar.augment.regions import TRIES
from elinvar.augment.seeds import KEY, normals
from elinvar.check import InputError
from elinvar.rng import GAMMA, MASK, mix64, uniform

from .conftest import keys, noise, photos, same

RARE = 1e-6
BACKENDS = get_args(Backend)
Array = NDArray[Any]


def draws(seed: float, count: int) -> NDArray[np.int64]:
    """16 bits for each of `count` values, by Python's own integers."""
    stream = mix64((KEY + GAMMA * (int(seed) + 1)) & MASK)
    words = [mix64((stream + GAMMA * (j + 1)) & MASK) for j in range(count // 4 + 1)]
    return np.array([word >> shift & 0xFFFF for word in words for shift in (0, 16, 32, 48)][:count], np.int64)


def rounded(values: Array) -> NDArray[np.uint8]:
    clipped: NDArray[np.uint8] = np.clip(np.floor(values + np.float32(0.5)), 0, 255).astype(np.uint8)
    return clipped


def _inside(image: Array, args: list[float]) -> NDArray[np.bool_]:
    tall, wide, row, column = (math.trunc(value) for value in args[:4])
    y, x = np.indices(image.shape[1:])
    mask = (y >= row) & (y < row + tall) & (x >= column) & (x < column + wide)
    return np.broadcast_to(mask, image.shape)


def _cutout(image: Array, args: list[float]) -> Array:
    color = np.clip(np.array(args[4 : 4 + len(image)]), 0, 255).astype(np.uint8)[:, None, None]
    return np.where(_inside(image, args), color, image)


def _erase(image: Array, args: list[float]) -> Array:
    values = (draws(args[4], image.size) // 256).reshape(image.shape)
    return np.where(_inside(image, args), values, image)


def _normal(seed: float, image: Array) -> Array:
    return normals().numpy()[draws(seed, image.size)].reshape(image.shape)


def _gaussian(image: Array, args: list[float]) -> Array:
    sigma = np.array(args[: len(image)], np.float32)[:, None, None]
    return rounded(image + sigma * _normal(args[3], image))


def _patch_gaussian(image: Array, args: list[float]) -> Array:
    return np.where(_inside(image, args), rounded(image + np.float32(args[4]) * _normal(args[5], image)), image)


def _patch_uniform(image: Array, args: list[float]) -> Array:
    part = ((draws(args[5], image.size) + 0.5) / 32768 - 1).astype(np.float32).reshape(image.shape)
    return np.where(_inside(image, args), rounded(image + np.float32(args[4]) * part), image)


REFERENCES: Mapping[str, Callable[[Array, list[float]], Array]] = {
    "cutout": _cutout,
    "erase": _erase,
    "gaussian_noise": _gaussian,
    "patch_gaussian": _patch_gaussian,
    "patch_uniform": _patch_uniform,
}
regions = pytest.mark.parametrize("name", REFERENCES)
both = pytest.mark.parametrize("backend", BACKENDS)


def parameters(name: str, count: int, height: int, width: int) -> Tensor:
    """Rectangles inside, across the border and outside; fractions, nothing, everything, and beyond all measure."""
    u = uniform(keys(count, key=OPS[name].code), 12)
    extremes = [(0, 5, 1, 1), (5, 0, 1, 1), (-3, 4, 2, 2), (1e30, 1e30, -1e29, -1e29), (height, width, 0, 0)]
    extremes += [(3.9, 2.9, 1.9, -0.9), (3, 3, -3, 0), (3, 3, height, 0), (4, 4, -2.5, width - 2.5), (1, 1, 1e30, 1)]
    sides = torch.tensor([height, width], dtype=torch.float64)
    rectangles = torch.cat([u[:, :2] * 1.2 * sides, (u[:, 2:4] * 1.5 - 0.3) * sides], 1).floor()
    rectangles[: len(extremes)] = torch.tensor(extremes, dtype=torch.float64)
    columns = []
    for place, parameter in enumerate(OPS[name].parameters):
        if parameter == "seed":
            columns.append((u[:, 4] * 2**24).floor().index_fill(0, torch.tensor([0, 1]), 0.0).clamp(max=2**24 - 1))
        elif parameter in ("height", "width", "row", "column"):
            columns.append(rectangles[:, place])
        else:
            columns.append(u[:, 5 + place] * 300 - (20 if name == "cutout" else 0))
    return torch.stack(columns, 1).float()


@both
@regions
@pytest.mark.parametrize(("channels", "height", "width"), [(3, 9, 14), (1, 11, 8), (3, 1, 1), (1, 2, 37)])
def test_operations_are_what_they_say(name: str, backend: Backend, channels: int, height: int, width: int) -> None:
    images, args = noise(40, channels, height, width), parameters(name, 40, height, width)
    made = apply(images, same(name, images, args), backend=backend)
    expected = [REFERENCES[name](image.numpy(), row) for image, row in zip(images, args.tolist(), strict=True)]
    assert made.equal(torch.from_numpy(np.stack(expected).astype(np.uint8)))


@regions
def test_back_ends_agree_bit_for_bit_on_large_images(name: str) -> None:
    """Rows and tiles that no block of the kernels divides."""
    for shape in ((12, 3, 211, 187), (12, 1, 3, 2500)):
        images, args = noise(*shape), parameters(name, 12, *shape[2:])
        program = same(name, images, args)
        assert apply(images, program, backend="compiled").equal(apply(images, program, backend="batched"))


@both
def test_noise_on_a_patch_of_everything_is_noise_on_everything(backend: Backend) -> None:
    images = photos(3, 3, 20, 31)
    seeds = torch.tensor([1.0, 2.0, 2**24 - 1])
    everywhere = torch.stack([torch.full((3,), float(side)) for side in (20, 31, 0, 0, 25)] + [seeds], 1)
    whole = torch.stack([torch.full((3,), 25.0)] * 3 + [seeds], 1)
    left = apply(images, same("patch_gaussian", images, everywhere), backend=backend)
    assert left.equal(apply(images, same("gaussian_noise", images, whole), backend=backend))


@both
@regions
def test_chains_run_them_among_others(name: str, backend: Backend) -> None:
    images, args = photos(6, 3, 16, 18), parameters(name, 16, 16, 18)[10:]
    ops = torch.tensor([OPS["invert"].code, OPS[name].code, OPS["flip"].code], dtype=torch.int32).expand(6, 1, 3)
    rows = torch.zeros(6, 1, 3, args.shape[1])
    rows[:, 0, 1] = args
    step = apply(255 - images, same(name, images, args), backend=backend)
    assert apply(images, Program(ops, rows), backend=backend).equal(step.flip(3))
    half = torch.full((6, 1), 0.5)
    mixed = apply(images, Program(ops, rows, half), backend=backend)
    torch.testing.assert_close(mixed, (images.float() + step.flip(3).float()) / 510, atol=1e-6, rtol=0)


def test_every_region_has_a_reference() -> None:
    assert set(REFERENCES) == {name for name, op in OPS.items() if op.kind is Kind.REGION}


@pytest.mark.parametrize(("size", "height", "width"), [(16, 32, 32), (5, 9, 14), (1, 4, 3), (40, 32, 20), (101, 7, 5)])
def test_cutout_takes_a_square_around_a_pixel_that_is_uniform(size: int, height: int, width: int) -> None:
    program = Cutout(size).draw(keys(100_000), height=height, width=width)
    args = program.args[:, 0, 0]
    assert bool((args[:, :2] == size).all())
    centre = args[:, 2:4].long() + size // 2
    counts = (centre[:, 0] * width + centre[:, 1]).bincount(minlength=height * width)
    assert len(counts) == height * width
    assert stats.chisquare(counts.numpy()).pvalue > RARE


def test_cutout_takes_as_much_as_published() -> None:
    images = torch.full((20_000, 1, 32, 32), 7, dtype=torch.uint8)
    taken = (Cutout(16)(images, keys=keys(20_000)) != 7).float().mean((1, 2, 3))
    assert float(taken.max()) == 0.25
    # Each side is 14 of 32 on average, with standard deviation 2.6 at most 4: five standard errors of the product.
    assert abs(float(taken.mean()) - 14**2 / 32**2) < 5 * float(taken.std()) / math.sqrt(20_000)


def test_cutout_fills_with_its_color() -> None:
    images, drawn = photos(30, 3, 20, 24), keys(30)
    for fill in (0, 255, (10, 20, 30)):
        made = Cutout(8, fill=fill)(images, keys=drawn)
        color = torch.tensor(fill, dtype=torch.uint8).expand(3).view(3, 1, 1)
        gone = Cutout(8, fill=1)(torch.zeros_like(images), keys=drawn) == 1
        assert made.equal(torch.where(gone, color, images))
        grey = Cutout(8, fill=fill)(images[:, :1], keys=drawn)
        assert grey.equal(torch.where(gone[:, :1], color[:1], images[:, :1]))
    assert bool((Cutout(99)(images, keys=drawn) == 128).any((1, 2, 3)).all())
    assert Cutout(60)(images[:, :, :10, :12], keys=drawn).eq(128).all()  # larger than twice the image: all of it


def erasing(u: list[float], height: int, width: int, area: tuple[float, float], ratio: tuple[float, float]) -> Any:
    """The published loop, on given draws: row, column and sides of a rectangle that fits; or nothing."""
    for first in range(0, 4 * TRIES, 4):
        pixels = height * width * (area[0] + (area[1] - area[0]) * u[first])
        aspect = math.exp(-math.log(ratio[1]) + (math.log(ratio[1]) - math.log(ratio[0])) * u[first + 1])
        tall, wide = round(math.sqrt(pixels / aspect)), round(math.sqrt(pixels * aspect))
        if 1 <= tall <= height and 1 <= wide <= width:
            return tall, wide, int(u[first + 2] * (height - tall + 1)), int(u[first + 3] * (width - wide + 1))
    return None


@pytest.mark.parametrize(("height", "width"), [(32, 32), (20, 90), (3, 2), (1, 1), (1, 200)])
def test_erasing_is_the_published_loop(height: int, width: int) -> None:
    drawn = keys(3000)
    area, ratio = (0.02, 0.8), (0.2, 4.0)
    program = RandomErasing(0.7, area=area, ratio=ratio).draw(drawn, height=height, width=width)
    u = uniform(drawn, 2 + 4 * TRIES)
    for row, op, args in zip(u.tolist(), program.ops[:, 0, 0].tolist(), program.args[:, 0, 0].tolist(), strict=True):
        expected = erasing(row[2:], height, width, area, ratio)
        assert op == (OPS["erase"].code if row[0] < 0.7 and expected is not None else 0)
        if op:
            assert tuple(args) == (*expected, float(int(row[1] * 2**24)))


def test_erased_rectangles_have_the_published_distribution() -> None:
    erasing = RandomErasing(0.5, area=(0.02, 0.2), ratio=(0.5, 2.0))
    program = erasing.draw(keys(60_000, key=3), height=3000, width=2000)
    happened = program.ops[:, 0, 0] > 0
    assert stats.binomtest(int(happened.sum()), len(happened), 0.5).pvalue > RARE
    tall, wide, row, column = program.args[happened, 0, 0, :4].double().T
    area = tall * wide / 6e6
    assert stats.kstest(area.numpy(), stats.uniform(0.02, 0.18).cdf).pvalue > RARE
    ratio = (tall / wide).log() / math.log(2)
    assert stats.kstest(ratio.numpy(), stats.uniform(-1, 2).cdf).pvalue > RARE
    for place, room in ((row, 3000 - tall), (column, 2000 - wide)):
        assert bool(((place >= 0) & (place <= room)).all())
        assert stats.kstest((place / room).numpy(), "uniform").pvalue > RARE
    for one, other in ((area, ratio), (area, row / (3000 - tall)), (row / (3000 - tall), column / (2000 - wide))):
        assert stats.pearsonr(one.numpy(), other.numpy()).pvalue > RARE


def test_erased_values_are_uniform_and_their_own() -> None:
    images = torch.zeros(200, 3, 40, 40, dtype=torch.uint8)
    program = RandomErasing(1.0, area=(1.0, 1.0), ratio=(1.0, 1.0)).draw(keys(200), height=40, width=40)
    made = apply(images, program).long()
    assert stats.chisquare(made.flatten().bincount(minlength=256).numpy()).pvalue > RARE
    for one, other in ((made[1:], made[:-1]), (made[:, 1:], made[:, :-1]), (made[..., 1:], made[..., :-1])):
        assert stats.pearsonr(one.flatten().numpy(), other.flatten().numpy()).pvalue > RARE


def test_erasing_with_a_color() -> None:
    images, drawn = photos(40, 3, 30, 20), keys(40)
    shape = {"area": (0.1, 0.3), "probability": 1.0}
    erased = RandomErasing(**shape)(images, keys=drawn)  # type: ignore[arg-type]
    colored = RandomErasing(value=(1, 2, 3), **shape)(images, keys=drawn)  # type: ignore[arg-type]
    gone = RandomErasing(value=1, **shape)(torch.zeros_like(images), keys=drawn) == 1  # type: ignore[arg-type]
    assert bool(gone.any((1, 2, 3)).all())
    assert colored.equal(torch.where(gone, torch.tensor([1, 2, 3], dtype=torch.uint8).view(3, 1, 1), images))
    assert erased.where(~gone, images).equal(images)
    assert RandomErasing(0.0)(images, keys=drawn).equal(images)


@pytest.mark.parametrize("augmentation", [Cutout(9), RandomErasing(1.0), RandomErasing(1.0, value=3)], ids=repr)
def test_floating_point_gives_the_same(augmentation: Programmed) -> None:
    images = photos(10, 3, 12, 15)
    made = augmentation(images, keys=keys(10))
    for dtype in (torch.float16, torch.float32, torch.float64):
        floats = augmentation((images.double() / 255).to(dtype), keys=keys(10))
        assert floats.dtype == dtype
        assert (floats.double() * 255).round().to(torch.uint8).equal(made)


def unchecked(kind: type[Any], **fields: object) -> Any:
    """Settings that the tests' own checker has not seen; the others are the defaults."""
    made = object.__new__(kind)
    for name, value in {**vars(kind()), **fields}.items():
        object.__setattr__(made, name, value)
    return made


def test_bad_settings_are_refused() -> None:
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: Cutout(0), "size: got 0"),
        (lambda: Cutout(4, fill=256), "got 256"),
        (lambda: Cutout(4, fill=(1, 2)), "red, green and blue"),
        (lambda: RandomErasing(1.1), "probability: got 1.1"),
        (lambda: RandomErasing(math.nan), "probability: got nan"),
        (lambda: RandomErasing(area=(0.0, 0.5)), "area: got"),
        (lambda: RandomErasing(area=(0.6, 0.5)), "area: got"),
        (lambda: RandomErasing(area=(0.6, 1.5)), "area: got"),
        (lambda: RandomErasing(ratio=(0.0, 1.0)), "ratio: got"),
        (lambda: RandomErasing(ratio=(1.0, math.inf)), "ratio: got"),
        (lambda: RandomErasing(value=-1), "got -1"),
    ]
    for make, message in cases:
        with pytest.raises(InputError, match=message):
            make()
    name: Any = "noise"
    with pytest.raises(InputError, match="got 'noise', expected 'random'"):
        RandomErasing.__post_init__(unchecked(RandomErasing, value=name))


def test_programs_without_all_parameters_are_refused() -> None:
    images = photos(2, 3, 5, 5)
    for name in REFERENCES:
        with pytest.raises(InputError, match="args for 1 parameters, expected"):
            apply(images, same(name, images, torch.ones(2)))
