"""Noise, compiled. The definitions stand in `elinvar.shift.noise`."""

import numpy as np
from numpy.typing import NDArray

from ...jit import kernel
from .random import fill_normal, fill_uniform, uniform


@kernel
def gaussian_noise(x: NDArray[np.float64], streams: NDArray[np.uint64], sigma: float, out: NDArray[np.float64]) -> None:
    noise = np.empty(x[0].size)
    for i in range(len(x)):
        fill_normal(streams[i], 0, noise)
        pixels, result = x[i].reshape(-1), out[i].reshape(-1)
        for j in range(noise.size):
            result[j] = (pixels[j] / 255.0 + sigma * noise[j]) * 255.0


@kernel
def speckle_noise(x: NDArray[np.float64], streams: NDArray[np.uint64], sigma: float, out: NDArray[np.float64]) -> None:
    noise = np.empty(x[0].size)
    for i in range(len(x)):
        fill_normal(streams[i], 0, noise)
        pixels, result = x[i].reshape(-1), out[i].reshape(-1)
        for j in range(noise.size):
            result[j] = pixels[j] * (1 + sigma * noise[j])


@kernel
def shot_noise(
    x: NDArray[np.float64],
    streams: NDArray[np.uint64],
    photons: float,
    distribution: NDArray[np.float64],
    guide: NDArray[np.int32],
    snap: float,
    out: NDArray[np.float64],
) -> None:
    entries = x[0].size
    draws = np.empty(entries)
    last = distribution.shape[1] - 1
    slots = guide.shape[1]
    for i in range(len(x)):
        fill_uniform(streams[i], 0, draws)
        pixels, result = x[i].reshape(-1), out[i].reshape(-1)
        for j in range(entries):
            level = int(pixels[j] + snap)
            rest = (pixels[j] - level) / 255.0 * photons
            u = draws[j]
            count = guide[level, int(u * slots)]
            while count < last and distribution[level, count] <= u:
                count += 1
            if pixels[j] - level > snap:
                u = uniform(streams[i], entries + j)
                more, term = 0, np.exp(-rest)
                total = term
                while total <= u and term > 0.0:
                    more += 1
                    term *= rest / more
                    total += term
                count += more
            result[j] = count / photons * 255.0


@kernel
def impulse_noise(x: NDArray[np.float64], streams: NDArray[np.uint64], rate: float, out: NDArray[np.float64]) -> None:
    draws = np.empty(x[0].size)
    for i in range(len(x)):
        fill_uniform(streams[i], 0, draws)
        pixels, result = x[i].reshape(-1), out[i].reshape(-1)
        for j in range(draws.size):
            spoiled = 255.0 if draws[j] < 0.5 * rate else 0.0
            result[j] = spoiled if draws[j] < rate else pixels[j]
