"""RandAugment draws what its paper says, on each of the published scales.

Keys are fixed, so that outcomes are. With a key chosen at random, a statistical test would reject a correct sampler
with probability 1e-6 (`RARE`).
"""

from dataclasses import fields
from itertools import product

import pytest
import torch
from scipy import stats
from torch import Tensor

from elinvar.augment import OPS, Program, RandAugment, apply, sample_policies
from elinvar.augment.randaugment import OP_LISTS, RANGES
from elinvar.check import InputError

from .conftest import digits, keys, noise, photos

RARE = 1e-6
MANY = 100_000
SIGNED = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y", "color", "contrast", "brightness", "sharpness")
LISTS = [RandAugment(3, 9), RandAugment(3, 9, ops="tpu", ranges="tpu")]


def drawn(policy: RandAugment, count: int = MANY, size: int = 32) -> Program:
    return policy.draw(keys(count, key=40), height=size, width=size)


def assert_alike(counts: Tensor) -> None:
    assert stats.chisquare(counts.numpy()).pvalue > RARE


def distinct(values: Tensor) -> list[float]:
    return sorted(set(values.flatten().tolist()))


@pytest.mark.parametrize("policy", LISTS, ids=repr)
def test_operations_are_drawn_alike_with_replacement(policy: RandAugment) -> None:
    program = drawn(policy)
    codes = torch.tensor([OPS[name].code for name in policy.names])
    index = torch.full((len(OPS),), -1).index_copy(0, codes, torch.arange(len(codes)))[program.ops[:, 0].long()]
    assert (index >= 0).all()
    for place in range(3):
        assert_alike(index[:, place].bincount(minlength=len(codes)))
    for first, second in ((0, 1), (1, 2), (0, 2)):
        assert_alike((index[:, first] * len(codes) + index[:, second]).bincount(minlength=len(codes) ** 2))


def test_the_lists_are_the_published_ones() -> None:
    paper, tpu = (OP_LISTS[name] for name in ("paper", "tpu"))
    assert (len(paper), len(set(paper)), len(tpu), len(set(tpu))) == (14, 14, 16, 16)
    assert set(paper) - set(tpu) == {"identity"}
    assert set(tpu) - set(paper) == {"invert", "solarize_add", "cutout"}


def test_signs_are_alike_and_magnitudes_fixed() -> None:
    program = drawn(RandAugment(2, 9), size=32)
    op, value = program.ops.flatten(), program.args.flatten()
    assert program.args.shape == (MANY, 1, 2, 1)
    for name in OP_LISTS["paper"]:
        values = value[op == OPS[name].code]
        assert len(distinct(values)) == (2 if name in SIGNED else 1)
        if name in SIGNED:
            assert stats.binomtest(int((values == values.max()).sum()), len(values)).pvalue > RARE
    expected = {
        "rotate": (-9, 9), "shear_x": (-0.09, 0.09), "translate_y": (-4, 4), "color": (0.73, 1.27),
        "posterize": (7,), "solarize": (178.5,), "equalize": (0,), "identity": (0,),
    }  # fmt: skip
    for name, numbers in expected.items():
        assert distinct(value[op == OPS[name].code]) == pytest.approx(numbers)
    # Signs of an image are independent: of pairs that both have one, a quarter has each combination.
    both = (program.args[:, 0, :, 0] != 0) & (program.ops[:, 0] == OPS["rotate"].code)
    turned = program.args[both.all(-1), 0, :, 0] > 0
    assert_alike((2 * turned[:, 0].long() + turned[:, 1]).bincount(minlength=4))


@pytest.mark.parametrize(("magnitude", "top"), [(9, 30), (9, 10), (3, 10), (30, 30), (4.5, 9)])
@pytest.mark.parametrize("ranges", RANGES)
def test_magnitudes_are_shares_of_the_largest(ranges: str, magnitude: float, top: float) -> None:
    policy = RandAugment(1, magnitude, ops=("rotate", "brightness"), ranges=ranges, magnitude_max=top)  # type: ignore[arg-type]
    program = drawn(policy, 200)
    share = magnitude / top
    turns, factors = (distinct(program.args[program.ops == OPS[name].code]) for name in ("rotate", "brightness"))
    assert turns == pytest.approx([-30 * share, 30 * share])
    two_ways = [1 - 0.9 * share, 1 + 0.9 * share]
    assert factors == pytest.approx(two_ways if ranges == "torchvision" else [0.1 + 1.8 * share])


