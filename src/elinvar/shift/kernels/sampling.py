"""Weighted sums of neighbours and of places between pixels, one channel at a time: see `elinvar.shift.sampling`."""

import numpy as np
from numpy.typing import NDArray

from ...jit import inlined, kernel

BLOCK = 1024
Line = NDArray[np.float64]
Plane = NDArray[np.float64]
Indices = NDArray[np.int64]


@inlined
def _copy(source: Line, target: Line) -> None:
    for i in range(source.size):  # assignment of slices is ten times slower
        target[i] = source[i]


@inlined
def _widen(source: Line, columns: Indices, lead: int, target: Line) -> None:
    """A row with its borders; `columns` says what they show, the first `lead` entries left of the row."""
    for x in range(lead):
        target[x] = source[columns[x]]
    _copy(source, target[lead:])
    for x in range(lead + source.size, target.size):
        target[x] = source[columns[x]]


@inlined
def _filter(padded: Line, taps: Line, stride: int, out: Line) -> None:
    r = taps.size - 1
    centre, weight = padded[r * stride :], taps[0]
    for i in range(out.size):
        out[i] = centre[i] * weight
    for j in range(r, 0, -1):
        before, after, weight = padded[(r - j) * stride :], padded[(r + j) * stride :], taps[j]
        for i in range(out.size):
            out[i] += (before[i] + after[i]) * weight


@kernel
def smooth(image: Plane, taps: Line, rows: Indices, columns: Indices, out: Plane) -> None:
    """Symmetric separable filter; `rows` and `columns` are border tables. `out` must not be `image`.

    Rows are laid end to end, so that the inner loops are long; what they make of the seams is left out.
    """
    height, width = image.shape
    wide = columns.size
    tall, filtered = np.empty(rows.size * width), np.empty(height * width)
    for y in range(rows.size):
        _copy(image[rows[y]], tall[y * width :])
    _filter(tall, taps, width, filtered)
    broad, result = np.empty(height * wide), np.empty(height * wide - 2 * (taps.size - 1))
    for y in range(height):
        _widen(filtered[y * width : (y + 1) * width], columns, taps.size - 1, broad[y * wide : (y + 1) * wide])
    _filter(broad, taps, 1, result)
    for y in range(height):
        _copy(result[y * wide : y * wide + width], out[y])


@kernel
def correlate(
    image: Plane, down: Indices, right: Indices, weights: Line, rows: Indices, columns: Indices, out: Plane
) -> None:
    """sum_i weights_i image[y + down_i, x + right_i]; `rows` and `columns` are border tables. Rows lie end to end."""
    height, width = image.shape
    low, left = min(down.min(), 0), min(right.min(), 0)
    tall, wide = height + max(down.max(), 0) - low, width + max(right.max(), 0) - left
    first_row, first_column = (rows.size - height) // 2 + low, (columns.size - width) // 2 + left
    padded, total = np.empty(tall * wide), np.zeros((height - 1) * wide + width)
    for y in range(tall):
        _widen(image[rows[first_row + y]], columns[first_column:], -left, padded[y * wide : (y + 1) * wide])
    places = (down - low) * wide + right - left
    for start in range(0, total.size, BLOCK):  # what a block reads stays in the fastest cache
        block = total[start : start + BLOCK]
        for i in range(0, weights.size - 3, 4):  # four weights in one go over the sums, added one after the other
            first, second = padded[start + places[i] :], padded[start + places[i + 1] :]
            third, fourth = padded[start + places[i + 2] :], padded[start + places[i + 3] :]
            a, b, c, d = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
            for j in range(block.size):
                block[j] = block[j] + first[j] * a + second[j] * b + third[j] * c + fourth[j] * d
        for i in range(weights.size // 4 * 4, weights.size):
            last, weight = padded[start + places[i] :], weights[i]
            for j in range(block.size):
                block[j] += last[j] * weight
    for y in range(height):
        _copy(total[y * wide : y * wide + width], out[y])


@kernel
def multiply(left: Plane, right: Plane, out: Plane) -> None:
    """The product of two matrices, four rows of `right` at a time."""
    depth = right.shape[0]
    for y in range(left.shape[0]):
        result = out[y]
        for x in range(result.size):
            result[x] = 0.0
        for k in range(0, depth - 3, 4):
            a, b, c, d = left[y, k], left[y, k + 1], left[y, k + 2], left[y, k + 3]
            first, second, third, fourth = right[k], right[k + 1], right[k + 2], right[k + 3]
            for x in range(result.size):
                result[x] = result[x] + first[x] * a + second[x] * b + third[x] * c + fourth[x] * d
        for k in range(depth // 4 * 4, depth):
            for x in range(result.size):
                result[x] += right[k, x] * left[y, k]


@inlined
def set_steps(steps: Indices, angle: float, down: Indices, right: Indices) -> None:
    """Fill the whole-pixel offsets of 0, 1, 2, ... steps: `steps` (2, k), or, if it is empty, in direction `angle`."""
    along, across = np.cos(angle), np.sin(angle)
    for i in range(down.size):
        down[i] = steps[0, i] if steps.size > 0 else int(np.ceil(i * across - 0.5))
        right[i] = steps[1, i] if steps.size > 0 else int(np.ceil(i * along - 0.5))


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
    if 0.0 <= position <= size - 1.0:
        return position
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
