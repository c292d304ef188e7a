"""The laws that draws follow.

Each statistical check fails by chance with probability 1e-6 or less; keys are fixed, so outcomes never change.
"""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from elinvar.mixing import (
    METHODS,
    BCPlus,
    CutMix,
    HorizontalConcat,
    Method,
    MixedConcat,
    Mixup,
    NoisyMixup,
    Random2x2,
    RandomColumnInterval,
    RandomColumns,
    RandomElements,
    RandomPixels,
    RandomRowInterval,
    RandomRows,
    RandomSquare,
    VerticalConcat,
    VHBCPlus,
    VHMixup,
)
from elinvar.mixing.base import FIRST, BetaMethod, beta
from elinvar.mixing.compiled.draws import uniform as uniform_compiled
from elinvar.mixing.maps import Patch, Quarters
from elinvar.rng import uniform

from .conftest import keys

COUNT = 40_000
SIZE = (3, 32, 32)
CHANCE = 1e-6
# A mean of n draws is farther than this many standard errors from what is expected with probability below 1e-6.
FAR = 4.9


def weights(method: Method, size: tuple[int, int, int] = SIZE, count: int = COUNT) -> NDArray[np.float64]:
    drawn = method.plan(keys(count), size)
    label = drawn.map.mean(size) if drawn.label is None else drawn.label
    return label.double().numpy()


def close(values: NDArray[np.float64], mean: float) -> bool:
    return bool(abs(values.mean() - mean) < FAR * values.std() / len(values) ** 0.5)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 1.7, 8.0, 200.0])
def test_lambda_is_beta(alpha: float) -> None:
    u = uniform(keys(COUNT), 2)
    drawn = beta(u[:, 0], u[:, 1], alpha)
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1
    if alpha < 0.1:  # much lies closer to the ends than float64 tells apart at 1: compare how much lies where
        cells = np.histogram(drawn.numpy(), [0, 1e-12, 1e-3, 0.5, 1 - 1e-3, 1 - 1e-12, 1])[0]
        expected = COUNT * np.diff(stats.beta.cdf([0, 1e-12, 1e-3, 0.5, 1 - 1e-3, 1 - 1e-12, 1], alpha, alpha))
        assert stats.chisquare(cells, expected).pvalue > CHANCE
    else:
        assert stats.kstest(drawn.numpy(), stats.beta(alpha, alpha).cdf).pvalue > CHANCE


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.7, 8.0])
def test_beta_is_finite_at_the_corners(alpha: float) -> None:
    ends = torch.tensor([0, 2**-53, 0.25, 0.5, 0.75, 1 - 2**-53], dtype=torch.float64)
    u, v = torch.cartesian_prod(ends, ends).unbind(1)
    drawn = beta(u, v, alpha)
    assert bool(((drawn >= 0) & (drawn <= 1)).all())


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if issubclass(kind, BetaMethod)])
@pytest.mark.parametrize("alpha", [0.3, 3.0])
def test_alpha_reaches_every_lambda(name: str, alpha: float) -> None:
    """By its variance, 1 / (4 (2 alpha + 1)), in the weight of a map that depends on nothing else."""
    kind = METHODS[name]
    assert issubclass(kind, BetaMethod)
    drawn = kind(alpha=alpha).lambdas(uniform(keys(COUNT), kind.draws, FIRST))
    squares = (drawn.numpy() - 0.5) ** 2
    assert close(squares, 1 / (4 * (2 * alpha + 1)))
    wide, narrow = (weights(kind(alpha=value), (3, 8, 8), 4000) for value in (0.3, 3.0))
    assert wide.std() > 1.15 * narrow.std()


E_AREA = (1 - 1 / 32) / 2  # E[floor(32 U)] / 32
ROOTS = np.floor(np.sqrt(1 - (np.arange(100_000) + 0.5) / 100_000) * 32) // 2


