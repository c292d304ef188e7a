"""AugMix draws what the paper says, and mixes it as the paper says.

Keys are fixed, so that outcomes are. With a key chosen at random, a statistical test would reject a correct sampler
with probability 1e-6 (`RARE`).
"""

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor

from elinvar.augment import AUGMIX_LEVELS, OPS, AugMix, Program, RandomChain, apply
from elinvar.augment.augmix import OP_SETS, OpSet, check_chains
from elinvar.check import InputError

from .conftest import digits, keys, noise, photos

RARE = 1e-6
MANY = 100_000


def drawn(augmentation: AugMix | RandomChain, count: int = MANY, size: int = 32) -> Program:
    return augmentation.draw(keys(count, key=20), height=size, width=size)


def assert_frequencies(counts: Tensor, expected: Tensor | None = None) -> None:
    frequencies = None if expected is None else (expected / expected.sum() * counts.sum()).numpy()
    assert stats.chisquare(counts.numpy(), frequencies).pvalue > RARE


def weights(program: Program) -> Tensor:
    assert program.weights is not None
    return program.weights.double()


def test_chains_have_depth_one_two_or_three_alike() -> None:
    """Operations never are the identity, so depth is the number of places that are taken: from the left."""
    taken = drawn(AugMix()).ops > 0
    depth = taken.sum(-1)
    assert taken.equal(torch.arange(3) < depth[..., None])
    for chain in range(3):
        assert_frequencies(depth[:, chain].bincount(minlength=4)[1:])
    # Chains of an image have depths of their own: all nine pairs are equally frequent.
    assert_frequencies((3 * (depth[:, 0] - 1) + depth[:, 1] - 1).bincount(minlength=9))


@pytest.mark.parametrize("ops", OP_SETS)
def test_operations_are_drawn_alike_with_replacement(ops: OpSet) -> None:
    program = drawn(AugMix(ops=ops, depth=2))
    codes = torch.tensor([OPS[name].code for name in OP_SETS[ops]])
    place = torch.full((len(OPS),), -1).index_copy(0, codes, torch.arange(len(codes)))
    index = place[program.ops.long()]
    assert (index >= 0).all()
    for chain in range(3):
        for step in range(2):
            assert_frequencies(index[:, chain, step].bincount(minlength=len(codes)))
    pairs = index[:, 0, 0] * len(codes) + index[:, 0, 1]
    assert_frequencies(pairs.bincount(minlength=len(codes) ** 2))


def test_levels_are_uniform_and_drawn_for_each_application() -> None:
    program = drawn(AugMix(depth=2))
    shear = [program.args[:, 0, step, 0][program.ops[:, 0, step] == OPS["shear_x"].code] for step in range(2)]
    for slopes in shear:
        level = slopes.abs().double() / 0.03
        assert stats.kstest(level.numpy(), stats.uniform(0.1, 2.9).cdf).pvalue > RARE
        assert stats.binomtest(int((slopes > 0).sum()), len(slopes)).pvalue > RARE
    both = (program.ops[:, 0] == OPS["shear_x"].code).all(-1)
    assert stats.pearsonr(*program.args[both, 0, :, 0].abs().T.numpy()).pvalue > RARE


def test_whole_numbers_are_cut_as_published() -> None:
    """At severity 3: posterize keeps 4 bits with probability 2.4/2.9, and rotations are cut towards zero."""
    program = drawn(AugMix(depth=1))
    op, value = program.ops.flatten(), program.args.flatten()
    bits = value[op == OPS["posterize"].code]
    assert stats.binomtest(int((bits == 4).sum()), len(bits), 2.4 / 2.9).pvalue > RARE
    assert bool(((bits == 4) | (bits == 3)).all())
    degrees = value[op == OPS["rotate"].code]
    edges = torch.tensor([0.1, *(d / 3 for d in range(1, 10))], dtype=torch.float64)
    assert_frequencies(degrees.abs().long().bincount(minlength=9), edges.diff())
    assert stats.binomtest(int((degrees > 0).sum()), int((degrees != 0).sum())).pvalue > RARE
    pixels = value[op == OPS["translate_x"].code]
    edges = torch.tensor([0.1, 0.9375, 1.875, 2.8125, 3.0], dtype=torch.float64)
    assert_frequencies(pixels.abs().long().bincount(minlength=4), edges.diff())
    threshold = value[op == OPS["solarize"].code]
    assert 180 <= threshold.min() <= 182
    assert 252 <= threshold.max() <= 254


