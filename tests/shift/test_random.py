"""Compiled draws: the bits of `elinvar.rng`, elementary functions to the last place, the normal law."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from elinvar.rng import streams, uniform
from elinvar.shift.draws import normal
from elinvar.shift.kernels import random


@pytest.mark.parametrize("start", [0, 1, 7, 3071, 2**40])
def test_uniform_draws_are_those_of_the_library(start: int) -> None:
    own = torch.cat([streams(5, torch.arange(20)), torch.tensor([0, 1, -1, 2**63 - 1, -(2**63)])])
    expected = uniform(own, 129, start).numpy()
    got = np.empty((len(own), 129))
    for row, stream in zip(got, own.numpy().view(np.uint64), strict=True):
        random.fill_uniform(stream, start, row)
    assert np.array_equal(got, expected)
    assert random.uniform(own.numpy().view(np.uint64)[3], start) == expected[3, 0]


def test_logarithm_and_circle() -> None:
    u = uniform(streams(0, torch.arange(1)), 5000)[0].tolist()
    for v in [*(1 - x for x in u), 2.0**-53, 1.0, 1 - 2.0**-53, 0.5, math.sqrt(0.5), *(2.0**-k for k in range(53))]:
        assert random._log(v) == pytest.approx(math.log(v), rel=4e-16, abs=1e-300)
    for turn in [*u, 0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1 - 2.0**-53]:
        expected = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
        assert random._cos_sin_turn(turn) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 3072, 3073])
def test_both_back_ends_draw_the_same_normals(count: int) -> None:
    own = streams(9, torch.arange(5))
    expected = normal(own, count, start=11).numpy()
    got = np.empty((5, count))
    for row, stream in zip(got, own.numpy().view(np.uint64), strict=True):
        random.fill_normal(stream, 11, row)
    assert np.abs(got - expected).max() < 1e-13


def test_normals_are_normal() -> None:
    """Kolmogorov-Smirnov on 200,000 draws, moments, independence of neighbours: three tests at level .001 each."""
    z = normal(streams(12, torch.arange(2000)), 100).numpy()
    assert scipy.stats.kstest(z.ravel(), "norm").pvalue > 0.001
    bound = scipy.stats.norm.isf(0.0005)
    assert abs(z.mean()) * math.sqrt(z.size) < bound
    pairs = (z[:, :50] * z[:, 50:]).ravel()  # cosine and sine of one pair
    assert abs(pairs.mean()) * math.sqrt(pairs.size) < bound