def square(half: NDArray[np.float64]) -> float:
    """E of the area of a square of 2 `half`, cut off at the borders of 32 x 32, center uniform."""
    center = np.arange(32)[:, None]
    side = (np.minimum(center + half, 32) - np.maximum(center - half, 0)).mean(0)
    return float((side**2).mean()) / 32**2


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (Mixup(), 0.5),
        (Mixup(0.2), 0.5),
        (BCPlus(), 0.5),
        (VerticalConcat(), 0.484375),
        (HorizontalConcat(), 0.484375),
        (VerticalConcat(label="lambda"), 0.5),
        (HorizontalConcat(label="lambda"), 0.5),
        (MixedConcat(), E_AREA**2 + (1 - E_AREA) ** 2),
        (MixedConcat(label="lambda"), 0.5),
        (Random2x2(), 0.5),
        (VHMixup(), E_AREA),
        (VHMixup(label="lambda"), 0.5),
        (VHBCPlus(), E_AREA),
        (VHBCPlus(label="lambda"), 0.5),
        (RandomSquare(), 1 - (14 / 32) ** 2),
        (RandomColumnInterval(), 1 - 7.75 / 32),
        (RandomRowInterval(), 1 - 7.75 / 32),
        (RandomColumnInterval(inclusive=True), 1 - 8.75 / 32),
        (RandomRowInterval(inclusive=True), 1 - 8.75 / 32),
        (RandomRows(), 0.5),
        (RandomColumns(0.3), 0.5),
        (RandomPixels(label="lambda"), 0.5),
        (RandomElements(label="lambda"), 0.5),
        (NoisyMixup(), 0.5),
        (CutMix(), 1 - square(ROOTS)),
    ],
    ids=str,
)
def test_expectation_of_each_label_weight(method: Method, expected: float) -> None:
    assert close(weights(method), expected)


@pytest.mark.parametrize(
    ("method", "draws"),
    [(RandomRows(), 10), (RandomColumns(), 6), (RandomPixels(), 60), (RandomElements(), 180)],
    ids=str,
)
def test_numbers_from_the_first_image_are_uniform(method: Method, draws: int) -> None:
    """A mixture of binomials over a uniform probability: every number from 0 to all is as probable."""
    counts = np.bincount((weights(method, (3, 10, 6)) * draws).round().astype(int), minlength=draws + 1)
    assert len(counts) == draws + 1
    assert stats.chisquare(counts).pvalue > CHANCE


@pytest.mark.parametrize("method", [RandomRows(), RandomColumns(), RandomPixels(), RandomElements()], ids=str)
def test_lines_decide_independently(method: Method) -> None:
    """Given lambda: neighbours agree as often as chance has it."""
    plan = method.plan(keys(1500), SIZE)
    label = uniform(keys(1500), 1, FIRST)[:, 0].numpy()
    mask = plan.map.dense(SIZE).double().flatten(1).numpy()
    agree = (mask[:, 1:] == mask[:, :-1]).mean(1)
    assert close(agree - (label**2 + (1 - label) ** 2), 0.0)
    later = (mask[:, 7:] * mask[:, :-7]).mean(1)
    assert close(later - label**2, 0.0)


def uniform_over(values: Tensor, count: int) -> bool:
    cells = torch.bincount(values, minlength=count).numpy()
    return len(cells) == count and (count == 1 or bool(stats.chisquare(cells).pvalue > CHANCE))


