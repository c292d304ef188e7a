"""Noise is normal or uniform, independent from value to value and image to image, and of the strength asked for.

Keys are fixed. With a key chosen at random, a statistical test would reject a correct sampler with probability 1e-6
(`RARE`).
"""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from elinvar.augment import OPS, Cutout, GaussianNoise, PatchGaussian, PatchUniform, Program, Programmed, apply
from elinvar.augment.seeds import DRAWS, SEEDS, normals, seed
from elinvar.check import InputError
from elinvar.rng import uniform

from .conftest import keys, photos

RARE = 1e-6
GREY = torch.full((300, 3, 40, 40), 128, dtype=torch.uint8)


def parameter(program: Program, name: str) -> Tensor:
    """A parameter of the one operation of each program."""
    op = next(op for op in OPS.values() if op.code == int(program.ops.flatten()[0]))
    return program.args[:, 0, 0, op.parameters.index(name)].double()


def test_the_normal_table_is_normal() -> None:
    z = normals().double()
    assert len(z) == DRAWS
    assert float(z.sum()) == 0
    assert float(z.square().mean()) == pytest.approx(1, abs=1e-6)
    assert bool((z.diff() > 0).all())
    middles = torch.from_numpy(stats.norm.ppf((torch.arange(DRAWS) + 0.5).numpy() / DRAWS))
    assert float((z - middles).abs()[100:-100].max()) < 2e-5
    assert float((z - middles).abs().max()) < 0.25
    # Distance of distribution functions: half a step, and nothing more.
    steps = torch.arange(DRAWS).double() / DRAWS
    cdf = torch.special.ndtr(z)
    assert float(torch.maximum(cdf - steps, steps + 1 / DRAWS - cdf).max()) < 1.1 / DRAWS
    for order, moment in ((4, 3.0), (6, 15.0)):
        assert float((z**order).mean()) == pytest.approx(moment, rel=3e-3)


def test_seeds_survive_float32() -> None:
    u = torch.cat([uniform(keys(1), 1000)[0], torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)])
    seeds = seed(u)
    assert bool(((seeds >= 0) & (seeds < SEEDS)).all())
    assert seeds.float().double().equal(seeds)
    assert seeds.equal((u * SEEDS).long().double())


def assert_rounded_normal(change: Tensor, sigma: float) -> None:
    """Changes, in levels, are those of a normal variable that is rounded to whole numbers."""
    levels = torch.arange(-math.ceil(6 * sigma), math.ceil(6 * sigma) + 1)
    edges = torch.cat([torch.tensor([-math.inf]), levels[:-1] + 0.5, torch.tensor([math.inf])]).double()
    chance = torch.special.ndtr(edges / sigma).diff()
    seen = (change - int(levels[0])).long().flatten().bincount(minlength=len(levels)).double()
    often = chance * change.numel() > 20
    seen, chance = (
        torch.cat([seen[often], seen[~often].sum()[None]]),
        torch.cat([chance[often], chance[~often].sum()[None]]),
    )
    assert stats.chisquare(seen.numpy(), (chance / chance.sum() * seen.sum()).numpy()).pvalue > RARE


def assert_independent(change: Tensor) -> None:
    """Values next to each other in any direction, in another channel, and in the next image."""
    pairs = [(change[1:], change[:-1]), (change[:, 1:], change[:, :-1])]
    pairs += [(change[..., k:], change[..., :-k]) for k in (1, 2, 3, 4, 5)]
    pairs += [(change[..., k:, :], change[..., :-k, :]) for k in (1, 2)]
    for one, other in pairs:
        assert stats.pearsonr(one.flatten().numpy(), other.flatten().numpy()).pvalue > RARE
        # Not only uncorrelated: sizes are independent, too.
        assert stats.pearsonr(one.square().flatten().numpy(), other.square().flatten().numpy()).pvalue > RARE


def test_gaussian_noise_is_gaussian_and_independent() -> None:
    change = GaussianNoise(0.05)(GREY, keys=keys(300)).double() - 128
    count, sigma = change.numel(), 255 * 0.05
    assert abs(float(change.mean())) < 5 * sigma / math.sqrt(count)
    assert abs(float(change.var()) / (sigma**2 + 1 / 12) - 1) < 5 * math.sqrt(2 / count)
    assert_rounded_normal(change, sigma)
    assert_independent(change)


def test_seeds_that_follow_each_other_give_independent_noise() -> None:
    ops = torch.full((300, 1, 1), OPS["gaussian_noise"].code, dtype=torch.int32)
    args = torch.tensor([20.0, 20, 20, 0]).repeat(300, 1)
    args[:, 3] = torch.arange(300)
    assert_independent(apply(GREY, Program(ops, args[:, None, None])).double() - 128)


def test_normalized_noise_follows_the_channels() -> None:
    std = (0.1, 0.2, 0.3)
    change = GaussianNoise(0.2, space="normalized", std=std)(GREY, keys=keys(300)).double() - 128
    for channel, part in enumerate(std):
        assert_rounded_normal(change[:, channel], 255 * 0.2 * part)
    same = GaussianNoise(0.2, space="normalized", std=(0.25,))(GREY, keys=keys(300))
    assert same.equal(GaussianNoise(0.05)(GREY, keys=keys(300)))


def test_noise_is_clipped_and_none_is_nothing() -> None:
    images = photos(20, 3, 24, 20)
    made = GaussianNoise(10.0)(images, keys=keys(20))
    assert float(((made == 0) | (made == 255)).float().mean()) > 0.9
    for nothing in (GaussianNoise(0.0), PatchGaussian(sigma=0.0), PatchUniform(amplitude=0.0)):
        assert nothing(images, keys=keys(20)).equal(images)


