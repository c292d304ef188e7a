"""Compiled kernels for CPU tensors: moments of rows, and an affine map of each row, forwards and backwards.

Images come as (N, C, L) or as (N, L, C) with L values per channel, in float32, float64, or bfloat16 seen as its 16
bits; tables are (G, C), row n reads line `group[n]`. Every kernel works on rows `start` to `stop - 1` and treats a row
the same whatever its neighbours. Sums run in a fixed order that the compiler chooses to fill vector registers.
"""

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from ..jit import summing

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
def moments(
    x: Images,
    channels_last: bool,
    mean: Table,
    squares: Table,
    start: int,
    stop: int,
) -> None:
    """Mean of each row and channel, and sum of squared distances from it."""
    zero = mean.dtype.type(0)
    if channels_last:
        length, channels = x.shape[1], x.shape[2]
        for n in range(start, stop):
            for c in range(channels):
                mean[n, c] = zero
                squares[n, c] = zero
            for i in range(length):
                for c in range(channels):
                    mean[n, c] += _read(x[n, i, c])
            for c in range(channels):
                mean[n, c] /= length
            for i in range(length):
                for c in range(channels):
                    off = _read(x[n, i, c]) - mean[n, c]
                    squares[n, c] += off * off
        return
    channels, length = x.shape[1], x.shape[2]
    for n in range(start, stop):
        for c in range(channels):
            total = zero
            for i in range(length):
                total += _read(x[n, c, i])
            center = total / mean.dtype.type(length)
            total = zero
            for i in range(length):
                off = _read(x[n, c, i]) - center
                total += off * off
            mean[n, c] = center
            squares[n, c] = total


@summing
def pooled(
    mean: Table,
    squares: Table,
    length: int,
    group: Index,
    rows: NDArray[np.int64],
    group_mean: Table,
    group_variance: Table,
) -> None:
    """Moments of groups from those of their rows, by the law of total variance, in float64; biased variances."""
    groups, channels = group_mean.shape
    total = np.zeros((groups, channels))
    for n in range(mean.shape[0]):
        for c in range(channels):
            total[group[n], c] += mean[n, c]
    for g in range(groups):
        for c in range(channels):
            total[g, c] /= max(rows[g], 1)
    around = np.zeros((groups, channels))
    for n in range(mean.shape[0]):
        g = group[n]
        for c in range(channels):
            off = mean[n, c] - total[g, c]
            around[g, c] += squares[n, c] + length * off * off
    for g in range(groups):
        for c in range(channels):
            group_mean[g, c] = total[g, c]
            group_variance[g, c] = around[g, c] / max(rows[g] * length, 1)


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
    if channels_last:
        for n in range(start, stop):
            g = group[n]
            for i in range(x.shape[1]):
                for c in range(x.shape[2]):
                    value = (_read(x[n, i, c]) - center[g, c]) * scale[g, c] + shift[g, c]
                    out[n, i, c] = _write(value, x[n, i, c])
        return
    for n in range(start, stop):
        g = group[n]
        for c in range(x.shape[1]):
            middle, factor, offset = center[g, c], scale[g, c], shift[g, c]
            for i in range(x.shape[2]):
                out[n, c, i] = _write((_read(x[n, c, i]) - middle) * factor + offset, x[n, c, i])


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
    if channels_last:
        channels = x.shape[2]
        for n in range(start, stop):
            g = group[n]
            for c in range(channels):
                of_scale[n, c] = zero
                of_shift[n, c] = zero
            for i in range(x.shape[1]):
                for c in range(channels):
                    value = _read(gradient[n, i, c])
                    of_scale[n, c] += value * (_read(x[n, i, c]) - center[g, c])
                    of_shift[n, c] += value
        return
    for n in range(start, stop):
        g = group[n]
        for c in range(x.shape[1]):
            middle, first, second = center[g, c], zero, zero
            for i in range(x.shape[2]):
                value = _read(gradient[n, c, i])
                first += value * (_read(x[n, c, i]) - middle)
                second += value
            of_scale[n, c] = first
            of_shift[n, c] = second


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
    if channels_last:
        for n in range(start, stop):
            g = group[n]
            for i in range(x.shape[1]):
                for c in range(x.shape[2]):
                    value = _read(gradient[n, i, c]) * scale[g, c]
                    value += (_read(x[n, i, c]) - center[g, c]) * slope[g, c] + level[g, c]
                    out[n, i, c] = _write(value, x[n, i, c])
        return
    for n in range(start, stop):
        g = group[n]
        for c in range(x.shape[1]):
            middle, factor, tilt, offset = center[g, c], scale[g, c], slope[g, c], level[g, c]
            for i in range(x.shape[2]):
                value = _read(gradient[n, c, i]) * factor + (_read(x[n, c, i]) - middle) * tilt + offset
                out[n, c, i] = _write(value, x[n, c, i])


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
    """Each row by alpha of its own moments and 1 - alpha of its group's, `width` neighbouring channels together."""
    kind = mean.dtype.type
    channels = mean.shape[1]
    length = x.shape[1] if channels_last else x.shape[2]
    own, squares = np.empty((1, channels), mean.dtype), np.empty((1, channels), mean.dtype)
    center, scale, shift = (
        np.empty(channels, mean.dtype),
        np.empty(channels, mean.dtype),
        np.empty(channels, mean.dtype),
    )
    a, rest = kind(alpha), kind(1.0 - alpha)
    for n in range(start, stop):
        g = group[n]
        moments(x[n : n + 1], channels_last, own, squares, 0, 1)
        for first in range(0, channels, width):
            middle, spread = kind(0), kind(0)
            remembered, width_of = kind(0), kind(0)
            for c in range(first, first + width):
                middle += own[0, c]
                remembered += mean[g, c]
            middle /= kind(width)
            remembered /= kind(width)
            for c in range(first, first + width):
                off = own[0, c] - middle
                spread += squares[0, c] / kind(length) + off * off
                off = mean[g, c] - remembered
                width_of += variance[g, c] + off * off
            off = middle - remembered
            mixed = a * spread / kind(width) + rest * width_of / kind(width) + a * rest * off * off
            at = a * middle + rest * remembered
            for c in range(first, first + width):
                center[c] = at
                scale[c] = gamma[g, c] / np.sqrt(mixed + kind(eps))
                shift[c] = beta[g, c]
        if channels_last:
            for i in range(length):
                for c in range(channels):
                    out[n, i, c] = _write((_read(x[n, i, c]) - center[c]) * scale[c] + shift[c], x[n, i, c])
        else:
            for c in range(channels):
                middle, factor, offset = center[c], scale[c], shift[c]
                for i in range(length):
                    out[n, c, i] = _write((_read(x[n, c, i]) - middle) * factor + offset, x[n, c, i])
