"""Every mixing method once more: one image at a time, in float64 numpy, from the same uniform draws.

Pixels are visited one by one, or built from whole pieces as in the thesis' figures; nothing is shared with the library.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]
Draws = NDArray[np.float64]
# More draws of the same stream: how many -> uniform numbers, or 64-bit words.
More = Callable[[int], Any]
Method = Callable[[Image, Image, Draws, More, More], tuple[Image, float]]


def mixup(a: Image, b: Image, u: Draws, more: More, words: More) -> tuple[Image, float]:
    return u[0] * a + (1 - u[0]) * b, u[0]


def vertical(a: Image, b: Image, part: float) -> Image:
    h = math.floor(part * a.shape[1])
    return np.concatenate([a[:, :h], b[:, h:]], axis=1)


def horizontal(a: Image, b: Image, part: float) -> Image:
    v = math.floor(part * a.shape[2])
    return np.concatenate([a[:, :, :v], b[:, :, v:]], axis=2)


def fractions(a: Image, u: Draws) -> tuple[float, float]:
    return math.floor(u[0] * a.shape[1]) / a.shape[1], math.floor(u[2] * a.shape[2]) / a.shape[2]


def vert_concat(a: Image, b: Image, u: Draws, more: More, words: More) -> tuple[Image, float]:
    return vertical(a, b, u[0]), math.floor(u[0] * a.shape[1]) / a.shape[1]


def horizontal_concat(a: Image, b: Image, u: Draws, more: More, words: More) -> tuple[Image, float]:
    return horizontal(a, b, u[0]), math.floor(u[0] * a.shape[2]) / a.shape[2]


def mixed_concat(a: Image, b: Image, u: Draws, more: More, words: More) -> tuple[Image, float]:
    fh, fv = fractions(a, u)
    return vertical(horizontal(a, b, u[2]), horizontal(b, a, u[2]), u[0]), fh * fv + (1 - fh) * (1 - fv)


def random_2x2(a: Image, b: Image, u: Draws, more: More, words: More) -> tuple[Image, float]:
    _, height, width = a.shape
    lows, highs = (height // 4, width // 4), (3 * height // 4, 3 * width // 4)
    h, v = (low + math.floor(u[i] * (high - low)) for i, (low, high) in enumerate(zip(lows, highs, strict=True)))
    mask = np.empty((height, width))
    for place, (rows, columns) in enumerate(
        (rows, columns) for rows in (slice(0, h), slice(h, None)) for columns in (slice(0, v), slice(v, None))
    ):
        mask[rows, columns] = u[3 + place] < u[2]
    return mask * a + (1 - mask) * b, mask.mean()


def vh_mixup(a: Image, b: Image, u: Draws, more: More, words: More) -> tuple[Image, float]:
    fh, fv = fractions(a, u)
    return u[4] * vertical(a, b, u[0]) + (1 - u[4]) * horizontal(a, b, u[2]), u[4] * fh + (1 - u[4]) * fv


def louder(a: Image, b: Image, weight: float) -> Image:
    sa, sb = a.std() + 1e-8, b.std() + 1e-8
    p = 1.0 if weight == 1 else weight * sb / (weight * sb + (1 - weight) * sa)
    made: Image = (p * a + (1 - p) * b) / math.sqrt(p**2 + (1 - p) ** 2)
    return made


def bcplus(a: Image, b: Image, u: Draws, more: More, words: More) -> tuple[Image, float]:
    return louder(a - a.mean(), b - b.mean(), u[0]), u[0]


def vh_bcplus(a: Image, b: Image, u: Draws, more: More, words: More) -> tuple[Image, float]:
    a, b = a - a.mean(), b - b.mean()
    fh, fv = fractions(a, u)
    return louder(vertical(a, b, u[0]), horizontal(a, b, u[2]), u[4]), u[4] * fh + (1 - u[4]) * fv


def paste(a: Image, b: Image, rows: tuple[int, int], columns: tuple[int, int], corner: tuple[int, int]) -> Image:
    made = a.copy()
    for r in range(*rows):
        for c in range(*columns):
            made[:, r, c] = b[:, corner[0] + r - rows[0], corner[1] + c - columns[0]]
    return made


def random_square(a: Image, b: Image, u: Draws, more: More, words: More) -> tuple[Image, float]:
    sides, corner = [], []
    for axis, length in enumerate(a.shape[1:]):
        center = math.floor(u[axis] * length)
        low, high = max(center - 8, 0), min(center + 8, length)
        sides.append((low, high))
        corner.append(math.floor(u[2 + axis] * (length - (high - low) + 1)))
    area = math.prod(high - low for low, high in sides)
    return paste(a, b, sides[0], sides[1], (corner[0], corner[1])), 1 - area / a[0].size


def interval(u: Draws, length: int) -> tuple[int, int, int]:
    low = math.floor(u[0] * length)
    high = low + math.floor(u[1] * (length - low))
    return low, high, math.floor(u[2] * (length - (high - low)))


def random_row_interval(a: Image, b: Image, u: Draws, more: More, words: More) -> tuple[Image, float]:
    low, high, source = interval(u, a.shape[1])
    return paste(a, b, (low, high), (0, a.shape[2]), (source, 0)), 1 - (high - low) / a.shape[1]


def random_column_interval(a: Image, b: Image, u: Draws, more: More, words: More) -> tuple[Image, float]:
    low, high, source = interval(u, a.shape[2])
    return paste(a, b, (0, a.shape[1]), (low, high), (0, source)), 1 - (high - low) / a.shape[2]


def scattered(*axes: int) -> Method:
    def method(a: Image, b: Image, u: Draws, more: More, words: More) -> tuple[Image, float]:
        shape = tuple(size if axis in axes else 1 for axis, size in enumerate(a.shape))
        mask = np.broadcast_to(more(math.prod(shape)).reshape(shape) < u[0], a.shape)
        return np.where(mask, a, b), mask.mean()

    return method


def noisy_mixup(a: Image, b: Image, u: Draws, more: More, words: More) -> tuple[Image, float]:
    pixels = a[0].size
    half = (pixels + 1) // 2
    normals = np.zeros(2 * half)
    for j, word in enumerate(words(half)):
        radius = math.sqrt(-2 * math.log(1 - (int(word) >> 40) / 2**24))
        angle = 2 * math.pi * ((int(word) >> 16) % 2**24) / 2**24
        normals[j], normals[half + j] = radius * math.cos(angle), radius * math.sin(angle)
    weight = np.clip(u[0] + math.sqrt(0.025) * normals[:pixels].reshape(a.shape[1:]), 0, 1)
    return weight * a + (1 - weight) * b, u[0]


def cutmix(a: Image, b: Image, u: Draws, more: More, words: More) -> tuple[Image, float]:
    sides = []
    for axis, length in enumerate(a.shape[1:]):
        center, cut = math.floor(u[2 + axis] * length), math.floor(math.sqrt(1 - u[0]) * length)
        sides.append((max(center - cut // 2, 0), min(center + cut // 2, length)))
    area = math.prod(high - low for low, high in sides)
    return paste(a, b, sides[0], sides[1], (sides[0][0], sides[1][0])), 1 - area / a[0].size


REFERENCE: Mapping[str, Method] = {
    "mixup": mixup,
    "bcplus": bcplus,
    "vert_concat": vert_concat,
    "horizontal_concat": horizontal_concat,
    "mixed_concat": mixed_concat,
    "random_2x2": random_2x2,
    "vh_mixup": vh_mixup,
    "vh_bcplus": vh_bcplus,
    "random_square": random_square,
    "random_column_interval": random_column_interval,
    "random_row_interval": random_row_interval,
    "random_rows": scattered(1),
    "random_columns": scattered(2),
    "random_pixels": scattered(1, 2),
    "random_elements": scattered(0, 1, 2),
    "noisy_mixup": noisy_mixup,
    "cutmix": cutmix,
}
