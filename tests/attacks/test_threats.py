"""Projections are exact in real arithmetic, starts are uniform, directions are steepest."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from elinvar.attacks import L2, THREATS, Linf, Threat, threat
from elinvar.attacks.exact import below, toward, within
from elinvar.check import InputError

from .nets import images, keys

EDGES = (0.0, 1.0, 0.5, 1e-9, 1e-30, 1e-45, 2.0**-24, 1 - 2.0**-24, 8 / 255, 1 / 3)


def exactly(tensor: Tensor) -> list[Fraction]:
    return [Fraction(value) for value in tensor.flatten().tolist()]


def draw(count: int, size: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Images of random values and of awkward ones."""
    generator = torch.Generator().manual_seed(seed)
    made = torch.rand(count, 1, size, size, generator=generator, dtype=torch.float64)
    made **= torch.tensor([1.0, 3.0, 9.0])[torch.randint(0, 3, made.shape, generator=generator)]
    edges = torch.tensor(EDGES, dtype=torch.float64)[torch.randint(0, len(EDGES), made.shape, generator=generator)]
    return torch.where(torch.rand(made.shape, generator=generator) < 0.3, edges, made).to(dtype)


def assert_inside(kind: Threat, points: Tensor, near: Tensor) -> None:
    """In rational arithmetic: floating point numbers are taken as what they are."""
    for one, other in zip(points, near, strict=True):
        moves = [abs(a - b) for a, b in zip(exactly(one), exactly(other), strict=True)]
        if isinstance(kind, Linf):
            assert max(moves) <= Fraction(kind.eps)
        else:
            assert sum(move**2 for move in moves) <= Fraction(kind.eps) ** 2
    assert points.min() >= 0
    assert points.max() <= 1


