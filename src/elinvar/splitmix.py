"""The hash of `elinvar.rng`, bit for bit, for compiled kernels.

All integers are uint64: numba turns a mix of signed and unsigned 64-bit numbers into floating point.
"""

import numpy as np

from . import rng
from .jit import inlined

GAMMA = np.uint64(rng.GAMMA)
_MULTIPLY_1 = np.uint64(rng.MULTIPLY_1)
_MULTIPLY_2 = np.uint64(rng.MULTIPLY_2)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)


@inlined
def mix64(word: np.uint64) -> np.uint64:
    """As `rng.mix64`."""
    word = (word ^ (word >> _SHIFT_1)) * _MULTIPLY_1
    word = (word ^ (word >> _SHIFT_2)) * _MULTIPLY_2
    return word ^ (word >> _SHIFT_3)


@inlined
def bits(stream: np.uint64, counter: int) -> np.uint64:
    """Draw number `counter` of a stream, as `rng.bits`; as a function of its index, also `rng.streams` of a key."""
    return mix64(stream + GAMMA * np.uint64(counter + 1))
