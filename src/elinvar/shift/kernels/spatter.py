"""Spatter, compiled. The definitions stand in `elinvar.shift.spatter`."""

import numpy as np
from numpy.typing import NDArray

from ...jit import inlined, kernel
from . import sampling
from .random import fill_normal

Images = NDArray[np.float64]
Plane = NDArray[np.float64]
Weights = NDArray[np.float64]
Whole = NDArray[np.int64]
Indices = NDArray[np.int64]
LOW, HIGH = 50, 150
TANGENT = 13573  # tan(22.5 degrees) in 2**-15
ONE, DIAGONAL, LONG = 65536, 91750, 143976  # steps of 1, 1.4 and 2.1969 in 2**-16
FAR = 20 * ONE
NINTH = 1.0 / 9.0


@inlined
def _frame(plane: Whole, replicate: bool, padded: Whole) -> None:
    """A border of one pixel: the edge pixel once more, or the one behind it (reflect-101)."""
    height, width = plane.shape
    for y in range(height + 2):
        row = y - 1
        if row < 0:
            row = 0 if replicate else 1
        elif row == height:
            row = height - 1 if replicate else height - 2
        for x in range(width):
            padded[y, x + 1] = plane[row, x]
        padded[y, 0] = padded[y, 1 if replicate else 2]
        padded[y, width + 1] = padded[y, width if replicate else width - 1]


@kernel
def canny(plane: Whole, padded: Whole, edges: Whole) -> None:
    """`edges` becomes 1 on the edges of `plane`, else 0. `padded` is scratch with a border of one pixel."""
    height, width = plane.shape
    _frame(plane, True, padded)
    dx, dy = np.empty((height, width), np.int64), np.empty((height, width), np.int64)
    magnitude = np.zeros((height + 2, width + 2), np.int64)
    for y in range(height):
        above, row, below = padded[y], padded[y + 1], padded[y + 2]
        for x in range(width):
            left, right = above[x] + 2 * row[x] + below[x], above[x + 2] + 2 * row[x + 2] + below[x + 2]
            top, bottom = above[x] + 2 * above[x + 1] + above[x + 2], below[x] + 2 * below[x + 1] + below[x + 2]
            dx[y, x], dy[y, x] = right - left, bottom - top
            magnitude[y + 1, x + 1] = abs(right - left) + abs(bottom - top)
    candidates = np.zeros((height + 2, width + 2), np.int64)
    stack, count = np.empty(height * width, np.int64), 0
    for y in range(height):
        for x in range(width):
            m = magnitude[y + 1, x + 1]
            if m <= LOW:
                continue
            across, down = abs(dx[y, x]), abs(dy[y, x]) << 15
            flat = across * TANGENT
            if down < flat:
                ridge = m > magnitude[y + 1, x] and m >= magnitude[y + 1, x + 2]
            elif down > flat + (across << 16):
                ridge = m > magnitude[y, x + 1] and m >= magnitude[y + 2, x + 1]
            else:
                s = -1 if (dx[y, x] ^ dy[y, x]) < 0 else 1
                ridge = m > magnitude[y, x + 1 - s] and m > magnitude[y + 2, x + 1 + s]
            if ridge:
                candidates[y + 1, x + 1] = 1
                if m > HIGH:
                    candidates[y + 1, x + 1] = 2
                    stack[count] = (y + 1) * (width + 2) + x + 1
                    count += 1
    while count > 0:
        count -= 1
        y, x = stack[count] // (width + 2), stack[count] % (width + 2)
        for b in range(y - 1, y + 2):
            for a in range(x - 1, x + 2):
                if candidates[b, a] == 1:
                    candidates[b, a] = 2
                    stack[count] = b * (width + 2) + a
                    count += 1
    for y in range(height):
        for x in range(width):
            edges[y, x] = candidates[y + 1, x + 1] // 2


@inlined
def _relax(wide: Whole, y: int, x: int, s: int) -> int:
    # the nearest edge by way of the neighbours above and to the left (s = 1), or below and to the right (s = -1)
    near = min(wide[y - s, x - 1], wide[y - s, x + 1]) + DIAGONAL
    side = min(wide[y - s, x], wide[y, x - s]) + ONE
    jump = min(min(wide[y - 2 * s, x - 1], wide[y - 2 * s, x + 1]), min(wide[y - s, x - 2], wide[y - s, x + 2])) + LONG
    return int(min(min(near, side), min(jump, wide[y, x])))


@kernel
def distance(edges: Whole, wide: Whole) -> None:
    """`wide`, with a border of two pixels, becomes the distance to the nearest edge, at most 20, in 2**-16."""
    height, width = edges.shape
    wide[:] = FAR
    for y in range(height):
        for x in range(width):
            wide[y + 2, x + 2] = 0 if edges[y, x] == 1 else _relax(wide, y + 2, x + 2, 1)
    for y in range(height + 1, 1, -1):
        for x in range(width + 1, 1, -1):
            wide[y, x] = _relax(wide, y, x, -1)


@kernel
def equalize(plane: Whole) -> None:
    """Spread the levels so that each is as frequent as any, in place."""
    counts = np.zeros(256, np.int64)
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            counts[plane[y, x]] += 1
    first = 0
    while counts[first] == 0:
        first += 1
    rest = plane.size - counts[first]
    if rest == 0:
        return
    scale, total = np.float32(255.0) / np.float32(rest), 0
    table = np.zeros(256, np.int64)
    for brighter in range(first + 1, 256):
        total += counts[brighter]
        table[brighter] = int(np.rint(np.float32(total) * scale))
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            plane[y, x] = table[plane[y, x]]


