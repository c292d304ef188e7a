"""The compiled pass of `measure.py`: float64 sums of each channel over some rows, around their first value.

Images come as (N, C, L) or as (N, L, C), as in the passes of training, and are read once.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...jit import kernel, spread, summing
from ..passes.compiled import Images, Table
from ..passes.formats import read

_TILE = 512  # values that are walked together where channels are stored last


@summing
def moments_of_rows(
    x: Images, channels_last: bool, counts: NDArray[np.int64], mean: Table, squares: Table, start: int, stop: int
) -> None:
    """Mean of each channel over rows `start` to `stop - 1`, and sum of squared distances from it, in line `start`.

    mean = p + s / n,   squares = q - s^2 / n      for the sums s and q of d = x - p and of d^2, p the first value
    """
    channels = mean.shape[1]
    length = x.shape[1] if channels_last else x.shape[2]
    count = (stop - start) * length
    counts[start] = count
    times = max(1, _TILE // channels) if channels_last else 1
    size = times * channels
    base, first, second = np.empty(size), np.zeros(size), np.zeros(size)
    for t in range(times):
        for c in range(channels):
            base[t * channels + c] = read(x[start, 0, c] if channels_last else x[start, c, 0])
    if channels_last:
        values = x[start:stop].reshape(-1)
        for begin in range(0, len(values), size):
            part = values[begin : begin + size]
            for t in range(len(part)):
                off = np.float64(read(part[t])) - base[t]
                first[t] += off
                second[t] += off * off
    else:
        for n in range(start, stop):
            for c in range(channels):
                values, origin, total, square = x[n, c], base[c], 0.0, 0.0
                for i in range(length):
                    off = np.float64(read(values[i])) - origin
                    total += off
                    square += off * off
                first[c] += total
                second[c] += square
    for t in range(1, times):
        for c in range(channels):
            first[c] += first[t * channels + c]
            second[c] += second[t * channels + c]
    for c in range(channels):
        mean[start, c] = base[c] + first[c] / count
        squares[start, c] = second[c] - first[c] * first[c] / count


@kernel
def moments(arguments: tuple[Any, ...], rows: int, piece: int, team: tuple[int, int]) -> None:
    """`moments_of_rows` for all rows, a piece at a time."""
    spread(moments_of_rows, arguments, rows, piece, team)
