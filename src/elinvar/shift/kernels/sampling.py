"""Weighted sums of neighbours and of places between pixels, one channel at a time: see `elinvar.shift.sampling`."""

import numpy as np
from numpy.typing import NDArray

from ...jit import inlined, kernel

Plane = NDArray[np.float64]
Indices = NDArray[np.int64]


@kernel
def smooth(image: Plane, taps: Plane, rows: Indices, columns: Indices, line: Plane, padded: Plane, out: Plane) -> None:
    """Symmetric separable filter. Scratch: `line` (w,), `padded` (w + 2r,). `out` must not be `image`."""
    r = taps.size - 1
    for y in range(image.shape[0]):
        centre = image[y]
        for x in range(line.size):
            line[x] = centre[x] * taps[0]
        for j in range(r, 0, -1):
            above, below, weight = image[rows[y + r - j]], image[rows[y + r + j]], taps[j]
            for x in range(line.size):
                line[x] += (above[x] + below[x]) * weight
        for x in range(padded.size):
            padded[x] = line[columns[x]]
        result = out[y]
        for x in range(result.size):
            result[x] = padded[x + r] * taps[0]
        for j in range(r, 0, -1):
            weight = taps[j]
            for x in range(result.size):
                result[x] += (padded[x + r - j] + padded[x + r + j]) * weight


@kernel
def correlate(
    image: Plane,
    down: Indices,
    right: Indices,
    weights: Plane,
    rows: Indices,
    columns: Indices,
    padded: Plane,
    out: Plane,
) -> None:
    """sum_i weights_i image[y + down_i, x + right_i]. Scratch: `padded` (h, len(columns))."""
    height, width = image.shape
    top, left = (rows.size - height) // 2, (columns.size - width) // 2
    for y in range(height):
        for x in range(columns.size):
            padded[y, x] = image[y, columns[x]]
    for y in range(height):
        result = out[y]
        result[:] = 0.0
        for i in range(weights.size):
            weight, start = weights[i], left + right[i]
            source = padded[rows[top + y + down[i]], start : start + width]
            for x in range(width):
                result[x] += source[x] * weight


@inlined
def set_direction(angle: float, down: Indices, right: Indices) -> None:
    """Fill the whole-pixel offsets of 0, 1, 2, ... steps in direction `angle`."""
    along, across = np.cos(angle), np.sin(angle)
    for i in range(down.size):
        down[i] = int(np.ceil(i * across - 0.5))
        right[i] = int(np.ceil(i * along - 0.5))


@kernel
def gather(image: Plane, index: NDArray[np.int32], weight: Plane, out: Plane) -> None:
    """sum_k weight[p, k] image[c, index[p, k]] for planes of pixels in a row: image and out are (c, h * w)."""
    for p in range(index.shape[0]):
        for c in range(image.shape[0]):
            total = 0.0
            for k in range(index.shape[1]):
                total += image[c, index[p, k]] * weight[p, k]
            out[c, p] = total


@inlined
def mirror(position: float, size: int, edge: float) -> float:
    """`position` brought inside the image by mirrors `edge` pixels beyond the centres of the edge pixels."""
    period = 2.0 * (size - 1 + 2 * edge)
    position = abs(position + edge)
    position = position - np.floor(position / period) * period
    position = min(position, period - position) - edge
    return min(max(position, 0.0), size - 1.0)


@inlined
def bilinear(image: NDArray[np.float64], y_at: float, x_at: float, edge: float, y: int, x: int, out: Plane) -> None:
    """Pixel (y, x) of every channel of `out` becomes `image` at (y_at, x_at)."""
    height, width = image.shape[1:]
    y_at, x_at = mirror(y_at, height, edge), mirror(x_at, width, edge)
    top, left = int(y_at), int(x_at)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, along = y_at - top, x_at - left
    for c in range(image.shape[0]):
        upper = image[c, top, left] * (1 - along) + image[c, top, right] * along
        lower = image[c, bottom, left] * (1 - along) + image[c, bottom, right] * along
        out[c, y, x] = upper * (1 - down) + lower * down
