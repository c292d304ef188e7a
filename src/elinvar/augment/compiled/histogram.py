"""Operations that replace values by a table made from the image's own statistics."""

import numpy as np

from ...jit import inlined, kernel
from .scratch import Bytes, Ints
from .table import BYTE, FLOAT, INT, blend

INDEX = np.uint64


@kernel
def autocontrast(source: Bytes, target: Bytes, channels: int, plane: int) -> None:
    """Stretch the values of each channel to 0..255."""
    for channel in range(channels):
        start = INDEX(channel * plane)
        low, high = BYTE(255), BYTE(0)
        for i in range(plane):
            low = min(low, source[start + INDEX(i)])
            high = max(high, source[start + INDEX(i)])
        if high <= low:
            low, high = BYTE(0), BYTE(255)
        scale = 255.0 / (float(high) - float(low))
        offset = -float(low) * scale
        for i in range(plane):
            target[start + INDEX(i)] = BYTE(INT(source[start + INDEX(i)] * scale + offset))


@kernel
def equalize(source: Bytes, target: Bytes, channels: int, plane: int, table: Bytes, counts: Ints) -> None:
    """Spread the values of each channel so that all are about equally frequent.

    table[v] = min(255, (step // 2 + pixels below v) // step),  step = (pixels - those of the highest value) // 255
    """
    for channel in range(channels):
        start = INDEX(channel * plane)
        # Two counters for each value: neighbours are often equal, and adding to one counter twice in a row is slow.
        counts[:] = 0
        for i in range(plane // 2):
            counts[source[start + INDEX(2 * i)]] += 1
            counts[INDEX(source[start + INDEX(2 * i + 1)]) + INDEX(256)] += 1
        if plane % 2:
            counts[source[start + INDEX(plane - 1)]] += 1
        for value in range(256):
            counts[value] += counts[value + 256]
        top = 255
        while counts[top] == 0:
            top -= 1
        step = (plane - int(counts[top])) // 255
        below = step // 2
        for value in range(256):
            count = int(counts[value])
            counts[value] = below
            below += count
        # (n + 1/2) / step is at least 1/(2 step) away from a whole number: the product's rounding cannot cross it.
        inverse = 1.0 / max(step, 1)
        for value in range(256):
            table[value] = BYTE(min(INT((counts[value] + 0.5) * inverse), INT(255))) if step else BYTE(value)
        for i in range(plane):
            target[start + INDEX(i)] = table[source[start + INDEX(i)]]


@inlined
def luma(red: np.uint8, green: np.uint8, blue: np.uint8) -> np.int32:
    """Brightness of a color pixel as ITU-R 601 weighs it, in the fixed point of Pillow's conversion to "L"."""
    return INT((INT(red) * INT(19595) + INT(green) * INT(38470) + INT(blue) * INT(7471) + INT(0x8000)) >> INT(16))


@kernel
def contrast(source: Bytes, target: Bytes, channels: int, plane: int, factor: np.float32) -> None:
    """Blend with the mean brightness of the image."""
    total = 0
    for i in range(plane):
        if channels == 3:
            total += int(luma(source[INDEX(i)], source[INDEX(i + plane)], source[INDEX(i + 2 * plane)]))
        else:
            total += int(source[INDEX(i)])
    mean = FLOAT(int(total / plane + 0.5))
    for i in range(channels * plane):
        target[INDEX(i)] = blend(mean, FLOAT(source[INDEX(i)]), factor)