def test_the_tpu_scale_may_be_left_behind() -> None:
    program = drawn(RandAugment(1, 28, ops=("posterize",), ranges="tpu", magnitude_max=10), 3)
    assert program.args.flatten().tolist() == [11, 11, 11]
    assert apply(photos(3, 3, 8, 8), program).equal(photos(3, 3, 8, 8))


@pytest.mark.parametrize("source", [photos, digits, noise])
def test_magnitude_zero_changes_no_place_and_no_factor(source: type) -> None:
    """Of what takes a level, solarize inverts white itself: its threshold starts at 255."""
    still = tuple(name for name in OP_LISTS["paper"] if name not in ("autocontrast", "equalize", "solarize"))
    images = source(200, 3, 17, 24)
    assert RandAugment(3, 0, ops=still)(images, keys=keys(200)).equal(images)
    solarized = RandAugment(1, 0, ops=("solarize",))(images, keys=keys(200))
    assert solarized.equal(images.where(images < 255, torch.zeros_like(images)))


def test_no_operations_change_nothing() -> None:
    images = photos(5, 3, 9, 12)
    policy = RandAugment(0, 9)
    assert policy(images, keys=keys(5)).equal(images)
    assert policy(images.float() / 255, keys=keys(5)).equal(images.float() / 255)
    program = policy.draw(keys(5), height=9, width=12)
    assert program.describe(0) == "identity"
    assert apply(images, program, backend="batched").equal(images)


def test_cutouts_lie_anywhere_and_are_clipped() -> None:
    policy = RandAugment(2, 2, ops=("cutout",), ranges="tpu", magnitude_max=10, fill=(1, 2, 3))
    program = policy.draw(keys(20_000), height=24, width=40)
    assert program.args.shape == (20_000, 1, 2, 7)
    assert bool((program.args[..., :2] == 16).all())
    assert bool((program.args[..., 4:] == torch.tensor([1, 2, 3])).all())
    for place, (axis, side) in product(range(2), ((2, 24), (3, 40))):
        centre = program.args[:, 0, place, axis] + 8
        assert_alike(centre.long().bincount(minlength=side))
    rows, columns = program.args[:, 0, :, 2], program.args[:, 0, :, 3]
    assert stats.pearsonr(rows[:, 0].numpy(), columns[:, 0].numpy()).pvalue > RARE
    assert stats.pearsonr(rows[:, 0].numpy(), rows[:, 1].numpy()).pvalue > RARE
    images = torch.full((50, 3, 24, 40), 200, dtype=torch.uint8)
    made = policy(images, keys=keys(50))
    row, column = torch.arange(24).view(24, 1), torch.arange(40)
    for image, places in zip(made, program.args[:50, 0], strict=True):
        hit = torch.zeros(24, 40, dtype=torch.bool)
        for _, _, top, left, *_ in places.tolist():
            hit |= (row >= top) & (row < top + 16) & (column >= left) & (column < left + 16)
        expected = torch.where(hit, torch.tensor([1, 2, 3]).view(3, 1, 1), 200)
        assert image.equal(expected.to(torch.uint8))


def test_centres_of_cutouts_know_nothing_of_the_operations_drawn() -> None:
    program = RandAugment(2, 9, ops="tpu", ranges="tpu").draw(keys(MANY, key=41), height=24, width=40)
    for place, (axis, side) in product(range(2), ((2, 24), (3, 40))):
        args = program.args[program.ops[:, 0, place] == OPS["cutout"].code, 0, place]
        assert_alike((args[:, axis] + args[:, 0] / 2).long().bincount(minlength=side))
    one = program.ops[:, 0, 0] == OPS["cutout"].code
    assert stats.pearsonr(program.args[one, 0, 0, 2].numpy(), program.ops[one, 0, 1].numpy()).pvalue > RARE


def test_cutouts_have_parameters_of_their_own_only() -> None:
    program = drawn(RandAugment(2, 9, ops="tpu", ranges="tpu"), 5000)
    other = program.ops != OPS["cutout"].code
    assert not program.args[other][:, 1:].any()
    assert "cutout(height=24, width=24, row=" in str([program.describe(row) for row in range(50)])