def test_lengths_are_relative_to_the_side() -> None:
    program = AugMix(severity=10, depth=1).draw(keys(20_000), height=30, width=300)
    op, value = program.ops.flatten(), program.args.flatten().abs()
    assert 95 <= value[op == OPS["translate_x"].code].max() <= 99
    assert value[op == OPS["translate_y"].code].max() == 9


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_weights_are_dirichlet_times_beta(alpha: float) -> None:
    w = weights(drawn(AugMix(alpha=alpha)))
    m = w.sum(-1)
    assert stats.kstest(m.numpy(), stats.beta(alpha, alpha).cdf).pvalue > RARE
    sure = m > 1e-3  # below, float32 leaves too few digits of the shares
    share = w[sure] / m[sure, None]
    for chain in range(3):
        assert stats.kstest(share[:, chain].numpy(), stats.beta(alpha, 2 * alpha).cdf).pvalue > RARE
    assert stats.pearsonr(m[sure].numpy(), share[:, 0].numpy()).pvalue > RARE
    expected = -1 / (3 * 3 * (3 * alpha + 1))  # covariance of two Dirichlet weights
    spread = 6 / math.sqrt(len(share)) * 0.25
    assert abs(float(torch.cov(share.T)[0, 1]) - expected) < spread


def test_weights_have_the_moments_of_the_uniform_case() -> None:
    w = weights(drawn(AugMix()))
    m = w.sum(-1)
    share = w / m[:, None]
    assert abs(float(m.mean()) - 1 / 2) < 5 * math.sqrt(1 / 12 / MANY)
    assert abs(float(m.var()) - 1 / 12) < 0.002
    assert float((share.mean(0) - 1 / 3).abs().max()) < 5 * math.sqrt(1 / 18 / MANY)
    assert float((share.var(0) - 1 / 18).abs().max()) < 0.002


def test_extreme_alpha_stays_finite() -> None:
    for alpha in (1e-4, 1e4):
        w = weights(drawn(AugMix(alpha=alpha), 2000))
        assert bool(((w >= 0) & (w <= 1)).all())
        assert bool((w.sum(-1) <= 1 + 1e-6).all())


def test_keys_and_views_are_independent() -> None:
    one, two = (weights(AugMix().draw(keys(MANY, key), height=32, width=32)).sum(-1) for key in (1, 2))
    assert stats.pearsonr(one.numpy(), two.numpy()).pvalue > RARE
    assert stats.pearsonr(one[1:].numpy(), one[:-1].numpy()).pvalue > RARE


def test_a_draw_depends_on_its_key_alone() -> None:
    for augmentation in (AugMix(), AugMix(alpha=0.3, ops="all"), AugMix(depth=4, width=2), RandomChain()):
        whole = augmentation.draw(keys(700), height=32, width=32)
        for rows in (slice(0, 1), slice(5, 8), slice(100, 700), slice(3, 3)):
            part = augmentation.draw(keys(700)[rows], height=32, width=32)
            assert part.ops.equal(whole.ops[rows])
            assert part.args.equal(whole.args[rows])
            assert part.pure == whole.pure
            assert part.weights is None or (whole.weights is not None and part.weights.equal(whole.weights[rows]))


def test_a_drawn_program_can_be_run_again() -> None:
    images = photos(50, 3, 32, 32)
    for augmentation in (AugMix(), RandomChain()):
        program = augmentation.draw(keys(50), height=32, width=32)
        assert apply(images, program).equal(augmentation(images, keys=keys(50)))


