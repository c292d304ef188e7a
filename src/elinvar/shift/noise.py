"""Gaussian, shot, impulse and speckle noise: every pixel and channel is disturbed independently of all others."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from torch import Tensor

from ..rng import uniform
from .draws import normal
from .frame import Frame

# Grey levels nearer than this to an integer count as that integer: float32 images of u / 255 are as exact as uint8 u.
SNAP = 2.0**-15
GUIDE_SLOTS = 256


def gaussian_noise(
    x: Float64[Tensor, "n c h w"], streams: Int64[Tensor, " n"], sigma: float
) -> Float64[Tensor, "n c h w"]:
    """x / 255 + sigma z, z standard normal. Draws: `normal` of all entries in channel, row, column order from 0."""
    noise = normal(streams, x[0].numel()).view_as(x)
    return (x / 255 + sigma * noise) * 255


def speckle_noise(
    x: Float64[Tensor, "n c h w"], streams: Int64[Tensor, " n"], sigma: float
) -> Float64[Tensor, "n c h w"]:
    """x (1 + sigma z), z standard normal: noise in proportion to the light. Draws: as those of Gaussian noise."""
    noise = normal(streams, x[0].numel()).view_as(x)
    return x * (1 + sigma * noise)


def impulse_noise(
    x: Float64[Tensor, "n c h w"], streams: Int64[Tensor, " n"], rate: float
) -> Float64[Tensor, "n c h w"]:
    """White (255) where u < rate / 2, black (0) where u < rate, one u for each entry; channels fall independently."""
    u = uniform(streams, x[0].numel()).view_as(x)
    return torch.where(u < rate, torch.where(u < 0.5 * rate, 255.0, 0.0), x)


@lru_cache(maxsize=16)
def poisson_tables(photons: float) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Distribution functions F of Poisson counts of mean photons * g / 255 for g = 0..255, and where to start in them.

    F[g, k] = P(count <= k), up to a k beyond which less than 2**-53 is left. `guide[g, s]` is the smallest k with
    F[g, k] > s / 256, from which a search for a uniform in [s / 256, (s + 1) / 256) takes two steps on average.
    """
    from scipy.special import pdtr

    largest = int(np.ceil(photons + 9 * np.sqrt(photons) + 25))
    means = np.arange(256)[:, None] / 255 * photons
    distribution = np.maximum.accumulate(pdtr(np.arange(largest + 1.0)[None], means), axis=1)
    starts = np.arange(GUIDE_SLOTS) / GUIDE_SLOTS
    guide = np.stack([np.searchsorted(row, starts, side="right") for row in distribution])
    return distribution, np.minimum(guide, largest).astype(np.int32)


def plan_shot_noise(
    level: tuple[float, ...], frame: Frame
) -> tuple[float, NDArray[np.float64], NDArray[np.int32], float]:
    (photons,) = level
    return photons, *poisson_tables(photons), SNAP


def _above(u: Float64[Tensor, "*entries"], rows: Float64[Tensor, "g k"], g: Int64[Tensor, "*entries"]) -> Tensor:
    """Smallest k with rows[g, k] > u by bisection, entry by entry; the last k where there is none."""
    width = rows.shape[1]
    flat, first = rows.reshape(-1), g * width
    low, high = torch.zeros_like(g), torch.full_like(g, width - 1)
    for _ in range((width - 1).bit_length()):
        middle = (low + high) // 2
        beyond = flat[first + middle] > u
        low, high = torch.where(beyond, low, middle + 1), torch.where(beyond, middle, high)
        low = torch.minimum(low, high)
    return low


def shot_noise(
    x: Float64[Tensor, "n c h w"],
    streams: Int64[Tensor, " n"],
    photons: float,
    distribution: NDArray[np.float64],
    guide: NDArray[np.int32],
    snap: float,
) -> Float64[Tensor, "n c h w"]:
    """Poisson(photons * x / 255) / photons, exactly Poisson, by inversion with at most two draws for each entry.

        count = min{k: F(k; photons g / 255) > u},   g = floor(x)
              + min{k: F(k; photons (x - g) / 255) > v}          only where x is no whole grey level

    A sum of independent Poisson counts is Poisson of the summed mean, so tables of 256 means serve every float image.
    Draws: u of entry j is draw j, v is draw C*H*W + j.
    """
    del guide  # the compiled search starts there; bisection needs no start
    level = (x + snap).floor()
    u = uniform(streams, x[0].numel()).view_as(x)
    count = _above(u, torch.from_numpy(distribution).to(x.device), level.long()).double()
    between = x - level > snap
    if bool(between.any()):
        v = uniform(streams, x[0].numel(), start=x[0].numel()).view_as(x)
        count[between] += _few((x - level)[between] / 255 * photons, v[between])
    return count / photons * 255


def _few(mean: Float64[Tensor, " m"], u: Float64[Tensor, " m"]) -> Float64[Tensor, " m"]:
    """Poisson counts of small means: term by term from zero until the distribution function passes u."""
    more, term = torch.zeros_like(mean), torch.exp(-mean)
    total = term.clone()
    step = 0
    while bool((open_ := (total <= u) & (term > 0)).any()):
        step += 1
        term = torch.where(open_, term * (mean / step), term)
        total = torch.where(open_, total + term, total)
        more += open_
    return more
