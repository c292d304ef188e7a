"""Digital corruptions, compiled. The definitions stand in `elinvar.shift.digital` and `elinvar.shift.jpeg`."""

import numpy as np
from numpy.typing import NDArray

from ...jit import kernel
from . import sampling
from .jpeg import jpeg_compression as jpeg_compression
from .random import fill_uniform
from .warp import warp as warp

Images = NDArray[np.float64]
Weights = NDArray[np.float64]
Indices = NDArray[np.int64]
BITS, HALF = 22, 1 << 21  # of Pillow's fixed-point weights


@kernel
def contrast(x: Images, factor: float, out: Images) -> None:
    channels, height, width = x.shape[1:]
    sums = np.empty(width)
    for i in range(len(x)):
        for c in range(channels):
            sums[:] = 0.0
            for y in range(height):
                for z in range(width):
                    sums[z] += x[i, c, y, z]
            mean = sums.sum() / (height * width) / 255.0
            for y in range(height):
                for z in range(width):
                    out[i, c, y, z] = ((x[i, c, y, z] / 255.0 - mean) * factor + mean) * 255.0


@kernel
def saturate(x: Images, scale: float, shift: float, out: Images) -> None:
    height, width = x.shape[2:]
    for i in range(len(x)):
        for y in range(height):
            red, green, blue = x[i, 0, y], x[i, 1, y], x[i, 2, y]
            for z in range(width):
                r, g, b = red[z] / 255.0, green[z] / 255.0, blue[z] / 255.0
                value, least = max(r, g, b), min(r, g, b)
                spread = value - least
                saturation = min(max(spread / (value if value > 0.0 else 1.0) * scale + shift, 0.0), 1.0)
                whole, grey = (spread, 0.0) if spread > 0.0 else (1.0, 1.0)
                out[i, 0, y, z] = value * (1.0 - (value - r) / whole * saturation) * 255.0
                out[i, 1, y, z] = value * (1.0 - ((value - g) / whole + grey) * saturation) * 255.0
                out[i, 2, y, z] = value * (1.0 - ((value - b) / whole + grey) * saturation) * 255.0


@kernel
def elastic_transform(
    x: Images,
    streams: NDArray[np.uint64],
    alpha: float,
    affine: float,
    taps: Weights,
    rows: Indices,
    columns: Indices,
    of_rows: Weights,
    of_columns: Weights,
    out: Images,
) -> None:
    channels, height, width = x.shape[1:]
    r, cx, cy = min(height, width) // 3, width // 2, height // 2
    draws = np.empty(6 + 2 * height * width)
    field = draws[6:].reshape(2, height, width)
    shift, warped = np.empty((2, height, width)), np.empty((channels, height, width))
    half = np.empty((height, width))
    for i in range(len(x)):
        fill_uniform(streams[i], 0, draws)
        for j in range(draws.size):
            draws[j] = draws[j] * 2 - 1
        x0, y0 = cx + r + draws[0] * affine, cy + r + draws[1] * affine
        x1, y1 = cx + r + draws[2] * affine, cy - r + draws[3] * affine
        x2, y2 = cx - r + draws[4] * affine, cy - r + draws[5] * affine
        xx, yx, xy, yy = (x1 - x2) / (2 * r), (y1 - y2) / (2 * r), (x0 - x1) / (2 * r), (y0 - y1) / (2 * r)
        x_rest, y_rest = x2 - xx * (cx - r) - xy * (cy - r), y2 - yx * (cx - r) - yy * (cy - r)
        determinant = xx * yy - xy * yx
        inverse = 1 / determinant if determinant != 0 else 0.0
        a, b, d, e = yy * inverse, -xy * inverse, -yx * inverse, xx * inverse
        c, f = -(a * x_rest + b * y_rest), -(d * x_rest + e * y_rest)
        for y in range(height):
            for z in range(width):
                sampling.bilinear(x[i], d * z + e * y + f, a * z + b * y + c, 0.0, y, z, warped)
        for axis in range(2):
            if of_rows.size > 0:
                sampling.multiply(field[axis], of_columns, half)
                sampling.multiply(of_rows, half, shift[axis])
            else:
                sampling.smooth(field[axis], taps, rows, columns, shift[axis])
        for y in range(height):
            for z in range(width):
                sampling.bilinear(warped, y + shift[1, y, z] * alpha, z + shift[0, y, z] * alpha, 0.5, y, z, out[i])


@kernel
def pixelate(
    x: Images,
    row_first: Indices,
    row_weights: Indices,
    column_first: Indices,
    column_weights: Indices,
    row_up: Indices,
    column_up: Indices,
    out: Images,
) -> None:
    channels, height, width = x.shape[1:]
    level = np.zeros(width + column_weights.shape[1], np.int64)  # taps beyond the edge weigh nothing
    narrow = np.empty((height, column_first.size), np.int64)
    total, small = np.empty(column_first.size, np.int64), np.empty(column_first.size)
    for i in range(len(x)):
        for c in range(channels):
            for y in range(height):
                for z in range(width):
                    level[z] = int(x[i, c, y, z] + 0.5)
                line = narrow[y]
                line[:] = HALF
                for tap in range(column_weights.shape[1]):
                    shifted = level[tap:]
                    for z in range(line.size):
                        line[z] += shifted[column_first[z]] * column_weights[z, tap]
                for z in range(line.size):
                    line[z] = line[z] >> BITS
            up = 0
            for y in range(row_first.size):
                total[:] = HALF
                for tap in range(row_weights.shape[1]):
                    line, weight = narrow[min(row_first[y] + tap, height - 1)], row_weights[y, tap]
                    for z in range(total.size):
                        total[z] += line[z] * weight
                for z in range(total.size):
                    small[z] = total[z] >> BITS
                while up < height and row_up[up] == y:
                    result = out[i, c, up]
                    for z in range(width):
                        result[z] = small[column_up[z]]
                    up += 1