@pytest.mark.parametrize("source", [photos, digits, noise])
def test_mixtures_lie_between_image_and_chains(source: Callable[..., Tensor]) -> None:
    images = source(60, 3, 32, 32)
    program = AugMix(ops="all").draw(keys(60), height=32, width=32)
    mixed = apply(images, program)
    parts = [images] + [
        apply(images, Program(program.ops[:, chain : chain + 1], program.args[:, chain : chain + 1]))
        for chain in range(3)
    ]
    low, high = (side / 255 for side in torch.stack(parts).float().aminmax(dim=0))
    assert bool(((mixed >= low - 1e-6) & (mixed <= high + 1e-6)).all())
    assert mixed.dtype == torch.float32
    w = weights(program)
    expected = torch.stack(parts[1:], 1).double().mul(w[:, :, None, None, None]).sum(1)
    expected += images * (1 - w.sum(1))[:, None, None, None]
    torch.testing.assert_close(mixed.double(), expected / 255, atol=1e-6, rtol=0)


def test_mixing_and_standardizing_commute() -> None:
    images = photos(20, 3, 32, 32)
    program = AugMix().draw(keys(20), height=32, width=32)
    mean, sd = (
        torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    chains = [
        apply(images, Program(program.ops[:, k : k + 1], program.args[:, k : k + 1])).double() / 255 for k in range(3)
    ]
    w = weights(program)[:, :, None, None, None]
    standardized = (1 - w.sum(1)) * (images.double() / 255 - mean) / sd
    standardized += sum(w[:, k] * (chain - mean) / sd for k, chain in enumerate(chains))
    torch.testing.assert_close((apply(images, program).double() - mean) / sd, standardized, atol=1e-5, rtol=0)


def test_images_that_no_chain_changes_come_back_exactly() -> None:
    """Every value of a pixel: the mixture of an image with itself is the image, not the image and rounding."""
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(100, -1, -1, -1)
    program = AugMix().draw(keys(100), height=16, width=16)
    still = Program(torch.full_like(program.ops, OPS["rotate"].code), torch.zeros_like(program.args), program.weights)
    flipped = Program(torch.full_like(program.ops[..., :2], OPS["flip"].code), program.args[:, :, :2], program.weights)
    for chosen in (still, flipped):
        assert apply(images, chosen).equal(images.float() / 255)


def test_one_random_chain_is_the_chain_of_a_program() -> None:
    images = photos(30, 3, 32, 32)
    program = RandomChain(severity=5, ops="all").draw(keys(30), height=32, width=32)
    assert program.pure
    assert program.ops.shape[1] == 1
    made = RandomChain(severity=5, ops="all")(images, keys=keys(30))
    assert made.dtype == torch.uint8
    assert made.equal(apply(images, program))
    assert RandomChain(severity=5, ops="all")(images.float() / 255, keys=keys(30)).equal(made.float() / 255)


def test_severity_and_depth_reach_the_draw() -> None:
    slopes = [
        drawn(AugMix(severity=s, depth=1), 5000).args[drawn(AugMix(severity=s, depth=1), 5000).ops == 6].abs().max()
        for s in (1, 3, 7.5)
    ]
    assert slopes == pytest.approx([0.03, 0.09, 0.225], rel=0.02)
    assert drawn(AugMix(depth=5), 100).ops.shape == (100, 3, 5)
    assert bool((drawn(AugMix(depth=5), 100).ops > 0).all())
    assert drawn(AugMix(width=7), 100).ops.shape == (100, 7, 3)
    assert set(AUGMIX_LEVELS.ranges) >= set(OP_SETS["all"]) - {"autocontrast", "equalize"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"severity": 0.5}, "severity: got 0.5, expected a number from 1 to 10"),
        ({"severity": 10.5}, "severity"),
        ({"severity": float("nan")}, "severity"),
        ({"width": 0}, "width: got 0, expected at least 1 chain"),
        ({"depth": 0}, "depth: got 0"),
        ({"alpha": 0.0}, "alpha: got 0.0, expected a number above 0"),
        ({"alpha": float("inf")}, "alpha"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AugMix(**settings)  # type: ignore[arg-type]
    if not {"width", "alpha"} & set(settings):
        with pytest.raises(InputError, match=message):
            RandomChain(**settings)  # type: ignore[arg-type]


def test_unknown_sets_of_operations_are_refused() -> None:
    with pytest.raises(InputError, match="unknown set of operations 'al': did you mean 'all'"):
        check_chains(3, None, "al")
