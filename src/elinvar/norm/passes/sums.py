"""Compiled sums over the values of each row and channel.

A sum over many values stays right because it never grows large in float32: some values are summed in the type of the
images, and such parts join a sum in float64. A mean that is large beside its standard deviation is amended by the mean
distance from it. Where channels are stored last, a row is walked as lines of `_WIDE` or more values, so that a few
channels fill vector registers, too, and four lines at a time, so that sums are loaded and stored a quarter as often.
"""

import numpy as np

from ...jit import summing
from .compiled import LINES, PART, Images, Index, Table
from .formats import narrow, read, room

_WIDE = 16  # least number of values in a line
_FAR = 64.0  # a mean that is farther from 0 than 8 standard deviations is amended by the distances from it


@summing
def moments(x: Images, channels_last: bool, mean: Table, squares: Table, start: int, stop: int) -> None:
    """Mean of each row and channel, and sum of squared distances from it; both in float64.

    The distances are those from the nearest number of the images' type; a difference of squares makes up for that.
    """
    if channels_last:
        _moments_last(x, mean, squares, start, stop)
        return
    length = x.shape[2]
    if not length:
        mean[start:stop] = 0.0
        squares[start:stop] = 0.0
        return
    first, share = min(length, PART), 1.0 / length
    for n in range(start, stop):
        for c in range(x.shape[1]):
            row = x[n, c]
            part = narrow(0.0, row[0])
            for i in range(first):
                part += read(row[i])
            total = 0.0 + part
            if length > PART:
                total += _distance(row[PART:], narrow(0.0, row[0]))
            center = total * share
            near, part = narrow(center, row[0]), narrow(0.0, row[0])
            for i in range(first):
                off = read(row[i]) - near
                part += off * off
            spread = 0.0 + part
            if length > PART:
                spread += _square(row[PART:], near)
            if center * center * length > _FAR * spread:
                center = near + _distance(row, near) * share
                spread = _amended(spread, length, center - near)
            mean[n, c] = center
            squares[n, c] = spread


@summing
def _distance(values: Table, base: float) -> float:
    """The sum of distances from `base`, in parts."""
    total = 0.0
    for begin in range(0, len(values), PART):
        some, part = values[begin : begin + PART], narrow(0.0, values[0])
        for i in range(len(some)):
            part += read(some[i]) - base
        total += part
    return total


@summing
def _square(values: Table, base: float) -> float:
    """The sum of their squares."""
    total = 0.0
    for begin in range(0, len(values), PART):
        some, part = values[begin : begin + PART], narrow(0.0, values[0])
        for i in range(len(some)):
            off = read(some[i]) - base
            part += off * off
        total += part
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
    around, part, far = room(size, x[0, 0, 0]), room(size, x[0, 0, 0]), np.empty(channels)
    part[:] = 0
    for n in range(start, stop):
        row, m, s = x[n], mean[n], squares[n]
        around[:] = 0
        _sum_of(row, around, part, m, False)
        for c in range(channels):
            m[c] /= length
        for t in range(size):
            around[t] = narrow(m[t % channels], row[0, 0])
        _sum_of(row, around, part, s, True)
        large = False
        for c in range(channels):
            large |= m[c] * m[c] * length > _FAR * s[c]
            far[c] = 0.0
        if large:
            for i in range(length):
                for c in range(channels):
                    far[c] += np.float64(read(row[i, c])) - around[c]
            for c in range(channels):
                m[c] = around[c] + far[c] / length
                s[c] = _amended(s[c], length, far[c] / length)


@summing
def _sum_of(row: Images, around: Table, part: Table, total: Table, squared: bool) -> None:
    """For each channel: the sum of values, or of their squared distances from `around`, over (L, C).

    `part` is room for a line of sums: zeros, before and after.
    """
    size, values = len(part), row.reshape(-1)
    count = len(values) // size
    lines, over = values[: count * size].reshape(count, size), values[count * size :]
    for c in range(len(total)):
        total[c] = 0.0
    for begin in range(0, count, LINES):
        some = lines[begin : begin + LINES]
        whole = len(some) - len(some) % 4
        if squared:
            for i in range(0, whole, 4):
                for t in range(size):
                    p, q = read(some[i, t]) - around[t], read(some[i + 1, t]) - around[t]
                    r, s = read(some[i + 2, t]) - around[t], read(some[i + 3, t]) - around[t]
                    part[t] += (p * p + q * q) + (r * r + s * s)
        else:
            for i in range(0, whole, 4):
                for t in range(size):
                    p, q, r, s = read(some[i, t]), read(some[i + 1, t]), read(some[i + 2, t]), read(some[i + 3, t])
                    part[t] += (p + q) + (r + s)
        for i in range(whole, len(some)):
            for t in range(size):
                p = read(some[i, t]) - around[t]
                part[t] += p * p if squared else p
        _join(part, total)
    for t in range(len(over)):
        p = read(over[t]) - around[t]
        total[t % len(total)] += p * p if squared else p


@summing
def _join(part: Table, total: Table) -> None:
    """Add the lines of `part` to `total`, and leave zeros."""
    channels = len(total)
    for first in range(0, len(part), channels):
        line = part[first : first + channels]
        for c in range(channels):
            total[c] += line[c]
            line[c] = 0


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
    tables = np.zeros((3, size), center.dtype)
    around, products, sums = tables[0], tables[1], tables[2]
    count = x.shape[1] * channels // size
    for n in range(start, stop):
        values, slopes, first, second = x[n].reshape(-1), gradient[n].reshape(-1), of_scale[n], of_shift[n]
        lines, over = values[: count * size].reshape(count, size), values[count * size :]
        ups, upper = slopes[: count * size].reshape(count, size), slopes[count * size :]
        for t in range(size):
            around[t] = center[group[n], t % channels]
        for c in range(channels):
            first[c] = second[c] = 0.0
        for begin in range(0, count, LINES):
            some, up = lines[begin : begin + LINES], ups[begin : begin + LINES]
            whole = len(some) - len(some) % 4
            for i in range(0, whole, 4):
                for t in range(size):
                    p, q, r, s = read(up[i, t]), read(up[i + 1, t]), read(up[i + 2, t]), read(up[i + 3, t])
                    sums[t] += (p + q) + (r + s)
                    p *= read(some[i, t]) - around[t]
                    q *= read(some[i + 1, t]) - around[t]
                    r *= read(some[i + 2, t]) - around[t]
                    s *= read(some[i + 3, t]) - around[t]
                    products[t] += (p + q) + (r + s)
            for i in range(whole, len(some)):
                for t in range(size):
                    p = read(up[i, t])
                    sums[t] += p
                    products[t] += p * (read(some[i, t]) - around[t])
            _join(products, first)
            _join(sums, second)
        for t in range(len(over)):
            p = read(upper[t])
            second[t % channels] += p
            first[t % channels] += p * (read(over[t]) - around[t])
