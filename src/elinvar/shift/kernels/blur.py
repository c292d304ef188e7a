"""Blurs, compiled. The definitions stand in `elinvar.shift.blur`."""

import numpy as np
from numpy.typing import NDArray

from ...jit import kernel
from . import sampling
from .random import fill_uniform, uniform

Images = NDArray[np.float64]
Weights = NDArray[np.float64]
Indices = NDArray[np.int64]
LOW, SPAN = -45.0, 90.0  # of the direction of motion, degrees


@kernel
def defocus_blur(
    x: Images, down: Indices, right: Indices, weights: Weights, rows: Indices, columns: Indices, out: Images
) -> None:
    for i in range(len(x)):
        scaled, result = x[i] / 255.0, out[i]
        for c in range(x.shape[1]):
            sampling.correlate(scaled[c], down, right, weights, rows, columns, result[c])
        result *= 255.0


@kernel
def gaussian_blur(x: Images, taps: Weights, rows: Indices, columns: Indices, out: Images) -> None:
    for i in range(len(x)):
        scaled, result = x[i] / 255.0, out[i]
        for c in range(x.shape[1]):
            sampling.smooth(scaled[c], taps, rows, columns, result[c])
        result *= 255.0


@kernel
def scan(images: Images, offset: Indices, reach: int) -> None:
    """Copy pixels from their neighbours in place, from the last row and column to the first: order matters."""
    height, width = images.shape[2:]
    for i in range(len(images)):
        for y in range(height - reach, reach, -1):
            for x in range(width - reach, reach, -1):
                for c in range(images.shape[1]):
                    images[i, c, y, x] = images[i, c, y + offset[i, 0, y, x], x + offset[i, 1, y, x]]


@kernel
def glass_blur(
    x: Images,
    streams: NDArray[np.uint64],
    taps: Weights,
    rows: Indices,
    columns: Indices,
    reach: int,
    rounds: int,
    out: Images,
) -> None:
    channels, height, width = x.shape[1:]
    y = np.empty((1, channels, height, width))
    draws, offset = np.empty(2 * height * width), np.empty((1, 2, height, width), np.int64)
    offsets = offset.reshape(-1)
    for i in range(len(x)):
        scaled, result = x[i] / 255.0, out[i]
        for c in range(channels):
            sampling.smooth(scaled[c], taps, rows, columns, y[0, c])
        np.floor(y * 255.0, y)
        for turn in range(rounds):
            fill_uniform(streams[i], turn * draws.size, draws)
            for j in range(draws.size):
                offsets[j] = int(draws[j] * (2 * reach)) - reach
            scan(y, offset, reach)
        y /= 255.0
        for c in range(channels):
            sampling.smooth(y[0, c], taps, rows, columns, result[c])
        result *= 255.0


@kernel
def motion_blur(
    x: Images,
    streams: NDArray[np.uint64],
    steps: Indices,
    weights: Weights,
    rows: Indices,
    columns: Indices,
    out: Images,
) -> None:
    down, right = np.empty(weights.size, np.int64), np.empty(weights.size, np.int64)
    for i in range(len(x)):
        sampling.set_steps(steps, (uniform(streams[i], 0) * SPAN + LOW) * (np.pi / 180), down, right)
        for c in range(x.shape[1]):
            sampling.correlate(x[i, c], down, right, weights, rows, columns, out[i, c])


@kernel
def zoom_blur(x: Images, index: NDArray[np.int32], weight: Weights, out: Images) -> None:
    channels, pixels = x.shape[1], x.shape[2] * x.shape[3]
    for i in range(len(x)):
        result = out[i].reshape(channels, pixels)
        sampling.gather((x[i] / 255.0).reshape(channels, pixels), index, weight, result)
        result *= 255.0
