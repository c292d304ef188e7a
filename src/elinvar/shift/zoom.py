"""Zooming about the centre, as a table of weights: output pixel p is a weighted sum of a few input pixels.

    c = ceil(n / z) pixels from (n - c) // 2 on are stretched to s = round(c z), corner on corner, bilinear;
    n of them from (s - n) // 2 on are kept

A mean over many zoom factors is again such a table: taps of different factors on the same pixel are added once, when
the table is made, and every image then costs the same few sums.
"""

import math

import numpy as np
from numpy.typing import NDArray


def zoom_axis(n: int, factor: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each of n output positions: the input pixel before it, and how far it lies towards the next one.

    >>> low, along = zoom_axis(32, 1.25)
    >>> int(low[0]), int(low[-1]), round(float(along[1]), 4)
    (3, 27, 0.8065)
    """
    crop = math.ceil(n / factor)
    stretched = max(round(crop * factor), n)
    step = (crop - 1) / (stretched - 1)
    position = np.minimum((np.arange(n) + (stretched - n) // 2) * step, crop - 1)
    low = np.minimum(position.astype(np.int64), crop - 2)
    return low + (n - crop) // 2, position - low


def zoom_stencil(factors: tuple[float, ...], height: int, width: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Indices and weights, both (height * width, taps), of the mean over `factors`. Unused taps weigh 0."""
    index, weight = [], []
    for factor in factors:
        (top, down), (left, along) = zoom_axis(height, factor), zoom_axis(width, factor)
        for dy, of_row in ((0, 1 - down), (1, down)):
            for dx, of_column in ((0, 1 - along), (1, along)):
                index.append(((top + dy)[:, None] * width + left + dx).ravel())
                weight.append((of_row[:, None] * of_column).ravel() / len(factors))
    return _merged(np.stack(index, 1), np.stack(weight, 1))


def _merged(index: NDArray[np.int64], weight: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    pixels = np.arange(len(index))[:, None]
    index = np.where(weight > 0, index, index[pixels, weight.argmax(1)[:, None]])  # a tap of no weight joins another
    order = index.argsort(axis=1, kind="stable")
    index, weight = index[pixels, order], weight[pixels, order]
    place = np.cumsum(np.diff(index, axis=1, prepend=index[:, :1]) != 0, axis=1)
    shape = len(index), int(place.max()) + 1
    merged_index = np.broadcast_to(index[:, :1], shape).astype(np.int32)
    merged_weight = np.zeros(shape)
    merged_index[pixels, place] = index
    np.add.at(merged_weight, (pixels, place), weight)
    return merged_index, merged_weight
