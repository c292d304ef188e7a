"""One kernel for each kind of map. Each works on some rows of a batch, (n, channels * height * width), one by one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...jit import kernel, summing
from ...splitmix import bits
from .blend import Images, average, averages, copy, mix
from .random import normals, top

Index = NDArray[np.int64]
Size = tuple[int, int, int]
TINY = np.float64(1e-8)


@kernel
def quarters(
    first: Images,
    second: Images,
    partner: Index,
    output: Images,
    size: Size,
    chosen: Index,
    rows: Index,
    columns: Index,
    weights: NDArray[np.float32],
    start: int,
    stop: int,
) -> None:
    channels, height, width = size
    plane = height * width
    line = np.empty(width, np.float32)
    for k in range(start, stop):
        n = chosen[k]
        a, b, target = first[n], second[partner[n]], output[n]
        cut = min(columns[n], width)
        for band in range(2):
            begin, end = (0, min(rows[n], height)) if band == 0 else (min(rows[n], height), height)
            left, right = weights[n, 2 * band], weights[n, 2 * band + 1]
            if begin == end:
                continue
            if left == right or cut == 0 or cut == width:
                weight = right if cut == 0 else left
                if begin == 0 and end == height:
                    average(a, b, target, weight)
                    continue
                for c in range(channels):
                    low, high = c * plane + begin * width, c * plane + end * width
                    average(a[low:high], b[low:high], target[low:high], weight)
                continue
            line[:cut] = left
            line[cut:] = right
            for c in range(channels):
                for r in range(begin, end):
                    low = c * plane + r * width
                    high = low + width
                    averages(a[low:high], b[low:high], target[low:high], line)


@kernel
def patch(
    first: Images,
    second: Images,
    partner: Index,
    output: Images,
    size: Size,
    chosen: Index,
    begins: Index,
    ends: Index,
    shifts: Index,
    start: int,
    stop: int,
) -> None:
    channels, height, width = size
    plane = height * width
    for k in range(start, stop):
        n = chosen[k]
        a, b, target = first[n], second[partner[n]], output[n]
        left, right, shift = begins[n, 1], ends[n, 1], shifts[n, 0] * width + shifts[n, 1]
        if left == right:
            copy(a, target)
            continue
        for c in range(channels):
            begin, end = c * plane + begins[n, 0] * width, c * plane + ends[n, 0] * width
            copy(a[c * plane : begin], target[c * plane : begin])
            if left == 0 and right == width:
                copy(b[begin + shift : end + shift], target[begin:end])
            else:
                for row in range(begin, end, width):
                    source = row + shift
                    copy(a[row : row + left], target[row : row + left])
                    copy(b[source + left : source + right], target[row + left : row + right])
                    copy(a[row + right : row + width], target[row + right : row + width])
            copy(a[end : (c + 1) * plane], target[end : (c + 1) * plane])


@kernel
def scatter(
    first: Images,
    second: Images,
    partner: Index,
    output: Images,
    chosen: Index,
    streams: NDArray[np.uint64],
    begin: int,
    threshold: Index,
    lines: int,
    step: int,
    draws: int,
    whole: bool,
    mean: NDArray[np.float32],
    start: int,
    stop: int,
) -> None:
    """An image is `lines` lines; line i reads the mask from i step on, modulo `draws`. whole: one draw for a line."""
    length = first.shape[1] // lines
    mask = np.empty(draws, np.bool_)
    for k in range(start, stop):
        n = chosen[k]
        a, b, target = first[n], second[partner[n]], output[n]
        count = 0
        for j in range(draws):
            mask[j] = top(streams[n], begin + j) < threshold[n]
        for j in range(draws):
            count += mask[j]
        mean[n] = np.float32(count / draws)
        for i in range(lines):
            low, high, place = i * length, (i + 1) * length, i * step % draws
            if whole:
                copy(a[low:high] if mask[place] else b[low:high], target[low:high])
                continue
            x, y, made, take = a[low:high], b[low:high], target[low:high], mask[place : place + length]
            for j in range(length):
                made[j] = x[j] if take[j] else y[j]


@kernel
def noise(
    first: Images,
    second: Images,
    partner: Index,
    output: Images,
    size: Size,
    chosen: Index,
    streams: NDArray[np.uint64],
    begin: int,
    weight: NDArray[np.float32],
    sigma: float,
    start: int,
    stop: int,
) -> None:
    channels, plane = size[0], size[1] * size[2]
    half = (plane + 1) // 2
    weights = np.empty(2 * half, np.float32)
    ahead, behind = weights[:half], weights[half:]
    for k in range(start, stop):
        n = chosen[k]
        a, b, target = first[n], second[partner[n]], output[n]
        center = np.float64(weight[n])
        for j in range(half):
            one, other = normals(bits(streams[n], begin + j))
            ahead[j] = np.float32(min(max(center + sigma * one, 0.0), 1.0))
            behind[j] = np.float32(min(max(center + sigma * other, 0.0), 1.0))
        for c in range(channels):
            low, high = c * plane, (c + 1) * plane
            averages(a[low:high], b[low:high], target[low:high], weights)


@summing
def _moments(a: Images, b: Images, size: Size, rows: int, columns: int, center: bool) -> Any:
    """Means of both images, and standard deviations of their two concatenations after means are taken off."""
    channels, height, width = size
    count = np.float64(len(a))
    sum_a = sum_b = 0.0
    if center:
        for i in range(len(a)):
            sum_a += np.float64(a[i])
            sum_b += np.float64(b[i])
    mean_a, mean_b = sum_a / count, sum_b / count
    # Sums and squares of both images in the four parts; a concatenation is two parts of each.
    sums, squares = np.zeros((2, 4)), np.zeros((2, 4))
    for r in range(channels * height):
        for right in range(2):
            begin, end = (0, columns) if right == 0 else (columns, width)
            x, y = a[r * width + begin : r * width + end], b[r * width + begin : r * width + end]
            s = t = ss = tt = 0.0
            for i in range(end - begin):
                u, v = np.float64(x[i]) - mean_a, np.float64(y[i]) - mean_b
                s += u
                t += v
                ss += u * u
                tt += v * v
            part = right + (0 if r % height < rows else 2)
            sums[0, part] += s
            sums[1, part] += t
            squares[0, part] += ss
            squares[1, part] += tt
    down = (sums[0, 0] + sums[0, 1] + sums[1, 2] + sums[1, 3]) / count
    side = (sums[0, 0] + sums[0, 2] + sums[1, 1] + sums[1, 3]) / count
    down_square = (squares[0, 0] + squares[0, 1] + squares[1, 2] + squares[1, 3]) / count - down * down
    side_square = (squares[0, 0] + squares[0, 2] + squares[1, 1] + squares[1, 3]) / count - side * side
    return mean_a, mean_b, np.sqrt(max(down_square, 0.0)) + TINY, np.sqrt(max(side_square, 0.0)) + TINY


@kernel
def balanced(
    first: Images,
    second: Images,
    partner: Index,
    output: Images,
    size: Size,
    chosen: Index,
    rows: Index,
    columns: Index,
    weight: NDArray[np.float32],
    center: bool,
    start: int,
    stop: int,
) -> None:
    channels, height, width = size
    for k in range(start, stop):
        n = chosen[k]
        a, b, target = first[n], second[partner[n]], output[n]
        mean_a, mean_b, loud_down, loud_side = _moments(a, b, size, rows[n], columns[n], center)
        ahead, behind = weight[n] * loud_side, (1.0 - weight[n]) * loud_down
        p = ahead / (ahead + behind)
        q = 1.0 - p
        scale = 1.0 / np.sqrt(p * p + q * q)
        real = output.dtype.type
        for r in range(channels * height):
            above = r % height < rows[n]
            for right in range(2):
                begin, end = (0, columns[n]) if right == 0 else (columns[n], width)
                one = scale * ((p if above else 0.0) + (q if right == 0 else 0.0))
                other = scale * ((0.0 if above else p) + (0.0 if right == 0 else q))
                shift = real(one * mean_a + other * mean_b)
                low, high = r * width + begin, r * width + end
                mix(a[low:high], b[low:high], target[low:high], real(one), real(other), shift)