def test_cuts_of_random_2x2_lie_in_the_middle() -> None:
    for size in ((3, 32, 32), (1, 20, 9)):
        drawn = Random2x2().plan(keys(COUNT), size).map
        assert isinstance(drawn, Quarters)
        for cut, length in ((drawn.rows, size[1]), (drawn.columns, size[2])):
            assert uniform_over(cut - length // 4, 3 * length // 4 - length // 4)
        flags = drawn.weights.sum(1).long()
        assert uniform_over(flags, 5)  # of four, with one uniform probability


def test_patches_lie_and_come_from_everywhere() -> None:
    plan = RandomSquare().plan(keys(COUNT), SIZE).map
    assert isinstance(plan, Patch)
    assert plan.shift is not None
    sides = plan.end - plan.begin
    assert int(sides.min()) == 8
    assert int(sides.max()) == 16
    assert close((sides[:, 0]).double().numpy(), 14.0)
    inner = (sides == 16).all(1)
    for axis in range(2):
        assert uniform_over(plan.begin[inner, axis], 17)  # centers 8 to 24
        source = (plan.begin + plan.shift)[inner, axis]
        assert uniform_over(source, 17)  # 0 to 16: the last place, too
    low, high = plan.begin + plan.shift, plan.end + plan.shift
    assert int(low.min()) >= 0
    assert int(high.max()) <= 32


@pytest.mark.parametrize("size", [3, 5, 40])
def test_squares_of_any_size_fit(size: int) -> None:
    plan = RandomSquare(size).plan(keys(2000), (3, 12, 31)).map
    assert isinstance(plan, Patch)
    assert plan.shift is not None
    assert bool((plan.begin >= 0).all())
    assert bool((plan.end <= torch.tensor([12, 31])).all())
    assert bool((plan.end > plan.begin).all())
    assert bool((plan.begin + plan.shift >= 0).all())
    assert bool((plan.end + plan.shift <= torch.tensor([12, 31])).all())
    assert int((plan.end - plan.begin).max()) == min(size, 31)


@pytest.mark.parametrize("inclusive", [False, True])
def test_intervals(inclusive: bool) -> None:
    bound = 8
    plan = RandomColumnInterval(inclusive=inclusive).plan(keys(COUNT), (3, 5, bound)).map
    assert isinstance(plan, Patch)
    assert plan.shift is not None
    begin, end, source = plan.begin[:, 1], plan.end[:, 1], (plan.begin + plan.shift)[:, 1]
    assert uniform_over(begin, bound)
    assert bool((plan.end[:, 0] == 5).all())
    assert int(end.max()) == (bound if inclusive else bound - 1)
    assert int((end - begin).min()) == int(inclusive)
    for first in range(bound):
        assert uniform_over(end[begin == first] - first - int(inclusive), bound - first)
    for length in range(1, 4):
        assert uniform_over(source[end - begin == length], bound - length + int(inclusive))


def test_noise_is_normal_and_cut_off() -> None:
    for sigma, mean in ((0.025**0.5, 0.0631), (0.025, 0.00997)):
        zero = NoisyMixup(sigma=sigma).draw(torch.zeros(300, 2).double(), keys(300), (3, 20, 21)).map
        dense = zero.dense((3, 20, 21)).double().numpy().ravel()
        assert close(dense, sigma / np.sqrt(2 * np.pi))
        assert dense.mean() == pytest.approx(mean, rel=0.02)
    half = NoisyMixup(sigma=0.05).draw(torch.full((300, 2), 0.5).double(), keys(300), (3, 21, 21)).map
    values = (half.dense((3, 21, 21)).double().numpy().reshape(300, -1) - 0.5) / 0.05
    assert stats.kstest(values.ravel(), "norm").pvalue > CHANCE
    for step in (1, 21, 221):  # beside, below, and the other half of a pair
        assert close((values[:, step:] * values[:, :-step]).mean(1), 0.0)


def clipped(level: float, sigma: float) -> float:
    a, b = -level / sigma, (1 - level) / sigma
    inside = level * (stats.norm.cdf(b) - stats.norm.cdf(a)) + sigma * (stats.norm.pdf(a) - stats.norm.pdf(b))
    return float(inside + 1 - stats.norm.cdf(b))


@pytest.mark.parametrize("level", [0.1, 0.4, 0.97])
def test_noise_keeps_the_mean_that_clipping_leaves(level: float) -> None:
    drawn = NoisyMixup().draw(torch.full((200, 2), level).double(), keys(200), (3, 24, 24))
    assert close(drawn.map.dense((3, 24, 24)).double().flatten(1).mean(1).numpy(), clipped(level, 0.025**0.5))
    assert drawn.label is not None
    assert drawn.label.tolist() == pytest.approx([level] * 200)


@pytest.mark.parametrize("count", [1, 3, 9])
def test_compiled_draws_are_those_of_rng(count: int) -> None:
    assert uniform_compiled(keys(100), count).equal(uniform(keys(100), count))


def test_equal_keys_draw_equally_wherever_they_stand() -> None:
    for name, kind in METHODS.items():
        dense = kind().plan(keys(3).repeat(2), SIZE).map.dense(SIZE)
        assert dense[:3].equal(dense[3:]), name
