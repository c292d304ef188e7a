"""The 53 bits of a uniform draw, and pairs of normals from one draw, compiled.

Everything about bits is uint64: numba turns a mix of signed and unsigned 64-bit numbers into floating point.
"""

import math

import numpy as np

from ...jit import inlined
from ...splitmix import bits

SHIFT_TOP = np.uint64(11)
SHIFT_RADIUS, SHIFT_ANGLE, FIELD = np.uint64(40), np.uint64(16), np.uint64((1 << 24) - 1)
SQRT_HALF_BITS = np.int64(0x3FE6A09E667F3BCD)  # the bit pattern of sqrt(1/2)
MANTISSA = np.int64(52)
LOG_2 = math.log(2.0)


@inlined
def top(stream: np.uint64, counter: int) -> np.int64:
    """The 53 bits of a draw that its uniform number is made of."""
    return np.int64(bits(stream, counter) >> SHIFT_TOP)


@inlined
def normals(drawn: np.uint64) -> tuple[float, float]:
    """Two standard normals by Box and Muller, from 24 bits of radius and 24 of angle, to about 1e-8.

    Free of branches, so that loops become vector instructions.
    """
    v = 1.0 - np.float64(np.int64(drawn >> SHIFT_RADIUS)) * 2.0**-24
    # v = 2^k m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh((m - 1) / (m + 1)), a series in |s| < .172
    pattern = np.float64(v).view(np.int64)
    k = (pattern - SQRT_HALF_BITS) >> MANTISSA
    m = np.int64(pattern - (k << MANTISSA)).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    t = s * s
    series = (((1 / 11 * t + 1 / 9) * t + 1 / 7) * t + 1 / 5) * t + 1 / 3
    radius = np.sqrt(-2.0 * (np.float64(k) * LOG_2 + 2.0 * s * (1.0 + t * series)))
    # The nearest quarter turn, and Taylor series of the rest within pi / 4.
    turns = np.float64(np.int64((drawn >> SHIFT_ANGLE) & FIELD)) * 2.0**-22
    quarter = np.floor(turns + 0.5)
    r = (turns - quarter) * (0.5 * math.pi)
    t = r * r
    sine = r * ((((1 / 362880 * t - 1 / 5040) * t + 1 / 120) * t - 1 / 6) * t + 1.0)
    cosine = ((((-1 / 3628800 * t + 1 / 40320) * t - 1 / 720) * t + 1 / 24) * t - 0.5) * t + 1.0
    turn = np.int64(quarter)
    along = cosine if (turn & 1) == 0 else sine
    across = sine if (turn & 1) == 0 else cosine
    along = -along if ((turn + 1) & 2) != 0 else along
    across = -across if (turn & 2) != 0 else across
    return radius * along, radius * across
