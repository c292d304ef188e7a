"""Noise by law. Error rates are per test, over the choice of the fixed keys."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from elinvar.shift import LEVELS, SEVERITY, corrupt
from elinvar.shift.noise import poisson_tables

from .backend import by_tensors, draws
from .images import keys, pictures

GREY = torch.full((200, 3, 32, 32), 128 / 255, dtype=torch.float64)


@pytest.mark.parametrize("severity", LEVELS)
def test_gaussian_noise_law(severity: int) -> None:
    """Kolmogorov-Smirnov and variance on 614,400 entries, channels uncorrelated: level .001 each."""
    (sigma,) = SEVERITY["gaussian_noise"].level(severity, 32, 32)
    z = ((corrupt(GREY, "gaussian_noise", severity, keys=keys(200)) - GREY) / sigma).numpy()
    assert scipy.stats.kstest(z.ravel(), "norm").pvalue > 0.001
    low, high = scipy.stats.chi2.interval(0.999, z.size)
    assert low < (z**2).sum() < high
    assert abs((z[:, 0] * z[:, 1]).mean()) * math.sqrt(z[:, 0].size) < scipy.stats.norm.isf(0.0005)


def test_severities_draw_independently() -> None:
    """With the same keys, noise of two severities is uncorrelated: level .001."""
    one, two = (corrupt(GREY, "gaussian_noise", s, keys=keys(200)) - GREY for s in (1, 5))
    correlation = (one * two).mean() / (one.std() * two.std())
    assert abs(correlation) * math.sqrt(GREY.numel()) < scipy.stats.norm.isf(0.0005)


@pytest.mark.parametrize("severity", LEVELS)
@pytest.mark.parametrize("level", [0, 1, 37, 128, 254])
def test_shot_noise_is_the_poisson_quantile(severity: int, level: int) -> None:
    """Exact: count = quantile of the first uniform, for whole grey levels as bytes and as float32."""
    (photons,) = SEVERITY["shot_noise"].level(severity, 32, 32)
    images = torch.full((4, 3, 32, 32), level, dtype=torch.uint8)
    u = draws(keys(4), "shot_noise", severity, 3 * 32 * 32)
    expected = scipy.stats.poisson.ppf(u, level / 255 * photons) / photons if level else np.zeros_like(u)
    expected = np.minimum(expected, 1).reshape(images.shape)
    for float_images in (images.double() / 255, (images.float() / 255).double()):
        got = corrupt(float_images, "shot_noise", severity, keys=keys(4)).numpy()
        assert np.abs(got - expected).max() < 1e-12


@pytest.mark.parametrize("value", [0.0013, 0.3 / 255, 77.5 / 255, 0.9876])
@pytest.mark.parametrize("severity", LEVELS)
def test_shot_noise_law_between_grey_levels(severity: int, value: float) -> None:
    """Chi-square on 614,400 counts in bins of at least 20: level .001 each."""
    (photons,) = SEVERITY["shot_noise"].level(severity, 32, 32)
    images = torch.full((200, 3, 32, 32), value, dtype=torch.float64)
    law = scipy.stats.poisson(value * photons)
    counts = (corrupt(images, "shot_noise", severity, keys=keys(200, seed=6)) * photons).numpy().round().astype(int)
    entries = counts.size
    top = int(min(photons, law.ppf(1 - 20 / entries)))  # counts above `photons` are stored as white
    bottom = int(law.ppf(20 / entries))
    cells = np.clip(counts.ravel(), bottom, top) - bottom
    observed = np.bincount(cells, minlength=top - bottom + 1)
    expected = law.pmf(np.arange(bottom, top + 1))
    expected[0], expected[-1] = law.cdf(bottom), law.sf(top - 1)
    assert scipy.stats.chisquare(observed, expected / expected.sum() * entries).pvalue > 0.001
    assert torch.equal(
        corrupt(images[:3], "shot_noise", severity, keys=keys(3)),
        by_tensors(images[:3], "shot_noise", severity, keys(3)),
    )


def test_shot_noise_variance() -> None:
    """x / c on mid-grey, within four standard errors."""
    for severity in LEVELS:
        (photons,) = SEVERITY["shot_noise"].level(severity, 32, 32)
        noise = corrupt(GREY, "shot_noise", severity, keys=keys(200)) - GREY
        assert noise.var().item() == pytest.approx(128 / 255 / photons, rel=4 * math.sqrt(2.1 / noise.numel()))


def test_poisson_tables_are_complete() -> None:
    distribution, guide = poisson_tables(500.0)
    assert (distribution[:, -1] > 1 - 2.0**-53).all()
    assert (np.diff(distribution, axis=1) >= 0).all()
    rows = np.arange(256)[:, None]
    starts = np.arange(256) / 256
    assert (distribution[rows, guide] > starts).all()
    assert (distribution[rows, guide - 1] <= starts)[guide > 0].all()


@pytest.mark.parametrize("severity", LEVELS)
def test_impulse_noise_law(severity: int) -> None:
    """Rate and balance within the .999 binomial interval; channels fall independently; the rest stays as it was."""
    (rate,) = SEVERITY["impulse_noise"].level(severity, 32, 32)
    images = pictures(200).clamp(1, 254)
    result = corrupt(images, "impulse_noise", severity, keys=keys(200))
    spoiled = result != images
    assert set(result[spoiled].tolist()) == {0, 255}
    low, high = scipy.stats.binom.interval(0.999, images.numel(), rate)
    assert low <= int(spoiled.sum()) <= high
    low, high = scipy.stats.binom.interval(0.999, int(spoiled.sum()), 0.5)
    assert low <= int((result[spoiled] == 255).sum()) <= high
    both = (spoiled[:, 0] & spoiled[:, 1]).sum().item()
    low, high = scipy.stats.binom.interval(0.999, spoiled[:, 0].numel(), rate**2)
    assert low <= both <= high


LARGE = torch.full((14, 3, 120, 120), 0.5, dtype=torch.float64)  # of this size on: the constants of ImageNet-C


@pytest.mark.parametrize("severity", LEVELS)
def test_gaussian_noise_law_of_large_images(severity: int) -> None:
    """Strong noise reaches black and white: how often (binomial), and the law in between: level .001 each."""
    (sigma,) = SEVERITY["gaussian_noise"].level(severity, 120, 120)
    result = corrupt(LARGE, "gaussian_noise", severity, keys=keys(14)).numpy().ravel()
    end = 0.5 / sigma
    for limit in (0.0, 1.0):
        low, high = scipy.stats.binom.interval(0.999, result.size, scipy.stats.norm.sf(end))
        assert low <= (result == limit).sum() <= high
    inside = (result[(result > 0) & (result < 1)] - 0.5) / sigma
    assert scipy.stats.kstest(inside, scipy.stats.truncnorm(-end, end).cdf).pvalue > 0.001


@pytest.mark.parametrize("severity", LEVELS)
@pytest.mark.parametrize("level", [1, 128, 254])
def test_shot_noise_of_large_images_is_the_poisson_quantile(severity: int, level: int) -> None:
    (photons,) = SEVERITY["shot_noise"].level(severity, 120, 120)
    images = torch.full((2, 3, 120, 120), level / 255, dtype=torch.float64)
    u = draws(keys(2), "shot_noise", severity, 3 * 120 * 120)
    expected = np.minimum(scipy.stats.poisson.ppf(u, level / 255 * photons) / photons, 1).reshape(images.shape)
    assert np.abs(corrupt(images, "shot_noise", severity, keys=keys(2)).numpy() - expected).max() < 1e-12


@pytest.mark.parametrize("severity", LEVELS)
def test_impulse_noise_rate_of_large_images(severity: int) -> None:
    (rate,) = SEVERITY["impulse_noise"].level(severity, 120, 120)
    result = corrupt(LARGE, "impulse_noise", severity, keys=keys(14))
    for limit in (0.0, 1.0):
        low, high = scipy.stats.binom.interval(0.999, LARGE.numel(), rate / 2)
        assert low <= int((result == limit).sum()) <= high
    assert set(result.flatten().tolist()) == {0.0, 0.5, 1.0}
