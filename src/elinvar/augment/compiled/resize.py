"""Cut a box out of each image and resample it, image by image: first its rows, then its columns.

Rows are taken `LANES` at a time and turned, so that in both passes a vector register holds neighbours across the
direction of the pass, which share their coefficients.
"""

import math

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ...jit import inlined, kernel
from ...parallel import for_pieces
from ..filters import BITS, SUPPORT, Interpolation
from .histogram import INDEX
from .layout import PIECE
from .memory import empty
from .scratch import Bytes, Ints
from .table import BYTE, INT

LANES = 64
HALF, SHIFT = INT(1 << (BITS - 1)), INT(BITS)

Boxes = NDArray[np.int64]
Size = tuple[int, int]


@inlined
def weigh(distance: float, cubic: bool) -> float:
    x = abs(distance)
    if not cubic:
        return max(1.0 - x, 0.0)
    a = -0.5
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    return (((x - 5.0) * x + 8.0) * x - 4.0) * a if x < 2.0 else 0.0


@kernel
def coefficients(
    start: int, length: int, side: int, out: int, support: float, cubic: bool, first: Ints, count: Ints, weights: Ints
) -> None:
    """Which pixels of a line of `side`, and how much of each, make the `out` pixels for `start` to `start + length`."""
    scale = length / out
    wide = max(scale, 1.0)
    taps, inverse = weights.shape[1], 1.0 / wide
    weight = np.empty(taps)
    for x in range(out):
        centre = start + (x + 0.5) * scale
        low = max(int(centre - support * wide + 0.5), 0)
        high = min(int(centre + support * wide + 0.5), side)
        total = 0.0
        for k in range(high - low):
            weight[k] = weigh((low + k - centre + 0.5) * inverse, cubic)
            total += weight[k]
        first[x], count[x] = low, high - low
        for k in range(high - low):
            share = weight[k] / total
            weights[x, k] = INT(share * (1 << BITS) + (-0.5 if share < 0 else 0.5))


@inlined
def fixed(total: np.int32) -> np.uint8:
    return BYTE(min(max(total >> SHIFT, INT(0)), INT(255)))


@inlined
def across(
    source: Bytes,
    start: int,
    rows: int,
    width: int,
    left: int,
    right: int,
    out: int,
    first: Ints,
    count: Ints,
    weights: Ints,
    turned: Bytes,
    sums: Ints,
    target: Bytes,
    place: int,
) -> None:
    """Resample the first `rows` (up to LANES) rows from `start` on; their columns `left` to `right` are enough."""
    for lane in range(rows):
        row = start + lane * width
        for x in range(left, right):
            turned[INDEX((x - left) * LANES + lane)] = source[INDEX(row + x)]
    for x in range(out):
        for lane in range(LANES):
            sums[INDEX(lane)] = HALF
        for k in range(count[x]):
            weight = weights[x, k]
            from_ = INDEX((first[x] + k - left) * LANES)
            for lane in range(LANES):
                sums[INDEX(lane)] += INT(turned[from_ + INDEX(lane)]) * weight
        for lane in range(rows):
            target[INDEX(place + lane * out + x)] = fixed(sums[INDEX(lane)])


@inlined
def down(
    source: Bytes, begin: int, out: int, first: int, count: int, weights: Ints, sums: Ints, target: Bytes, place: int
) -> None:
    """One row of `out` pixels from `count` rows of `source`, of which the first is row `first` from `begin` on."""
    for x in range(out):
        sums[INDEX(x)] = HALF
    for k in range(count):
        weight, row = weights[k], INDEX(begin + (first + k) * out)
        for x in range(out):
            sums[INDEX(x)] += INT(source[row + INDEX(x)]) * weight
    for x in range(out):
        target[INDEX(place + x)] = fixed(sums[INDEX(x)])


@kernel
def crops(
    images: Bytes, output: Bytes, shape: tuple[int, int, int], size: Size, boxes: Boxes, cubic: bool, support: float,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Images `start` to `stop` of (N, pixels)."""
    channels, height, width = shape
    tall, wide = size
    taps_x = math.ceil(support * max(boxes[start:stop, 1].max() / wide, 1.0)) * 2 + 1
    taps_y = math.ceil(support * max(boxes[start:stop, 0].max() / tall, 1.0)) * 2 + 1
    first_x, count_x, weights_x = np.empty(wide, INT), np.empty(wide, INT), np.empty((wide, taps_x), INT)
    first_y, count_y, weights_y = np.empty(tall, INT), np.empty(tall, INT), np.empty((tall, taps_y), INT)
    turned, lines = np.zeros(width * LANES, BYTE), np.empty(height * wide, BYTE)
    sums = np.empty(max(wide, LANES), INT)
    for n in range(start, stop):
        coefficients(boxes[n, 3], boxes[n, 1], width, wide, support, cubic, first_x, count_x, weights_x)
        coefficients(boxes[n, 2], boxes[n, 0], height, tall, support, cubic, first_y, count_y, weights_y)
        left, right = first_x[0], first_x[wide - 1] + count_x[wide - 1]
        top, bottom = first_y[0], first_y[tall - 1] + count_y[tall - 1]
        for channel in range(channels):
            for y in range(top, bottom, LANES):
                across(
                    images[n], (channel * height + y) * width, min(LANES, bottom - y), width, left, right, wide,
                    first_x, count_x, weights_x, turned, sums, lines, (y - top) * wide,
                )  # fmt: skip
            for y in range(tall):
                place = (channel * tall + y) * wide
                down(lines, 0, wide, first_y[y] - top, count_y[y], weights_y[y], sums, output[n], place)


def resized_crop(
    images: UInt8[Tensor, "n c h w"], boxes: Int64[Tensor, "n 4"], size: Size, interpolation: Interpolation
) -> UInt8[Tensor, "n c h_out w_out"]:
    """The box (height, width, row, column) of each contiguous image, resampled to `size`."""
    count, channels, height, width = images.shape
    output = empty((count, channels, *size), torch.uint8)
    if not output.numel():
        return output
    source, made, where = images.view(count, -1).numpy(), output.view(count, -1).numpy(), boxes.contiguous().numpy()
    shape, support, cubic = (channels, height, width), SUPPORT[interpolation], interpolation == "bicubic"

    def work(start: int, stop: int) -> None:
        crops(source, made, shape, size, where, cubic, support, start, stop)

    for_pieces(work, count, max(1, PIECE // max(source.shape[1], made.shape[1])))
    return output
