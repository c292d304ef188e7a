"""Operations whose output pixel depends on the input pixel and a parameter alone."""

import math

import numpy as np

from ...jit import inlined, kernel
from .scratch import Bytes

BYTE, FLOAT, INT = np.uint8, np.float32, np.int32


@inlined
def blend(degenerate: np.float32, value: np.float32, factor: np.float32) -> np.uint8:
    """`degenerate + factor (value - degenerate)`, clipped, its fraction cut off: what Pillow's enhancers end with."""
    mixed = degenerate + factor * (value - degenerate)
    return BYTE(INT(min(max(mixed, FLOAT(0)), FLOAT(255))))


@kernel
def posterize(source: Bytes, target: Bytes, pixels: int, bits: int) -> None:
    """Keep the highest `bits` bits."""
    mask = BYTE((0xFF << (8 - min(max(bits, 0), 8))) & 0xFF)
    for i in range(pixels):
        target[i] = source[i] & mask


@kernel
def solarize(source: Bytes, target: Bytes, pixels: int, threshold: float) -> None:
    """Invert pixels that are at least `threshold`."""
    if threshold <= 0:
        invert(source, target, pixels)
        return
    last = BYTE(math.ceil(min(threshold, 256.0)) - 1)
    for i in range(pixels):
        value = source[i]
        target[i] = value if value <= last else BYTE(255) - value


@kernel
def solarize_add(source: Bytes, target: Bytes, pixels: int, addition: float) -> None:
    """Add `addition` to pixels below 128."""
    more = INT(math.trunc(min(max(addition, -256.0), 256.0)))
    for i in range(pixels):
        value = INT(source[i])
        target[i] = BYTE(min(max(value + more, INT(0)), INT(255)) if value < INT(128) else value)


@kernel
def invert(source: Bytes, target: Bytes, pixels: int) -> None:
    for i in range(pixels):
        target[i] = BYTE(255) - source[i]


@kernel
def brightness(source: Bytes, target: Bytes, pixels: int, factor: np.float32) -> None:
    """Blend with black."""
    for i in range(pixels):
        target[i] = blend(FLOAT(0), FLOAT(source[i]), factor)


@kernel
def copy(source: Bytes, target: Bytes, pixels: int) -> None:
    for i in range(pixels):
        target[i] = source[i]
