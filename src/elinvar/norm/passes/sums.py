"""Compiled sums over the values of each row and channel.

A sum over many values stays right because it never grows large in float32: values are taken as distances from one of
their own, some of them are summed in the type of the images, and such parts join a sum in float64. Where channels are
stored last, a row is walked as lines of `_WIDE` or more values, so that a few channels fill vector registers, too, and
four lines at a time, so that sums are loaded and stored a quarter as often.
"""

import numpy as np

from ...jit import summing
from .compiled import LINES, PART, Images, Index, Table
from .formats import narrow, read, room

_WIDE = 16  # least number of values in a line


@summing
def moments(x: Images, channels_last: bool, mean: Table, squares: Table, start: int, stop: int) -> None:
    """Mean of each row and channel, and sum of squared distances from it; both in float64.

    The distances are those from the nearest float32, so that they are exact, and a difference of squares amends it.
    """
    if channels_last:
        _moments_last(x, mean, squares, start, stop)
        return
    length = x.shape[2]
    for n in range(start, stop):
        for c in range(x.shape[1]):
            row, total = x[n, c], 0.0
            if not length:
                mean[n, c] = squares[n, c] = 0.0
                continue
            base = read(row[0])
            for first in range(0, length, PART):
                total += _distance(row[first : first + PART], base)
            center = base + total / length
            near, total = narrow(center, row[0]), 0.0
            for first in range(0, length, PART):
                total += _square(row[first : first + PART], near)
            mean[n, c] = center
            squares[n, c] = _amended(total, length, center - near)


@summing
def _distance(values: Table, base: float) -> float:
    total = narrow(0.0, values[0])
    for i in range(len(values)):
        total += read(values[i]) - base
    return total


@summing
def _square(values: Table, base: float) -> float:
    total = narrow(0.0, values[0])
    for i in range(len(values)):
        off = read(values[i]) - base
        total += off * off
    return total


@summing
def _amended(squares: float, length: int, rest: float) -> float:
    """The sum of squared distances from the mean, from that about a point that lies `rest` below it."""
    found = squares - length * rest * rest
    return 0.0 if found < 0.0 else found  # NaN stays NaN