@inlined
def _nine(padded: Whole, y: int, columns: Whole) -> None:
    """Sums of three pixels of each column, around row y; `columns` is scratch as wide as `padded`."""
    above, row, below = padded[y], padded[y + 1], padded[y + 2]
    for x in range(columns.size):
        columns[x] = above[x] + row[x] + below[x]


@kernel
def relief(plane: Whole, out: Whole) -> None:
    """What the light from the side shows of the drops in `plane` (levels), in levels."""
    height, width = plane.shape
    padded, wide = np.empty((height + 2, width + 2), np.int64), np.empty((height + 4, width + 4), np.int64)
    canny(plane, padded, out)
    distance(out, wide)
    _frame(wide[2:-2, 2:-2], False, padded)
    columns = np.empty(width + 2, np.int64)
    for y in range(height):
        _nine(padded, y, columns)
        for x in range(width):
            out[y, x] = int(np.float32((columns[x] + columns[x + 1] + columns[x + 2]) / ONE * NINTH))
    equalize(out)
    _frame(out, False, padded)
    for y in range(height):
        above, row, below = padded[y], padded[y + 1], padded[y + 2]
        for x in range(width):
            lit = row[x + 1] + row[x + 2] + below[x + 1] + 2 * below[x + 2] - 2 * above[x] - above[x + 1] - row[x]
            out[y, x] = min(max(lit, 0), 255)
    _frame(out, False, padded)
    for y in range(height):
        _nine(padded, y, columns)
        for x in range(width):
            out[y, x] = (2 * (columns[x] + columns[x + 1] + columns[x + 2]) + 9) // 18


@kernel
def wet(x: Images, layer: Plane, strength: float, colour: Weights, published: bool, out: Images) -> None:
    """One image (c, h, w) behind drops of water: `layer` is what `spatter` calls L."""
    channels, height, width = x.shape
    drops, lit = np.empty((height, width), np.int64), np.empty((height, width), np.int64)
    for y in range(height):
        for z in range(width):
            drops[y, z] = int(layer[y, z] * 255.0) & 255 if published else int(min(max(layer[y, z], 0.0), 1.0) * 255.0)
    relief(drops, lit)
    largest = 0
    for y in range(height):
        for z in range(width):
            lit[y, z] *= drops[y, z]
            largest = max(largest, lit[y, z])
    share, black = strength / max(largest, 1), published and largest == 0
    for c in range(channels):
        for y in range(height):
            for z in range(width):
                out[c, y, z] = (0.0 if black else x[c, y, z]) + lit[y, z] * share * colour[c]


@kernel
def muddy(
    x: Images, layer: Plane, cut: float, taps: Weights, rows: Indices, columns: Indices, colour: Weights, out: Images
) -> None:
    """One image (c, h, w) behind specks of mud."""
    channels, height, width = x.shape
    specks, mud = np.empty((height, width)), np.empty((height, width))
    for y in range(height):
        for z in range(width):
            specks[y, z] = 1.0 if layer[y, z] > cut else 0.0
    sampling.smooth(specks, taps, rows, columns, mud)
    for c in range(channels):
        for y in range(height):
            for z in range(width):
                m = mud[y, z] if mud[y, z] >= 0.8 else 0.0
                out[c, y, z] = x[c, y, z] * (1 - m) + m * colour[c]


@kernel
def run_down(layer: Plane, fall: Weights, above: int, out: Plane) -> None:
    """out[y] = sum_k fall_k layer[y + above - k]: each column moves down a little; nothing comes in from outside."""
    height, width = layer.shape
    for y in range(height):
        for z in range(width):
            out[y, z] = 0.0
        for k in range(fall.size):
            row = y + above - k
            if 0 <= row < height:
                for z in range(width):
                    out[y, z] += layer[row, z] * fall[k]


@kernel
def spatter(
    x: Images,
    streams: NDArray[np.uint64],
    mean: float,
    std: float,
    taps: Weights,
    rows: Indices,
    columns: Indices,
    cut: float,
    fall: Weights,
    above: int,
    falls: int,
    strength: float,
    mud: bool,
    mud_taps: Weights,
    mud_rows: Indices,
    mud_columns: Indices,
    colour: Weights,
    published: bool,
    out: Images,
) -> None:
    height, width = x.shape[2:]
    field, layer = np.empty((height, width)), np.empty((height, width))
    for i in range(len(x)):
        fill_normal(streams[i], 0, field.reshape(-1))
        for y in range(height):
            for z in range(width):
                field[y, z] = field[y, z] * std + mean
        sampling.smooth(field, taps, rows, columns, layer)
        for y in range(height):
            for z in range(width):
                layer[y, z] = 0.0 if layer[y, z] < cut else layer[y, z]
        for _ in range(falls):
            run_down(layer, fall, above, field)
            layer, field = field, layer
        if mud:
            muddy(x[i], layer, cut, mud_taps, mud_rows, mud_columns, colour, out[i])
        else:
            wet(x[i], layer, strength, colour, published, out[i])
