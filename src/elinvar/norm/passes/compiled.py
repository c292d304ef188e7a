"""Compiled passes over CPU tensors: moments of rows, and an affine map of each row, forwards and backwards.

Images come as (N, C, L) or as (N, L, C) with L values per channel, in float32, float64, or bfloat16 seen as its 16
bits; tables are (G, C), row n reads line `group[n]`. Every kernel works on rows `start` to `stop - 1` and treats a row
the same whatever its neighbours. Where channels are stored last, sums take four positions at a time, so that they are
loaded and stored a quarter as often.
"""

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from ...jit import summing

Images = NDArray[Any]  # (N, C, L) or (N, L, C)
Table = NDArray[Any]  # (groups, C), or (N, C) for what belongs to rows
Index = NDArray[np.int32]  # (N,)


@intrinsic
def _as_float(_context, bits):  # type: ignore[no-untyped-def]
    def build(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), build


@intrinsic
def _as_bits(_context, value):  # type: ignore[no-untyped-def]
    def build(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), build


_float_of: Any = _as_float  # numba's own annotations see no call here
_bits_of: Any = _as_bits


def _read(value: Any) -> Any:
    raise NotImplementedError


def _write(value: Any, like: Any) -> Any:
    raise NotImplementedError


@overload(_read, jit_options={"forceinline": True})
def _read_of(value):  # type: ignore[no-untyped-def]
    """A stored number as a float: bfloat16 is the upper half of a float32."""
    if value == types.uint16:
        return lambda value: _float_of(np.uint32(value) << np.uint32(16))
    return lambda value: value


@overload(_write, jit_options={"forceinline": True})
def _write_of(value, like):  # type: ignore[no-untyped-def]
    """A float as it is stored beside `like`; to bfloat16 it is rounded to nearest, ties to even, and NaN stays NaN."""
    if like == types.uint16:

        def rounded(value, like):  # type: ignore[no-untyped-def]
            bits = _bits_of(np.float32(value))
            up = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
            nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
            return np.uint16(np.uint32(0x7FC0) if nan else up)

        return rounded
    return lambda value, like: value