@summing
def _moments_last(x: Images, mean: Table, squares: Table, start: int, stop: int) -> None:
    length, channels = x.shape[1], x.shape[2]
    if not x.size:
        mean[start:stop] = 0.0
        squares[start:stop] = 0.0
        return
    size = channels * max(1, _WIDE // channels)
    around, part = room(size, x[0, 0, 0]), room(size, x[0, 0, 0])
    for n in range(start, stop):
        values, m, s = x[n].reshape(-1), mean[n], squares[n]
        _tile(values[:channels], around)
        _sum_of(values, around, part, m, False)
        for c in range(channels):
            m[c] = read(values[c]) + m[c] / length
            around[c] = narrow(m[c], values[0])
        for t in range(channels, size):
            around[t] = around[t - channels]
        _sum_of(values, around, part, s, True)
        for c in range(channels):
            s[c] = _amended(s[c], length, m[c] - around[c])


@summing
def _tile(line: Table, to: Table) -> None:
    """Fill `to` with copies of a line."""
    channels = len(line)
    for t in range(len(to)):
        to[t] = read(line[t % channels])


@summing
def _sum_of(values: Table, around: Table, part: Table, total: Table, squared: bool) -> None:
    """For each channel: the sum of distances from `around`, or of their squares, over values that are stored by line."""
    size, channels = len(part), len(total)
    total[:] = 0.0
    for first in range(0, len(values), LINES * size):
        block = values[first : first + LINES * size]
        whole = len(block) // (4 * size) * (4 * size)
        part[:] = 0
        for i in range(0, whole, 4 * size):
            a, b = block[i : i + size], block[i + size : i + 2 * size]
            c, d = block[i + 2 * size : i + 3 * size], block[i + 3 * size : i + 4 * size]
            if squared:
                for t in range(size):
                    p, q = read(a[t]) - around[t], read(b[t]) - around[t]
                    r, s = read(c[t]) - around[t], read(d[t]) - around[t]
                    part[t] += (p * p + q * q) + (r * r + s * s)
            else:
                for t in range(size):
                    p, q = read(a[t]) - around[t], read(b[t]) - around[t]
                    r, s = read(c[t]) - around[t], read(d[t]) - around[t]
                    part[t] += (p + q) + (r + s)
        for i in range(whole, len(block), size):
            a = block[i : i + size]
            for t in range(len(a)):
                p = read(a[t]) - around[t]
                part[t] += p * p if squared else p
        _joined(part, total)


@summing
def _joined(part: Table, total: Table) -> None:
    """Add the lines of `part` to `total`."""
    channels = len(total)
    for first in range(0, len(part), channels):
        for c in range(channels):
            total[c] += part[first + c]


@summing
def affine_sums(
    x: Images,
    channels_last: bool,
    gradient: Images,
    group: Index,
    center: Table,
    of_scale: Table,
    of_shift: Table,
    start: int,
    stop: int,
) -> None:
    """For each row and channel: sum of gradient * (x - center), and sum of gradient; both in float64."""
    if channels_last:
        _affine_sums_last(x, gradient, group, center, of_scale, of_shift, start, stop)
        return
    length = x.shape[2]
    for n in range(start, stop):
        for c in range(x.shape[1]):
            row, slope, middle, first, second = x[n, c], gradient[n, c], center[group[n], c], 0.0, 0.0
            for begin in range(0, length, PART):
                products, sums = center.dtype.type(0), center.dtype.type(0)
                values, ups = row[begin : begin + PART], slope[begin : begin + PART]
                for i in range(len(values)):
                    up = read(ups[i])
                    products += up * (read(values[i]) - middle)
                    sums += up
                first += products
                second += sums
            of_scale[n, c] = first
            of_shift[n, c] = second


@summing
def _affine_sums_last(
    x: Images, gradient: Images, group: Index, center: Table, of_scale: Table, of_shift: Table, start: int, stop: int
) -> None:
    channels = x.shape[2]
    size = channels * max(1, _WIDE // channels)
    lines = np.empty((3, size), center.dtype)
    around, products, sums = lines[0], lines[1], lines[2]
    for n in range(start, stop):
        values, slopes, first, second = x[n].reshape(-1), gradient[n].reshape(-1), of_scale[n], of_shift[n]
        _tile(center[group[n]], around)
        first[:] = 0.0
        second[:] = 0.0
        for begin in range(0, len(values), LINES * size):
            block, ups = values[begin : begin + LINES * size], slopes[begin : begin + LINES * size]
            whole = len(block) // (4 * size) * (4 * size)
            products[:] = 0
            sums[:] = 0
            for i in range(0, whole, 4 * size):
                a, b = block[i : i + size], block[i + size : i + 2 * size]
                c, d = block[i + 2 * size : i + 3 * size], block[i + 3 * size : i + 4 * size]
                e, f = ups[i : i + size], ups[i + size : i + 2 * size]
                g, h = ups[i + 2 * size : i + 3 * size], ups[i + 3 * size : i + 4 * size]
                for t in range(size):
                    p, q, r, s = read(e[t]), read(f[t]), read(g[t]), read(h[t])
                    sums[t] += (p + q) + (r + s)
                    p *= read(a[t]) - around[t]
                    q *= read(b[t]) - around[t]
                    r *= read(c[t]) - around[t]
                    s *= read(d[t]) - around[t]
                    products[t] += (p + q) + (r + s)
            for i in range(whole, len(block), size):
                a, e = block[i : i + size], ups[i : i + size]
                for t in range(len(a)):
                    p = read(e[t])
                    sums[t] += p
                    products[t] += p * (read(a[t]) - around[t])
            _joined(products, first)
            _joined(sums, second)
