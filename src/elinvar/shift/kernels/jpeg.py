"""JPEG and back without the file, compiled. The definition stands in `elinvar.shift.jpeg`."""

import numpy as np
from numpy.typing import NDArray

from ...jit import kernel

Plane = NDArray[np.float64]
Images = NDArray[np.float64]


@kernel
def multiply(left: Plane, right: Plane, out: Plane, half: float, scale: float) -> None:
    """floor((left @ right + half) * scale) of 8x8 matrices."""
    for i in range(8):
        for j in range(8):
            out[i, j] = half
        for k in range(8):
            factor = left[i, k]
            for j in range(8):
                out[i, j] += factor * right[k, j]
        for j in range(8):
            out[i, j] = np.floor(out[i, j] * scale)


@kernel
def recode(plane: Plane, cosine: Plane, transposed: Plane, steps: Plane, first: Plane, second: Plane) -> None:
    """Transform blocks of 8x8, round to multiples of `steps`, transform back, in place. Scratch: two 8x8."""
    for top in range(0, plane.shape[0], 8):
        for left in range(0, plane.shape[1], 8):
            block = plane[top : top + 8, left : left + 8]
            for i in range(8):
                for j in range(8):
                    first[i, j] = block[i, j] - 128.0
            multiply(first, transposed, second, 2.0**10, 2.0**-11)
            multiply(cosine, second, first, 2.0**14, 2.0**-15)
            for i in range(8):
                for j in range(8):
                    c, step = first[i, j], steps[i, j]
                    count = np.floor((abs(c) + 4.0 * step) / (8.0 * step))
                    first[i, j] = count * step if c > 0.0 else -count * step
            multiply(transposed, first, second, 2.0**10, 2.0**-11)
            multiply(second, cosine, first, 2.0**17, 2.0**-18)
            for i in range(8):
                for j in range(8):
                    block[i, j] = min(max(first[i, j] + 128.0, 0.0), 255.0)


@kernel
def halve(full: Plane, height: int, width: int, out: Plane) -> None:
    """Means of 2x2 of the first height x width entries, both even or repeated at the edge."""
    rows = (height + 1) // 2
    for i in range(out.shape[0]):
        upper, lower = full[2 * min(i, rows - 1)], full[min(2 * min(i, rows - 1) + 1, height - 1)]
        for j in range(out.shape[1]):
            a, b = min(2 * j, width - 1), min(2 * j + 1, width - 1)
            out[i, j] = np.floor((upper[a] + upper[b] + lower[a] + lower[b] + (1 + j % 2)) * 0.25)


@kernel
def enlarge(half: Plane, line: Plane, out: Plane) -> None:
    """Each pixel becomes four: 3/4 itself, 1/4 its neighbour, in both directions. Scratch: `line` of half the width."""
    height, width = out.shape
    rows, columns = (height + 1) // 2, (width + 1) // 2
    for y in range(height):
        near = half[y // 2]
        far = half[max(y // 2 - 1, 0)] if y % 2 == 0 else half[min(y // 2 + 1, rows - 1)]
        for j in range(columns):
            line[j] = 3.0 * near[j] + far[j]
        for j in range(columns):
            out[y, 2 * j] = np.floor((3.0 * line[j] + line[max(j - 1, 0)] + 8.0) * 0.0625)
        for j in range(width // 2):
            out[y, 2 * j + 1] = np.floor((3.0 * line[j] + line[min(j + 1, columns - 1)] + 7.0) * 0.0625)


@kernel
def jpeg_compression(x: Images, cosine: Plane, luminance: Plane, chrominance: Plane, out: Images) -> None:
    channels, height, width = x.shape[1:]
    transposed = np.ascontiguousarray(cosine.T)
    first, second = np.empty((8, 8)), np.empty((8, 8))
    luma = np.empty((-(-height // 8) * 8, -(-width // 8) * 8))
    chroma = np.empty((2, -(-height // 16) * 8, -(-width // 16) * 8))
    full, line = np.empty((2, height, width)), np.empty((width + 1) // 2)
    one = 2.0**-16
    for i in range(len(x)):
        for y in range(height):
            for z in range(width):
                red = np.floor(x[i, 0, y, z] + 0.5)
                if channels == 1:
                    luma[y, z] = red
                    continue
                green, blue = np.floor(x[i, 1, y, z] + 0.5), np.floor(x[i, 2, y, z] + 0.5)
                luma[y, z] = np.floor((19595.0 * red + 38470.0 * green + 7471.0 * blue + 32768.0) * one)
                full[0, y, z] = np.floor((32768.0 * blue - 11059.0 * red - 21709.0 * green + 8421375.0) * one)
                full[1, y, z] = np.floor((32768.0 * red - 27439.0 * green - 5329.0 * blue + 8421375.0) * one)
        for y in range(len(luma)):
            for z in range(width if y < height else 0, luma.shape[1]):
                luma[y, z] = luma[min(y, height - 1), min(z, width - 1)]
        recode(luma, cosine, transposed, luminance, first, second)
        if channels == 1:
            for y in range(height):
                for z in range(width):
                    out[i, 0, y, z] = luma[y, z]
            continue
        for c in range(2):
            halve(full[c], height, width, chroma[c])
            recode(chroma[c], cosine, transposed, chrominance, first, second)
            enlarge(chroma[c], line, full[c])
        for y in range(height):
            for z in range(width):
                cb, cr = full[0, y, z] - 128.0, full[1, y, z] - 128.0
                out[i, 0, y, z] = luma[y, z] + np.floor((91881.0 * cr + 32768.0) * one)
                out[i, 1, y, z] = luma[y, z] + np.floor((32768.0 - 22554.0 * cb - 46802.0 * cr) * one)
                out[i, 2, y, z] = luma[y, z] + np.floor((116130.0 * cb + 32768.0) * one)