@settings(deadline=None, max_examples=80)
@given(
    norm=st.sampled_from(sorted(THREATS)),
    eps=st.one_of(st.sampled_from([0.0, 8 / 255, 0.03, 1.0, 3.0]), st.floats(1e-12, 2.0)),
    far=st.sampled_from([0.0, 1e-9, 1.0, 30.0, 1e6]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 2**32),
)
def test_projections_are_inside_exactly(norm: str, eps: float, far: float, dtype: torch.dtype, seed: int) -> None:
    near = draw(3, 4, dtype, seed)
    kind = threat(norm, eps)
    noise = torch.randn(near.shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    inside = kind.around(near, (0.0, 1.0))
    points = inside(near + (eps + far) * noise)
    assert_inside(kind, points, near)
    again = inside(points.clone())
    assert_inside(kind, again, near)
    if isinstance(kind, Linf):
        assert torch.equal(again, points)
    if not eps:
        assert torch.equal(points, near)


@settings(deadline=None, max_examples=60)
@given(eps=st.floats(1e-6, 0.5), dtype=st.sampled_from([torch.float32, torch.float64]), seed=st.integers(0, 2**32))
def test_the_interval_is_the_largest_one(eps: float, dtype: torch.dtype, seed: int) -> None:
    """One number farther out is outside of what `below(eps)` allows, or of the image range."""
    near = draw(2, 4, dtype, seed)
    radius = Fraction(below(eps, dtype))
    inside = Linf(eps).around(near, (0.0, 1.0))
    for end, way in ((1e3, math.inf), (-1e3, -math.inf)):
        edge = inside(near + end)
        beyond = torch.nextafter(edge, torch.tensor(way, dtype=dtype))
        for value, origin in zip(exactly(beyond), exactly(near), strict=True):
            assert abs(value - origin) > radius or not 0 <= value <= 1


def test_points_that_are_inside_stay() -> None:
    near = images(5) * 0.5 + 0.25
    noise = torch.randn(near.shape, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    points = near + 0.02 * noise
    assert torch.equal(Linf(0.0201).around(near, (0.0, 1.0))(points.clone()), points)
    kept = L2(10.0).around(near, (0.0, 1.0))(points.clone())
    torch.testing.assert_close(kept, points, rtol=0, atol=2e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_black_images_lose_nothing_to_rounding_and_stay_inside(dtype: torch.dtype) -> None:
    """Sums with zero are exact: only the norm's own rounding is left, which goes either way."""
    near = torch.zeros(500, 1, 3, 3, dtype=dtype)
    noise = torch.rand(near.shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    assert_inside(L2(0.7), L2(0.7).around(near, (0.0, 1.0))(near + 5 * noise), near)


def test_far_points_come_to_the_surface() -> None:
    near = images(4, dtype=torch.float64)[3:] * 0.2 + 0.4
    noise = torch.randn(near.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for eps in (0.1, 1.0):
        moved = L2(eps).around(near, (0.0, 1.0))(near + 9 * noise) - near
        torch.testing.assert_close(moved, eps * noise / noise.norm())
    for dtype, short in ((torch.float32, 2e-6), (torch.float64, 1e-13)):
        size = L2(0.5).size(L2(0.5).around(near.to(dtype), (0.0, 1.0))((near + noise).to(dtype)) - near.to(dtype))
        assert 0.5 * (1 - short) <= size.item() <= 0.5


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), size=st.floats(1e-8, 4.0), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_sums_are_rounded_toward_the_image(seed: int, size: float, dtype: torch.dtype) -> None:
    near = draw(2, 4, dtype, seed)
    moves = (size * torch.randn(near.shape, generator=torch.Generator().manual_seed(seed))).to(dtype)
    for total, x, move in zip(exactly(toward(near, moves)), exactly(near), exactly(moves), strict=True):
        assert abs(total - x) <= abs(move)
        assert (total - x) * move >= 0


def test_plain_sums_do_leave_the_ball() -> None:
    """What the exact projection is for: rounding alone puts many values outside."""
    near = torch.arange(256) / 255
    radius = torch.tensor([-1.0, 1.0]).unsqueeze(1) * below(0.03, torch.float32)
    outside = ((near + radius).double() - near.double()).abs() > radius.double().abs()
    assert outside.float().mean() > 0.1


@pytest.mark.parametrize("value", [8 / 255, 0.1, 1 / 3, 0.03, 1.0, 0.0, -0.1])
def test_below_is_the_nearest_number_not_above(value: float) -> None:
    found = below(value, torch.float32)
    up = torch.nextafter(torch.tensor(found), torch.tensor(math.inf)).item()
    assert found <= value < up
    assert within((value, value + 1), torch.float32) == tuple(torch.tensor([value, value + 1]).tolist())


def test_starts_are_uniform_in_the_interval() -> None:
    """Kolmogorov-Smirnov on 30,000 values; fails a right start once in a million keys."""
    near = torch.zeros(100, 3, 10, 10)
    start = Linf(0.03).start(near, keys(100))
    assert start.abs().max() <= 0.03 * (1 + 1e-6)
    found = stats.kstest(start.flatten().double().numpy(), stats.uniform(-0.03, 0.06).cdf)
    assert found.pvalue > 1e-6
    assert len(set(start.flatten().tolist())) > 29_000


def test_starts_are_uniform_in_the_euclidean_ball() -> None:
    """Radii by Kolmogorov-Smirnov, and so the coordinate of a ball in three dimensions, whose density is a parabola.

    Two tests; they fail a right start twice in a million keys.
    """
    start = L2(0.5).start(torch.zeros(20_000, 3, 1, 1), keys(20_000)).double().flatten(1)
    radius = start.norm(dim=1) / 0.5
    assert radius.max() <= 1 + 1e-6
    assert stats.kstest((radius**3).numpy(), "uniform").pvalue > 1e-6
    along = (start @ torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)) / 0.5
    assert stats.kstest(along.numpy(), stats.beta(2, 2, loc=-1, scale=2).cdf).pvalue > 1e-6


@pytest.mark.parametrize("norm", sorted(THREATS))
def test_starts_are_the_examples_own(norm: str) -> None:
    near, kind = images(7), threat(norm, 0.3)
    whole = kind.start(near, keys(7))
    assert torch.equal(kind.start(near[[5, 2]], keys(7)[[5, 2]]), whole[[5, 2]])
    assert not torch.equal(kind.start(near, keys(7, 1)), whole)


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1.0, 1e30])
@pytest.mark.parametrize("norm", sorted(THREATS))
def test_directions_have_norm_1_whatever_the_gradients_size(norm: str, scale: float) -> None:
    gradient = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0)) * scale
    kind = threat(norm, 1.0)
    direction = kind.direction(gradient.clone())
    rough = 0.05 if scale < 1e-38 else 1e-6  # below the normal numbers few digits are left
    torch.testing.assert_close(kind.size(direction), torch.ones(3, dtype=torch.float64), rtol=rough, atol=0)
    assert (direction * gradient.sign()).min() >= 0


@pytest.mark.parametrize("norm", sorted(THREATS))
def test_gradients_that_say_nothing_move_nothing(norm: str) -> None:
    gradient = torch.zeros(3, 1, 2, 2)
    gradient[1, 0, 0, 0], gradient[2, 0, 1, 1] = torch.nan, -torch.inf
    direction = threat(norm, 1.0).direction(gradient)
    assert not direction[:2].any()
    assert direction[2, 0, 1, 1] == -1
    assert direction.isfinite().all()


def test_directions_are_the_steepest_of_their_norm() -> None:
    gradient = torch.randn(1, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    others = torch.randn(200, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    for norm in THREATS:
        kind = threat(norm, 1.0)
        rivals = others / kind.size(others).float().view(-1, 1, 1, 1)
        rise = (kind.direction(gradient.clone()) * gradient).sum()
        assert rise > (rivals * gradient).sum((1, 2, 3)).max()


@pytest.mark.parametrize("eps", [-0.1, math.nan, math.inf])
def test_refuses_an_eps_that_is_no_radius(eps: float) -> None:
    with pytest.raises(InputError, match="eps: got"):
        Linf(eps)


def test_refuses_an_unknown_norm() -> None:
    with pytest.raises(InputError, match="did you mean 'linf'"):
        threat("linff", 0.1)