def test_fill_reaches_what_comes_from_outside() -> None:
    images = torch.full((40, 3, 16, 16), 255, dtype=torch.uint8)
    ops = ("translate_x", "translate_y")
    for fill, color in ((7, (7, 7, 7)), ((1, 2, 3), (1, 2, 3))):
        made = RandAugment(1, 30, ops=ops, fill=fill)(images, keys=keys(40))
        outside = made[(made != 255).all(1, keepdim=True).expand(-1, 3, -1, -1)].view(-1)
        assert distinct(outside) == sorted(set(color))
        for channel in range(3):
            assert distinct(made[:, channel]) == [color[channel], 255]
    assert distinct(RandAugment(1, 30, ops=ops)(images, keys=keys(40))) == [128, 255]


def test_sampled_policies_are_different_pairs_of_the_grid() -> None:
    policies = sample_policies(42, 3)
    assert {(policy.n, policy.m) for policy in policies} == set(product((1, 2, 3), range(3, 30, 2)))
    assert sample_policies(4, 3) == policies[:4]
    assert sample_policies(4, 4) != policies[:4]
    assert sample_policies(0, 0) == ()
    assert len({sample_policies(3, key) for key in (1, 0, 1 << 63, (1 << 64) - 1)}) >= 3
    like = RandAugment(magnitude_max=10, ranges="original", fill=0)
    grid = sample_policies(100, 1, n=range(1, 11), m=range(1, 11), like=like)
    assert len(set(grid)) == 100
    assert {(policy.ranges, policy.magnitude_max, policy.fill) for policy in grid} == {("original", 10, 0)}


def test_all_sets_of_policies_are_sampled_alike() -> None:
    counts = torch.zeros(6, 6)
    for key in range(3000):
        first, second = (
            (3 * (policy.n - 1) + round(policy.m)) for policy in sample_policies(2, key, n=(1, 2), m=(0, 1, 2))
        )
        counts[first, second] += 1
    assert not counts.diagonal().any()
    assert_alike(counts[~torch.eye(6, dtype=torch.bool)])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": -1}, "n: got -1, expected 0 or more operations"),
        ({"m": -0.5}, "m: got -0.5, expected 0 to 30"),
        ({"m": 31}, "m: got 31, expected 0 to 30"),
        ({"m": float("nan")}, "m: got nan"),
        ({"m": 11, "magnitude_max": 10}, "m: got 11, expected 0 to 10"),
        ({"m": float("inf"), "ranges": "tpu"}, "m: got inf"),
        ({"magnitude_max": 0}, "magnitude_max: got 0, expected a number above 0"),
        ({"magnitude_max": float("inf")}, "magnitude_max: got inf"),
        ({"ops": "papper"}, "unknown list of operations 'papper': did you mean 'paper'"),
        ({"ops": ("rotat",)}, "unknown operation 'rotat': did you mean 'rotate'"),
        ({"ops": ()}, "ops: got no operations, expected at least one"),
        ({"ops": "tpu"}, "ops: got solarize_add, for which the ranges 'torchvision' have none"),
        (
            {"ops": ("gaussian_noise",), "ranges": "tpu"},
            "ops: got gaussian_noise, for which the ranges 'tpu' have none",
        ),
        ({"ranges": "tp"}, "unknown ranges 'tp': did you mean 'tpu'"),
        ({"fill": 256}, "fill: got 256, expected a value in 0..255, or one for each channel"),
        ({"fill": (0, -1, 0)}, "fill: got"),
        ({"fill": ()}, "fill: got"),
        (
            {"fill": (0, 0), "ops": "tpu", "ranges": "tpu"},
            "fill: got .0, 0., expected one value, or red, green and blue",
        ),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        unchecked(**settings)


def unchecked(**settings: object) -> None:
    """Settings that the tests' own checker of types does not see."""
    policy = object.__new__(RandAugment)
    for field in fields(RandAugment):
        object.__setattr__(policy, field.name, settings.get(field.name, field.default))
    policy.__post_init__()


def test_a_grid_that_is_too_small_is_refused() -> None:
    for count in (43, -1):
        with pytest.raises(InputError, match=f"count: got {count} policies, expected at most 42"):
            sample_policies(count, 0)
    with pytest.raises(InputError, match="m: got 11, expected 0 to 10"):
        sample_policies(1, 0, m=(11,), like=RandAugment(magnitude_max=10))


def test_fill_for_other_channels_is_refused() -> None:
    with pytest.raises(InputError, match="expected 1 or one each"):
        RandAugment(fill=(1, 2, 3))(photos(2, 1, 8, 8))
