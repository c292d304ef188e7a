"""Compiled passes over CPU tensors: an affine map of each row, and the gradient of what normalizes it.

Images come as (N, C, L) or as (N, L, C) with L values per channel, in float32, float64, or bfloat16 seen as its 16
bits; tables are (G, C), row n reads line `group[n]`. Every kernel works on rows `start` to `stop - 1` and treats a row
the same whatever its neighbours; so do the sums in `sums.py`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...jit import summing
from .formats import narrow, read, write

Images = NDArray[Any]  # (N, C, L) or (N, L, C)
Table = NDArray[Any]  # (groups, C), or (N, C) for what belongs to rows
Index = NDArray[np.int32]  # (N,)

PART = 1024  # values of a channel that are summed before they join float64
LINES = 256  # the same in lines, where channels are stored last
_SOME = 32  # parts of a long row, whose first values tell where the others lie; a row of `PART` values has four


@summing
def affine(
    x: Images,
    channels_last: bool,
    group: Index,
    center: Table,
    scale: Table,
    shift: Table,
    out: Images,
    start: int,
    stop: int,
) -> None:
    """out = (x - center) * scale + shift."""
    for n in range(start, stop):
        g = group[n]
        _line(x[n], channels_last, center[g], scale[g], shift[g], out[n])


@summing
def _line(row: Images, channels_last: bool, center: Table, scale: Table, shift: Table, out: Images) -> None:
    if channels_last:
        for i in range(row.shape[0]):
            for c in range(row.shape[1]):
                out[i, c] = write((read(row[i, c]) - center[c]) * scale[c] + shift[c], row[i, c])
        return
    for c in range(row.shape[0]):
        values, to, middle, factor, offset = row[c], out[c], center[c], scale[c], shift[c]
        for i in range(row.shape[1]):
            to[i] = write((read(values[i]) - middle) * factor + offset, values[i])


@summing
def input_gradient(
    x: Images,
    channels_last: bool,
    gradient: Images,
    group: Index,
    center: Table,
    scale: Table,
    slope: Table,
    level: Table,
    out: Images,
    start: int,
    stop: int,
) -> None:
    """out = gradient * scale + (x - center) * slope + level."""
    for n in range(start, stop):
        g = group[n]
        if channels_last:
            m, a, p, q, row, up, to = center[g], scale[g], slope[g], level[g], x[n], gradient[n], out[n]
            for i in range(x.shape[1]):
                for c in range(x.shape[2]):
                    value = read(up[i, c]) * a[c] + (read(row[i, c]) - m[c]) * p[c] + q[c]
                    to[i, c] = write(value, row[i, c])
            continue
        for c in range(x.shape[1]):
            row, up, to = x[n, c], gradient[n, c], out[n, c]
            middle, factor, tilt, offset = center[g, c], scale[g, c], slope[g, c], level[g, c]
            for i in range(x.shape[2]):
                value = read(up[i]) * factor + (read(row[i]) - middle) * tilt + offset
                to[i] = write(value, row[i])


@summing
def example_weighted(
    x: Images,
    channels_last: bool,
    group: Index,
    mean: Table,
    variance: Table,
    gamma: Table,
    beta: Table,
    alpha: float,
    eps: float,
    width: int,
    out: Images,
    start: int,
    stop: int,
) -> None:
    """Each row by alpha of its own moments and 1 - alpha of its group's, `width` neighbouring channels together.

    A row is read once for both of its moments, as distances from the mean of some of its values, so that their
    difference of squares keeps its digits; it is still in the cache when it is normalized.
    """
    channels = mean.shape[1]
    lines, wide = np.empty((6, channels), mean.dtype), np.empty((2, channels))
    base, center, scale, shift, part, parts = lines[0], lines[1], lines[2], lines[3], lines[4], lines[5]
    sums, squares = wide[0], wide[1]
    length = x.shape[1] if channels_last else x.shape[2]
    share, step = 1.0 / length, length // (4 if length <= PART else _SOME)
    for n in range(start, stop):
        g, row, to = group[n], x[n], out[n]
        if channels_last:
            _distances_last(row, step, base, part, parts, sums, squares)
        else:
            for c in range(channels):
                base[c], sums[c], squares[c] = _distances(row[c], step)
        for c in range(channels):
            off = sums[c] * share
            sums[c] = base[c] + off
            squares[c] = max(squares[c] * share - off * off, 0.0)
        if width > 1:
            _over_channels(sums, squares, width)
        for c in range(channels):
            off = sums[c] - mean[g, c]
            mixed = alpha * squares[c] + (1.0 - alpha) * variance[g, c] + alpha * (1.0 - alpha) * off * off
            middle = alpha * sums[c] + (1.0 - alpha) * mean[g, c]
            center[c] = middle
            scale[c] = gamma[g, c] / np.sqrt(mixed + eps)
            shift[c] = beta[g, c] + (center[c] - middle) * scale[c]
        _line(row, channels_last, center, scale, shift, to)


@summing
def _distances(values: Table, step: int) -> tuple[Any, float, float]:
    """The mean of some values, `step` apart, and the sums over all of distances from it, and of their squares."""
    length = len(values)
    if length <= PART:
        near = narrow(0.25, values[0]) * (
            (read(values[0]) + read(values[step])) + (read(values[2 * step]) + read(values[3 * step]))
        )
    else:
        near = narrow(0.0, values[0])
        for i in range(_SOME):
            near += read(values[i * step])
        near *= narrow(1.0 / _SOME, values[0])
    part, parts = narrow(0.0, values[0]), narrow(0.0, values[0])
    for i in range(min(length, PART)):
        off = read(values[i]) - near
        part += off
        parts += off * off
    total, square = np.float64(part), np.float64(parts)
    for begin in range(PART, length, PART):
        some, part, parts = values[begin : begin + PART], narrow(0.0, values[0]), narrow(0.0, values[0])
        for i in range(len(some)):
            off = read(some[i]) - near
            part += off
            parts += off * off
        total += part
        square += parts
    return near, total, square


@summing
def _distances_last(
    row: Images, step: int, base: Table, part: Table, parts: Table, sums: Table, squares: Table
) -> None:
    """The same for each channel of (L, C)."""
    length, channels = row.shape
    count = 4 if length <= PART else _SOME
    for c in range(channels):
        sums[c] = squares[c] = 0.0
    for i in range(count):
        for c in range(channels):
            sums[c] += read(row[i * step, c])
    for c in range(channels):
        base[c] = sums[c] / count
        sums[c] = 0.0
    for c in range(channels):
        part[c] = parts[c] = 0.0
    for begin in range(0, length, LINES):
        some = row[begin : begin + LINES]
        whole = len(some) - len(some) % 4
        for i in range(0, whole, 4):
            for c in range(channels):
                first, second = read(some[i, c]) - base[c], read(some[i + 1, c]) - base[c]
                third, fourth = read(some[i + 2, c]) - base[c], read(some[i + 3, c]) - base[c]
                part[c] += (first + second) + (third + fourth)
                parts[c] += (first * first + second * second) + (third * third + fourth * fourth)
        for i in range(whole, len(some)):
            for c in range(channels):
                off = read(some[i, c]) - base[c]
                part[c] += off
                parts[c] += off * off
        for c in range(channels):
            sums[c] += part[c]
            squares[c] += parts[c]
            part[c] = parts[c] = 0.0


@summing
def _over_channels(mean: Table, variance: Table, width: int) -> None:
    for first in range(0, len(mean), width):
        middle, spread = 0.0, 0.0
        for c in range(first, first + width):
            middle += mean[c] / width
        for c in range(first, first + width):
            off = mean[c] - middle
            spread += (variance[c] + off * off) / width
        mean[first : first + width] = middle
        variance[first : first + width] = spread