@summing
def moments(x: Images, channels_last: bool, mean: Table, squares: Table, start: int, stop: int) -> None:
    """Mean of each row and channel, and sum of squared distances from it."""
    zero = mean.dtype.type(0)
    if not channels_last:
        length = x.shape[2]
        for n in range(start, stop):
            for c in range(x.shape[1]):
                row, total = x[n, c], zero
                for i in range(length):
                    total += _read(row[i])
                center = total / mean.dtype.type(length)
                total = zero
                for i in range(length):
                    off = _read(row[i]) - center
                    total += off * off
                mean[n, c] = center
                squares[n, c] = total
        return
    length, channels = x.shape[1], x.shape[2]
    whole = length - length % 4
    for n in range(start, stop):
        row, m, s = x[n], mean[n], squares[n]
        for c in range(channels):
            m[c] = zero
            s[c] = zero
        for i in range(0, whole, 4):
            for c in range(channels):
                m[c] += (_read(row[i, c]) + _read(row[i + 1, c])) + (_read(row[i + 2, c]) + _read(row[i + 3, c]))
        for i in range(whole, length):
            for c in range(channels):
                m[c] += _read(row[i, c])
        for c in range(channels):
            m[c] /= mean.dtype.type(length)
        for i in range(0, whole, 4):
            for c in range(channels):
                first, second = _read(row[i, c]) - m[c], _read(row[i + 1, c]) - m[c]
                third, fourth = _read(row[i + 2, c]) - m[c], _read(row[i + 3, c]) - m[c]
                s[c] += (first * first + second * second) + (third * third + fourth * fourth)
        for i in range(whole, length):
            for c in range(channels):
                off = _read(row[i, c]) - m[c]
                s[c] += off * off


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
                out[i, c] = _write((_read(row[i, c]) - center[c]) * scale[c] + shift[c], row[i, c])
        return
    for c in range(row.shape[0]):
        values, to, middle, factor, offset = row[c], out[c], center[c], scale[c], shift[c]
        for i in range(row.shape[1]):
            to[i] = _write((_read(values[i]) - middle) * factor + offset, values[i])


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
    """For each row and channel: sum of gradient * (x - center), and sum of gradient."""
    zero = center.dtype.type(0)
    if not channels_last:
        for n in range(start, stop):
            for c in range(x.shape[1]):
                row, slope, middle, first, second = x[n, c], gradient[n, c], center[group[n], c], zero, zero
                for i in range(x.shape[2]):
                    value = _read(slope[i])
                    first += value * (_read(row[i]) - middle)
                    second += value
                of_scale[n, c] = first
                of_shift[n, c] = second
        return
    length, channels = x.shape[1], x.shape[2]
    whole = length - length % 4
    for n in range(start, stop):
        row, slope, m, p, q = x[n], gradient[n], center[group[n]], of_scale[n], of_shift[n]
        for c in range(channels):
            p[c] = zero
            q[c] = zero
        for i in range(0, whole, 4):
            for c in range(channels):
                first, second = _read(slope[i, c]), _read(slope[i + 1, c])
                third, fourth = _read(slope[i + 2, c]), _read(slope[i + 3, c])
                q[c] += (first + second) + (third + fourth)
                first *= _read(row[i, c]) - m[c]
                second *= _read(row[i + 1, c]) - m[c]
                third *= _read(row[i + 2, c]) - m[c]
                fourth *= _read(row[i + 3, c]) - m[c]
                p[c] += (first + second) + (third + fourth)
        for i in range(whole, length):
            for c in range(channels):
                value = _read(slope[i, c])
                q[c] += value
                p[c] += value * (_read(row[i, c]) - m[c])


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
                    value = _read(up[i, c]) * a[c] + (_read(row[i, c]) - m[c]) * p[c] + q[c]
                    to[i, c] = _write(value, row[i, c])
            continue
        for c in range(x.shape[1]):
            row, up, to = x[n, c], gradient[n, c], out[n, c]
            middle, factor, tilt, offset = center[g, c], scale[g, c], slope[g, c], level[g, c]
            for i in range(x.shape[2]):
                value = _read(up[i]) * factor + (_read(row[i]) - middle) * tilt + offset
                to[i] = _write(value, row[i])


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

    A row is read once for both of its moments, as distances from its first value, which lies among the others so that
    their difference of squares keeps its digits; it is still in the cache when it is normalized.
    """
    channels = mean.shape[1]
    lines = np.empty((5, channels), mean.dtype)
    sums, squares, center, scale, shift = lines[0], lines[1], lines[2], lines[3], lines[4]
    length = x.shape[1] if channels_last else x.shape[2]
    for n in range(start, stop):
        g, row, to = group[n], x[n], out[n]
        if channels_last:
            _distances(row, sums, squares)
        else:
            for c in range(channels):
                values, base = row[c], _read(row[c, 0])
                total, square = sums.dtype.type(0), sums.dtype.type(0)
                for i in range(length):
                    off = _read(values[i]) - base
                    total += off
                    square += off * off
                sums[c] = total
                squares[c] = square
        for c in range(channels):
            base = _read(row[0, c] if channels_last else row[c, 0])
            off = sums[c] / length
            sums[c] = base + off
            squares[c] = max(squares[c] / length - off * off, 0.0)
        if width > 1:
            _over_channels(sums, squares, width)
        for c in range(channels):
            off = sums[c] - mean[g, c]
            mixed = alpha * squares[c] + (1.0 - alpha) * variance[g, c] + alpha * (1.0 - alpha) * off * off
            center[c] = alpha * sums[c] + (1.0 - alpha) * mean[g, c]
            scale[c] = gamma[g, c] / np.sqrt(mixed + eps)
            shift[c] = beta[g, c]
        _line(row, channels_last, center, scale, shift, to)


@summing
def _distances(row: Images, sums: Table, squares: Table) -> None:
    """For each channel of (L, C): sums of distances from the first value, and of their squares."""
    length, channels = row.shape
    whole = length - length % 4
    sums[:] = 0
    squares[:] = 0
    for i in range(0, whole, 4):
        for c in range(channels):
            base = _read(row[0, c])
            first, second = _read(row[i, c]) - base, _read(row[i + 1, c]) - base
            third, fourth = _read(row[i + 2, c]) - base, _read(row[i + 3, c]) - base
            sums[c] += (first + second) + (third + fourth)
            squares[c] += (first * first + second * second) + (third * third + fourth * fourth)
    for i in range(whole, length):
        for c in range(channels):
            off = _read(row[i, c]) - _read(row[0, c])
            sums[c] += off
            squares[c] += off * off


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
