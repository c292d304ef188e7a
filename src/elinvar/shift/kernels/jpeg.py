"""JPEG and back without the file, compiled. The definition stands in `elinvar.shift.jpeg`."""

import numpy as np
from numpy.typing import NDArray

from ...jit import inlined, kernel

ONE = 2.0**-16
Plane = NDArray[np.float64]
Images = NDArray[np.float64]


@inlined
def _combine(rows: Plane, weights: Plane, half: float, scale: float, out: Plane) -> None:
    """out_i = floor((half + sum_k weights_ik rows_k) scale) of eight rows, all columns at once."""
    a, b, c, d = rows[0], rows[1], rows[2], rows[3]
    e, f, g, h = rows[4], rows[5], rows[6], rows[7]
    for i in range(8):
        result, w = out[i], weights[i]
        p, q, r, s, t, u, v, z = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
        for x in range(result.size):
            result[x] = half + a[x] * p + b[x] * q + c[x] * r + d[x] * s
        for x in range(result.size):
            result[x] = np.floor((result[x] + e[x] * t + f[x] * u + g[x] * v + h[x] * z) * scale)


@inlined
def _turn(rows: Plane, out: Plane) -> None:
    """Each block of 8x8 in a strip of eight rows, transposed."""
    for left in range(0, rows.shape[1], 8):
        for y in range(8):
            for x in range(8):
                out[x, left + y] = rows[y, left + x]


@inlined
def _quantize(rows: Plane, steps: Plane) -> None:
    for i in range(8):
        row, of_row = rows[i], steps[i]
        for x in range(row.size):
            step = of_row[x]
            count = np.floor((abs(row[x]) + 4.0 * step) / (8.0 * step)) * step
            row[x] = count if row[x] > 0.0 else -count


@kernel
def recode(plane: Plane, cosine: Plane, transposed: Plane, steps: Plane) -> None:
    """Transform blocks of 8x8, round to multiples of `steps`, transform back, in place; a strip of blocks at a time."""
    width = plane.shape[1]
    first, second, tiled = np.empty((8, width)), np.empty((8, width)), np.empty((8, width))
    for i in range(8):
        for x in range(width):
            tiled[i, x] = steps[i, x % 8]
    for top in range(0, plane.shape[0], 8):
        strip = plane[top : top + 8]
        _turn(strip, first)
        for i in range(8):
            for x in range(width):
                first[i, x] -= 128.0
        _combine(first, cosine, 2.0**10, 2.0**-11, second)
        _turn(second, first)
        _combine(first, cosine, 2.0**14, 2.0**-15, second)
        _quantize(second, tiled)
        _combine(second, transposed, 2.0**10, 2.0**-11, first)
        _turn(first, second)
        _combine(second, transposed, 2.0**17, 2.0**-18, first)
        for i in range(8):
            for x in range(width):
                first[i, x] = min(max(first[i, x] + 128.0, 0.0), 255.0)
        _turn(first, strip)


@kernel
def halve(full: Plane, height: int, width: int, out: Plane) -> None:
    """Means of 2x2 of the first height x width entries, both even or repeated at the edge."""
    rows, inside = (height + 1) // 2, width // 2
    for i in range(out.shape[0]):
        upper, lower = full[2 * min(i, rows - 1)], full[min(2 * min(i, rows - 1) + 1, height - 1)]
        result = out[i]
        for j in range(inside):
            total = upper[2 * j] + upper[2 * j + 1] + lower[2 * j] + lower[2 * j + 1]
            result[j] = np.floor((total + (1 + (j & 1))) * 0.25)
        edge = 2.0 * (upper[width - 1] + lower[width - 1])
        for j in range(inside, out.shape[1]):
            result[j] = np.floor((edge + (1 + (j & 1))) * 0.25)