def test_patches_lie_as_in_cutout() -> None:
    for size in (1, 8, 9, 40):
        hole = parameter(Cutout(size).draw(keys(5000), height=20, width=31), "row")
        assert (int(hole.min()), int(hole.max())) == (-(size // 2), 19 - size // 2)
        for patch in (PatchGaussian(size), PatchUniform(size, random_size=False)):
            program = patch.draw(keys(50_000), height=20, width=31)
            row, column = parameter(program, "row") + size // 2, parameter(program, "column") + size // 2
            assert stats.chisquare((row * 31 + column).long().bincount(minlength=620).numpy()).pvalue > RARE


def test_patches_have_noise_inside_and_pixels_outside() -> None:
    drawn = keys(300)
    program = PatchGaussian(25, sigma=0.1).draw(drawn, height=40, width=40)
    change = PatchGaussian(25, sigma=0.1)(GREY, keys=drawn).double() - 128
    y, x = torch.arange(40)[:, None], torch.arange(40)
    row, column = (parameter(program, name)[:, None, None] for name in ("row", "column"))
    inside = ((y >= row) & (y < row + 25) & (x >= column) & (x < column + 25))[:, None].expand(-1, 3, -1, -1)
    assert not change[~inside].any()
    assert_rounded_normal(change[inside], 25.5)


def test_patches_of_random_size_and_strength() -> None:
    for patch in (PatchGaussian(30, random_size=True), PatchUniform(30)):
        sides = parameter(patch.draw(keys(50_000), height=20, width=20), "height").long()
        assert stats.chisquare(sides.bincount(minlength=31)[1:].numpy()).pvalue > RARE
        assert int(sides.min()) == 1
    program = PatchGaussian(30, sigma=0.2, random_size=True, random_sigma=True).draw(keys(50_000), height=20, width=20)
    sigma = parameter(program, "sigma")
    assert stats.kstest(sigma.numpy(), stats.uniform(0, 51).cdf).pvalue > RARE
    for other in ("height", "row", "column", "seed"):
        assert stats.pearsonr(sigma.numpy(), parameter(program, other).numpy()).pvalue > RARE


def test_uniform_noise_is_uniform_and_independent() -> None:
    change = PatchUniform(None, amplitude=0.1)(GREY, keys=keys(300)).double() - 128
    assert_independent(change)
    # Uniform on [-25.5, 25.5] and rounded: 51 levels alike, and none beyond.
    counts = (change + 26).long().flatten().bincount(minlength=53)
    assert stats.chisquare(counts[1:52].numpy()).pvalue > RARE
    assert int(counts[0] + counts[52]) == 0


def test_uniform_values_may_replace() -> None:
    made = PatchUniform(None, replace=True)(GREY, keys=keys(300))
    assert stats.chisquare(made.flatten().long().bincount(minlength=256).numpy()).pvalue > RARE
    images = photos(30, 3, 40, 40)
    made = PatchUniform(12, replace=True)(images, keys=keys(30))
    assert 0 < float((made != images).float().mean()) < 12**2 / 40**2


NOISES = [
    GaussianNoise(0.1),
    GaussianNoise(0.2, space="normalized", std=(0.2, 0.3, 0.25)),
    PatchGaussian(),
    PatchGaussian(None, random_sigma=True),
    PatchUniform(9),
    PatchUniform(9, replace=True),
]


@pytest.mark.parametrize("noise", NOISES, ids=repr)
def test_floating_point_and_grey_images(noise: Programmed) -> None:
    images = photos(10, 3, 12, 15)
    made = noise(images, keys=keys(10))
    floats = noise(images.double() / 255, keys=keys(10))
    assert (floats * 255).round().to(torch.uint8).equal(made)
    # The first channel's noise does not depend on the others.
    assert noise(images[:, :1], keys=keys(10)).equal(made[:, :1])


def test_whole_images_and_patches_share_their_noise() -> None:
    images = photos(10, 3, 12, 15)
    whole = PatchGaussian(None, sigma=0.1)(images, keys=keys(10))
    large = PatchGaussian(60, sigma=0.1)(images, keys=keys(10))
    assert whole.equal(large)


def test_bad_settings_are_refused() -> None:
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: GaussianNoise(-0.1), "sigma: got -0.1"),
        (lambda: GaussianNoise(math.inf), "sigma: got inf"),
        (lambda: GaussianNoise(math.nan), "sigma: got nan"),
        (lambda: GaussianNoise(0.1, space="normalized"), "std: got None for space 'normalized'"),
        (lambda: GaussianNoise(0.1, std=(0.2,)), "none for 'pixel'"),
        (lambda: GaussianNoise(0.1, space="normalized", std=(0.2, 0.2)), "one value above 0"),
        (lambda: GaussianNoise(0.1, space="normalized", std=(0.2, 0.0, 0.1)), "one value above 0"),
        (lambda: PatchGaussian(0), "size: got 0"),
        (lambda: PatchGaussian(sigma=-1.0), "sigma: got -1"),
        (lambda: PatchUniform(-3), "size: got -3"),
        (lambda: PatchUniform(amplitude=math.nan), "amplitude: got nan"),
    ]
    for make, message in cases:
        with pytest.raises(InputError, match=message):
            make()
    space: Any = "standard"
    settings: Any = object.__new__(GaussianNoise)
    for name, value in {"sigma": 0.1, "space": space, "std": None}.items():
        object.__setattr__(settings, name, value)
    with pytest.raises(InputError, match="space: got 'standard'"):
        settings.__post_init__()
