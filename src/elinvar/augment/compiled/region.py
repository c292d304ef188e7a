"""Operations that change a rectangle: to a colour, to noise, or by adding noise.

The noise is that of `augment/seeds.py`. Parameters are cut to whole numbers where they count pixels.
"""

import numpy as np
from numpy.typing import NDArray

from ...jit import inlined, kernel
from ...splitmix import bits
from .. import seeds
from .histogram import INDEX
from .scratch import TILE, Bytes, Floats, Scratch
from .table import BYTE, FLOAT, INT, copy

KEY = np.uint64(seeds.KEY)
HALF_RANGE = FLOAT(2 / seeds.DRAWS)

Shape = tuple[int, int, int]
Draws = NDArray[np.uint16]


@inlined
def span(start: np.float32, length: np.float32, side: int) -> tuple[int, int]:
    """The part of `start` to `start + length` that is inside of 0 to `side`."""
    # In floating point: no integer holds every parameter that a program may have.
    first = np.trunc(np.float64(start))
    last = first + np.trunc(np.float64(length))
    return int(min(max(first, 0.0), np.float64(side))), int(min(max(last, 0.0), np.float64(side)))


@inlined
def byte(value: np.float32) -> np.uint8:
    return BYTE(INT(min(max(value, FLOAT(0)), FLOAT(255))))


@inlined
def stream(seed: np.float32) -> np.uint64:
    return bits(KEY, int(seed))


@inlined
def draw(stream: np.uint64, first: int, last: int, words: NDArray[np.uint64]) -> int:
    """Draws for the values `first` to `last` of an image into `words`; the place of the first among those there."""
    start = first // 4
    for i in range((last + 3) // 4 - start):
        words[INDEX(i)] = bits(stream, start + i)
    return first - 4 * start


@inlined
def add_normal(
    source: Bytes, target: Bytes, first: int, last: int, sigma: np.float32, draws: Draws, place: int, normals: Floats
) -> None:
    """Values `first` to `last` with Gaussian noise from the draws at `place`, rounded and clipped."""
    for i in range(last - first):
        added = sigma * normals[draws[INDEX(place + i)]]
        target[INDEX(first + i)] = byte((FLOAT(source[INDEX(first + i)]) + added) + FLOAT(0.5))


@kernel
def cutout(source: Bytes, target: Bytes, shape: Shape, args: Floats) -> None:
    """Pixels of the rectangle get one colour."""
    channels, height, width = shape
    copy(source, target, channels * height * width)
    top, bottom = span(args[2], args[0], height)
    left, right = span(args[3], args[1], width)
    for channel in range(channels):
        value = byte(args[4 + channel])
        for y in range(top, bottom):
            row = (channel * height + y) * width
            for x in range(left, right):
                target[INDEX(row + x)] = value


@kernel
def erase(source: Bytes, target: Bytes, shape: Shape, args: Floats, scratch: Scratch) -> None:
    """Values of the rectangle are drawn anew, each alike from 0..255."""
    channels, height, width = shape
    copy(source, target, channels * height * width)
    top, bottom = span(args[2], args[0], height)
    left, right = span(args[3], args[1], width)
    words, draws, random = scratch.fetched.view(np.uint64), scratch.fetched.view(np.uint16), stream(args[4])
    for channel in range(channels):
        for y in range(top, bottom):
            row = (channel * height + y) * width
            place = draw(random, row + left, row + right, words)
            for x in range(right - left):
                target[INDEX(row + left + x)] = BYTE(draws[INDEX(place + x)] >> np.uint16(8))


@kernel
def gaussian_noise(source: Bytes, target: Bytes, shape: Shape, args: Floats, scratch: Scratch) -> None:
    """Gaussian noise on every value, with a standard deviation for each channel."""
    channels, height, width = shape
    plane = height * width
    words, draws, random = scratch.fetched.view(np.uint64), scratch.fetched.view(np.uint16), stream(args[3])
    for channel in range(channels):
        end = (channel + 1) * plane
        for first in range(channel * plane, end, TILE):
            last = min(first + TILE, end)
            place = draw(random, first, last, words)
            add_normal(source, target, first, last, args[channel], draws, place, scratch.normals)


@kernel
def patch_gaussian(source: Bytes, target: Bytes, shape: Shape, args: Floats, scratch: Scratch) -> None:
    """Gaussian noise in the rectangle."""
    channels, height, width = shape
    copy(source, target, channels * height * width)
    top, bottom = span(args[2], args[0], height)
    left, right = span(args[3], args[1], width)
    words, draws, random = scratch.fetched.view(np.uint64), scratch.fetched.view(np.uint16), stream(args[5])
    for channel in range(channels):
        for y in range(top, bottom):
            row = (channel * height + y) * width
            place = draw(random, row + left, row + right, words)
            add_normal(source, target, row + left, row + right, args[4], draws, place, scratch.normals)


@kernel
def patch_uniform(source: Bytes, target: Bytes, shape: Shape, args: Floats, scratch: Scratch) -> None:
    """Noise in the rectangle, uniform from -amplitude to +amplitude, rounded and clipped."""
    channels, height, width = shape
    copy(source, target, channels * height * width)
    top, bottom = span(args[2], args[0], height)
    left, right = span(args[3], args[1], width)
    words, draws, random = scratch.fetched.view(np.uint64), scratch.fetched.view(np.uint16), stream(args[5])
    for channel in range(channels):
        for y in range(top, bottom):
            row = (channel * height + y) * width
            place = draw(random, row + left, row + right, words)
            for x in range(right - left):
                part = (FLOAT(draws[INDEX(place + x)]) + FLOAT(0.5)) * HALF_RANGE - FLOAT(1)
                value = (FLOAT(source[INDEX(row + left + x)]) + args[4] * part) + FLOAT(0.5)
                target[INDEX(row + left + x)] = byte(value)