@kernel
def enlarge(half: Plane, line: Plane, out: Plane) -> None:
    """Each pixel becomes four: 3/4 itself, 1/4 its neighbour, in both directions.

    Scratch: `line`, of half the width and one more pixel at both ends.
    """
    height, width = out.shape
    rows, columns = (height + 1) // 2, (width + 1) // 2
    for y in range(height):
        near, result = half[y // 2], out[y]
        far = half[max(y // 2 - 1, 0)] if y % 2 == 0 else half[min(y // 2 + 1, rows - 1)]
        for j in range(columns):
            line[j + 1] = 3.0 * near[j] + far[j]
        line[0], line[columns + 1] = line[1], line[columns]
        for j in range(width // 2):
            result[2 * j] = np.floor((3.0 * line[j + 1] + line[j] + 8.0) * 0.0625)
            result[2 * j + 1] = np.floor((3.0 * line[j + 1] + line[j + 2] + 7.0) * 0.0625)
        if width % 2 == 1:
            result[width - 1] = np.floor((3.0 * line[columns] + line[columns - 1] + 8.0) * 0.0625)


@inlined
def _to_ycc(image: Images, y: int, luma: Plane, cb: Plane, cr: Plane) -> None:
    """One row of R, G, B in whole levels as Y, Cb, Cr."""
    reds, greens, blues = image[0, y], image[1, y], image[2, y]
    for z in range(reds.size):
        red, green, blue = np.floor(reds[z] + 0.5), np.floor(greens[z] + 0.5), np.floor(blues[z] + 0.5)
        luma[z] = np.floor((19595.0 * red + 38470.0 * green + 7471.0 * blue + 32768.0) * ONE)
        cb[z] = np.floor((32768.0 * blue - 11059.0 * red - 21709.0 * green + 8421375.0) * ONE)
        cr[z] = np.floor((32768.0 * red - 27439.0 * green - 5329.0 * blue + 8421375.0) * ONE)


@inlined
def _to_rgb(luma: Plane, blueness: Plane, redness: Plane, y: int, out: Images) -> None:
    red, green, blue = out[0, y], out[1, y], out[2, y]
    for z in range(red.size):
        cb, cr = blueness[z] - 128.0, redness[z] - 128.0
        red[z] = luma[z] + np.floor((91881.0 * cr + 32768.0) * ONE)
        green[z] = luma[z] + np.floor((32768.0 - 22554.0 * cb - 46802.0 * cr) * ONE)
        blue[z] = luma[z] + np.floor((116130.0 * cb + 32768.0) * ONE)


@kernel
def jpeg_compression(x: Images, cosine: Plane, luminance: Plane, chrominance: Plane, out: Images) -> None:
    channels, height, width = x.shape[1:]
    transposed = np.ascontiguousarray(cosine.T)
    luma = np.empty((-(-height // 8) * 8, -(-width // 8) * 8))
    chroma = np.empty((2, -(-height // 16) * 8, -(-width // 16) * 8))
    full, line = np.empty((2, height, width)), np.empty((width + 1) // 2 + 2)
    for i in range(len(x)):
        for y in range(height):
            if channels == 1:
                for z in range(width):
                    luma[y, z] = np.floor(x[i, 0, y, z] + 0.5)
            else:
                _to_ycc(x[i], y, luma[y], full[0, y], full[1, y])
        for y in range(len(luma)):
            for z in range(width if y < height else 0, luma.shape[1]):
                luma[y, z] = luma[min(y, height - 1), min(z, width - 1)]
        recode(luma, cosine, transposed, luminance)
        if channels == 1:
            for y in range(height):
                for z in range(width):
                    out[i, 0, y, z] = luma[y, z]
            continue
        for c in range(2):
            halve(full[c], height, width, chroma[c])
            recode(chroma[c], cosine, transposed, chrominance)
            enlarge(chroma[c], line, full[c])
        for y in range(height):
            _to_rgb(luma[y], full[0, y], full[1, y], y, out[i])
