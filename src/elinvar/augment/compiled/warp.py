"""Operations that fetch each pixel from another place, blending the pixels around it.

As in Pillow, pixel (x, y) covers the unit square around (x + 1/2, y + 1/2); a place inside the image always has a
value, blended from the nearest four pixels with those at the border repeated, and its fraction is cut off; a place
outside gets the fill. Places are computed in float64, blends in float32.
"""

import math

import numpy as np

from ...jit import inlined, kernel
from .histogram import INDEX
from .scratch import BLOCK, TILE, Bytes, Floats, Ints, Scratch, Words
from .table import BYTE, FLOAT, INT

WORD = np.uint32


@inlined
def lerp(low: np.uint8, high: np.uint8, part: np.float32) -> np.uint8:
    return BYTE(INT(FLOAT(low) + (FLOAT(high) - FLOAT(low)) * part))


@kernel
def rows(
    source: Bytes, target: Bytes, channels: int, height: int, width: int, slope: float, offset: float, fill: Bytes
) -> None:
    """Each row moves by its own amount: out(x, y) = in(x + slope y + offset, y)."""
    for channel in range(channels):
        empty = fill[channel]
        for y in range(height):
            start = (channel * height + y) * width
            shift = min(max(slope * (y + 0.5) + offset, -width - 1.0), width + 1.0)
            whole = math.floor(shift)
            part = FLOAT(shift - whole)
            # Inside [first, last) both neighbours are in the row.
            first, last = max(0, -whole), min(width, width - 1 - whole)
            here, there = INDEX(start + first), INDEX(start + first + whole)
            if part == FLOAT(0):
                for i in range((last - first + BLOCK - 1) // BLOCK * BLOCK):
                    target[here + INDEX(i)] = source[there + INDEX(i)]
            else:
                for i in range((last - first + BLOCK - 1) // BLOCK * BLOCK):
                    from_ = there + INDEX(i)
                    target[here + INDEX(i)] = lerp(source[from_], source[from_ + INDEX(1)], part)
            for x in range(min(first, width)):
                target[INDEX(start + x)] = empty
            if 0 < first <= width and part >= FLOAT(0.5):
                target[INDEX(start + first - 1)] = source[start]
            for x in range(max(last, 0), width):
                target[INDEX(start + x)] = empty
            if 0 <= last < width and part < FLOAT(0.5):
                target[INDEX(start + last)] = source[start + width - 1]


@inlined
def segments(width: int, height: int, slope: float, offset: float, segment: Ints, shift: Ints, part: Floats) -> int:
    """Cut the columns into runs that move by the same whole number of pixels; how many there are."""
    count = 0
    for x in range(width):
        move = min(max(slope * (x + 0.5) + offset, -height - 1.0), height + 1.0)
        whole = math.floor(move)
        part[x] = FLOAT(move - whole)
        if count == 0 or whole != shift[count - 1]:
            segment[count], shift[count] = x, whole
            count += 1
    segment[count] = width
    return count


@inlined
def border(
    source: Bytes,
    target: Bytes,
    here: np.uint64,
    there: np.uint64,
    part: Floats,
    inside: bool,
    below: bool,
    empty: np.uint8,
) -> None:
    """Pixels fetched from just outside the first or last row: half of them are nearer to it than to the outside."""
    for i in range(len(part)):
        near = part[i] < FLOAT(0.5) if below else part[i] >= FLOAT(0.5)
        target[here + INDEX(i)] = source[there + INDEX(i)] if inside and near else empty


@kernel
def columns(
    source: Bytes,
    target: Bytes,
    channels: int,
    height: int,
    width: int,
    slope: float,
    offset: float,
    fill: Bytes,
    scratch: Scratch,
) -> None:
    """Each column moves by its own amount: out(x, y) = in(x, y + slope x + offset)."""
    segment, shift, part = scratch.segment, scratch.shift, scratch.right
    runs = segments(width, height, slope, offset, segment, shift, part)
    exact = slope == 0.0 and part[0] == FLOAT(0)
    for row in range(channels * height):
        channel = row // height
        y = row - channel * height
        for run in range(runs):
            left, right, above = int(segment[run]), int(segment[run + 1]), y + int(shift[run])
            here, there = INDEX(row * width + left), INDEX((channel * height + above) * width + left)
            if exact and 0 <= above < height:
                for i in range(width):
                    target[here + INDEX(i)] = source[there + INDEX(i)]
            elif 0 <= above < height - 1:
                for i in range((right - left + BLOCK - 1) // BLOCK * BLOCK):
                    from_ = there + INDEX(i)
                    low, high = source[from_], source[from_ + INDEX(width)]
                    target[here + INDEX(i)] = lerp(low, high, part[INDEX(left + i)])
            else:
                from_ = there + INDEX(width) if above == -1 else there
                inside = above in (-1, height - 1)
                border(source, target, here, from_, part[left:right], inside, above >= 0, fill[channel])


@inlined
def word(nw: np.uint8, ne: np.uint8, sw: np.uint8, se: np.uint8) -> np.uint32:
    return WORD(WORD(nw) | (WORD(ne) << WORD(8)) | (WORD(sw) << WORD(16)) | (WORD(se) << WORD(24)))


@inlined
def pack(source: Bytes, start: int, height: int, width: int, empty: np.uint8, words: Words) -> None:
    """One word for the four pixels around each corner of the grid, those outside repeated from the border.

    The corner to the upper left of pixel (x, y) has the place y (width + 1) + x; after the last comes the fill.
    """
    for y in range(height + 1):
        upper, lower = INDEX(start + max(y - 1, 0) * width), INDEX(start + min(y, height - 1) * width)
        here = INDEX(y * (width + 1))
        for x in range((width - 1 + BLOCK - 1) // BLOCK * BLOCK):
            i, j = INDEX(x), INDEX(x) + INDEX(1)
            words[here + j] = word(source[upper + i], source[upper + j], source[lower + i], source[lower + j])
        end = INDEX(width - 1)
        words[here] = word(source[upper], source[upper], source[lower], source[lower])
        words[here + INDEX(width)] = word(
            source[upper + end], source[upper + end], source[lower + end], source[lower + end]
        )
    words[(height + 1) * (width + 1)] = word(empty, empty, empty, empty)


@inlined
def places(
    top: int, bottom: int, height: int, width: int, matrix: tuple[float, ...], place: Words, right: Floats, down: Floats
) -> None:
    """For each pixel of rows `top` to `bottom`: the corner to fetch it from, how far right and down it lies there."""
    a, b, c, d, e, f = matrix
    stride, outside = INT(width + 1), INT((width + 1) * (height + 1))
    for y in range(top, bottom):
        along, across = b * (y + 0.5), e * (y + 0.5)
        start = INDEX((y - top) * width)
        for x in range(width):
            i = start + INDEX(x)
            u, v = a * (x + 0.5) + along + c, d * (x + 0.5) + across + f
            inside = (u >= 0.0) & (u < width) & (v >= 0.0) & (v < height)
            column, line = INT(u + 0.5), INT(v + 0.5)
            right[i], down[i] = FLOAT(u + 0.5 - column), FLOAT(v + 0.5 - line)
            place[i] = WORD(line * stride + column) if inside else WORD(outside)


@inlined
def unpack(words: Words, right: Floats, down: Floats, target: Bytes, start: int, pixels: int) -> None:
    """Blend the four pixels of each word."""
    for i in range(pixels):
        four = words[i]
        nw, ne = FLOAT(INT(four & WORD(255))), FLOAT(INT((four >> WORD(8)) & WORD(255)))
        sw, se = FLOAT(INT((four >> WORD(16)) & WORD(255))), FLOAT(INT(four >> WORD(24)))
        upper = nw + (ne - nw) * right[i]
        lower = sw + (se - sw) * right[i]
        target[INDEX(start) + INDEX(i)] = BYTE(INT(upper + (lower - upper) * down[i]))


@kernel
def affine(
    source: Bytes,
    target: Bytes,
    channels: int,
    height: int,
    width: int,
    matrix: tuple[float, ...],
    fill: Bytes,
    scratch: Scratch,
) -> None:
    """out(x, y) = in(a x + b y + c, d x + e y + f) for matrix (a, b, c, d, e, f)."""
    plane = height * width
    for channel in range(channels):
        pack(source, channel * plane, height, width, fill[channel], scratch.neighbours[channel])
    # Some rows at a time, whose places stay in the first cache.
    lines = max(1, TILE // width)
    for top in range(0, height, lines):
        bottom = min(top + lines, height)
        places(top, bottom, height, width, matrix, scratch.place, scratch.right, scratch.down)
        pixels = (bottom - top) * width
        for channel in range(channels):
            words = scratch.neighbours[channel]
            for i in range(pixels):
                scratch.fetched[INDEX(i)] = words[scratch.place[INDEX(i)]]
            unpack(scratch.fetched, scratch.right, scratch.down, target, channel * plane + top * width, pixels)


@kernel
def rotate(
    source: Bytes,
    target: Bytes,
    channels: int,
    height: int,
    width: int,
    degrees: float,
    fill: Bytes,
    scratch: Scratch,
) -> None:
    """Turn counterclockwise around the centre of the image."""
    # Rounded so that quarter turns are exact.
    cosine = round(math.cos(math.radians(degrees)) * 1e15) / 1e15
    sine = round(math.sin(math.radians(degrees)) * 1e15) / 1e15
    x, y = width / 2, height / 2
    matrix = (cosine, -sine, x - (cosine * x - sine * y), sine, cosine, y - (sine * x + cosine * y))
    affine(source, target, channels, height, width, matrix, fill, scratch)


@kernel
def flip(source: Bytes, target: Bytes, channels: int, height: int, width: int) -> None:
    """Swap left and right."""
    for row in range(channels * height):
        start = INDEX(row * width)
        end = start + INDEX(width - 1)
        for x in range(width):
            target[start + INDEX(x)] = source[end - INDEX(x)]


@kernel
def flip_vertical(source: Bytes, target: Bytes, channels: int, height: int, width: int) -> None:
    """Swap top and bottom."""
    for channel in range(channels):
        for y in range(height):
            here = INDEX((channel * height + y) * width)
            there = INDEX((channel * height + height - 1 - y) * width)
            for x in range(width):
                target[here + INDEX(x)] = source[there + INDEX(x)]
