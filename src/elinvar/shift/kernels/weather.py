"""Weather, compiled. The definitions stand in `elinvar.shift.weather` and `elinvar.shift.spatter`."""

import numpy as np
from numpy.typing import NDArray

from ...jit import inlined, kernel
from . import sampling
from .random import fill_normal, fill_uniform, uniform
from .spatter import spatter as spatter

Images = NDArray[np.float64]
Weights = NDArray[np.float64]
Indices = NDArray[np.int64]
RED, GREEN, BLUE = 0.299, 0.587, 0.114
LOW, SPAN = -135.0, 90.0  # of the direction of a fall, degrees
WIBBLE = 100.0


@inlined
def _grey(row: Weights, grey: Weights) -> None:
    """Luma of one row (channels, width) of an image, in 0..1."""
    if len(row) == 1:
        for z in range(grey.size):
            grey[z] = row[0, z] / 255.0
    else:
        for z in range(grey.size):
            grey[z] = row[0, z] / 255.0 * RED + row[1, z] / 255.0 * GREEN + row[2, z] / 255.0 * BLUE


@kernel
def snow(
    x: Images,
    streams: NDArray[np.uint64],
    mean: float,
    std: float,
    index: NDArray[np.int32],
    weight: Weights,
    cut: float,
    steps: Indices,
    taps: Weights,
    rows: Indices,
    columns: Indices,
    mix: float,
    out: Images,
) -> None:
    channels, height, width = x.shape[1:]
    field, zoomed = np.empty(height * width), np.empty((1, height * width))
    layer, blurred = zoomed.reshape(height, width), np.empty((height, width))
    snowing, turned, pale = np.empty(width), np.empty(width), np.empty(width)
    down, right = np.empty(taps.size, np.int64), np.empty(taps.size, np.int64)
    for i in range(len(x)):
        fill_normal(streams[i], 1, field)
        for j in range(field.size):
            field[j] = field[j] * std + mean
        sampling.gather(field.reshape(1, -1), index, weight, zoomed)
        for j in range(field.size):
            flake = zoomed[0, j]
            zoomed[0, j] = 0.0 if flake < cut else np.floor(min(max(flake, 0.0), 1.0) * 255.0)
        sampling.set_steps(steps, (uniform(streams[i], 0) * SPAN + LOW) * (np.pi / 180), down, right)
        sampling.correlate(layer, down, right, taps, rows, columns, blurred)
        for y in range(height):
            for z in range(width):
                blurred[y, z] = np.floor(blurred[y, z] + 0.5) / 255.0
        for y in range(height):
            mirrored = blurred[height - 1 - y]
            for z in range(width):
                snowing[z] = blurred[y, z]
                turned[z] = mirrored[width - 1 - z]
            _grey(x[i, :, y], pale)
            for c in range(channels):
                image, result = x[i, c, y], out[i, c, y]
                for z in range(width):
                    v = image[z] / 255.0
                    brighter = max(v, pale[z] * 1.5 + 0.5)
                    result[z] = (v * mix + brighter * (1 - mix) + snowing[z] + turned[z]) * 255.0


@kernel
def frost(
    x: Images,
    streams: NDArray[np.uint64],
    image_weight: float,
    texture_weight: float,
    pixels: Weights,
    table: Indices,
    out: Images,
) -> None:
    channels, height, width = x.shape[1:]
    for i in range(len(x)):
        start, tall, wide = table[int(uniform(streams[i], 0) * len(table))]
        top, left = int(uniform(streams[i], 1) * (tall - height)), int(uniform(streams[i], 2) * (wide - width))
        for c in range(channels):
            for y in range(height):
                first = start + (c * tall + top + y) * wide + left
                ice, image, result = pixels[first : first + width], x[i, c, y], out[i, c, y]
                for z in range(width):
                    result[z] = image[z] * image_weight + ice[z] * texture_weight


@kernel
def plasma(stream: np.uint64, start: int, decay: float, draws: NDArray[np.float64], out: Weights) -> None:
    """Fill the square `out`. Scratch: `draws` holds out.size - 1 numbers."""
    side = len(out)
    fill_uniform(stream, start, draws)
    out[0, 0] = 0.0
    step, w, used = side, WIBBLE, 0
    while step >= 2:
        half = step // 2
        for y in range(0, side, step):
            below = y + step if y + step < side else 0
            for z in range(0, side, step):
                after = z + step if z + step < side else 0
                total = (out[y, z] + out[below, z]) + (out[y, after] + out[below, after])
                out[y + half, z + half] = total / 4 + (draws[used] * (2 * w) - w) * w
                used += 1
        for y in range(0, side, step):
            above = (y if y > 0 else side) - half
            for z in range(0, side, step):
                after = z + step if z + step < side else 0
                total = out[y + half, z + half] + out[above, z + half] + (out[y, z] + out[y, after])
                out[y, z + half] = total / 4 + (draws[used] * (2 * w) - w) * w
                used += 1
        for y in range(0, side, step):
            below = y + step if y + step < side else 0
            for z in range(0, side, step):
                before = (z if z > 0 else side) - half
                total = out[y + half, z + half] + out[y + half, before] + (out[y, z] + out[below, z])
                out[y + half, z] = total / 4 + (draws[used] * (2 * w) - w) * w
                used += 1
        step, w = half, w / decay
    low, high = out.min(), out.max()
    span = high - low
    for y in range(side):
        for z in range(side):
            out[y, z] = (out[y, z] - low) / span


@kernel
def fog(x: Images, streams: NDArray[np.uint64], strength: float, decay: float, side: int, out: Images) -> None:
    channels, height, width = x.shape[1:]
    mist, draws = np.empty((side, side)), np.empty(side * side - 1)
    for i in range(len(x)):
        plasma(streams[i], 0, decay, draws, mist)
        peak = x[i].max() / 255.0
        for c in range(channels):
            for y in range(height):
                for z in range(width):
                    v = (x[i, c, y, z] / 255.0 + mist[y, z] * strength) * peak / (peak + strength)
                    out[i, c, y, z] = v * 255.0


@kernel
def brightness(x: Images, added: float, out: Images) -> None:
    channels, height, width = x.shape[1:]
    value = np.empty(width)
    for i in range(len(x)):
        for y in range(height):
            value[:] = 0.0
            for c in range(channels):
                row = x[i, c, y]
                for z in range(width):
                    value[z] = max(value[z], row[z] / 255.0)
            for c in range(channels):
                row, result = x[i, c, y], out[i, c, y]
                for z in range(width):
                    v = value[z]
                    scale = v if v > 0.0 else 1.0
                    result[z] = min(v + added, 1.0) * (1.0 - (v - row[z] / 255.0) / scale) * 255.0
