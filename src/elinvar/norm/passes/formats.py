"""Number formats in compiled passes: what images are stored in, and what is computed in.

`read`, `write`, `narrow` and `room` exist in compiled code only; `like` is a stored number.
"""

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic, overload


@intrinsic
def _as_float(_context, bits):  # type: ignore[no-untyped-def]
    def build(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), build


@intrinsic
def _as_bits(_context, value):  # type: ignore[no-untyped-def]
    def build(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), build


_float_of: Any = _as_float  # numba's own annotations see no call here
_bits_of: Any = _as_bits


def read(value: Any) -> Any:
    raise NotImplementedError


def write(value: Any, like: Any) -> Any:
    raise NotImplementedError


def narrow(value: Any, like: Any) -> Any:
    raise NotImplementedError


def room(size: int, like: Any) -> Any:
    raise NotImplementedError


@overload(read, jit_options={"forceinline": True})
def read_of(value):  # type: ignore[no-untyped-def]
    """A stored number as a float: bfloat16 is the upper half of a float32."""
    if value == types.uint16:
        return lambda value: _float_of(np.uint32(value) << np.uint32(16))
    return lambda value: value


@overload(write, jit_options={"forceinline": True})
def write_of(value, like):  # type: ignore[no-untyped-def]
    """A float as it is stored beside `like`; to bfloat16 it is rounded to nearest, ties to even, and NaN stays NaN."""
    if like == types.uint16:

        def rounded(value, like):  # type: ignore[no-untyped-def]
            bits = _bits_of(np.float32(value))
            up = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
            nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
            return np.uint16(np.uint32(0x7FC0) if nan else up)

        return rounded
    return lambda value, like: value


@overload(narrow, jit_options={"forceinline": True})
def _narrow_of(value, like):  # type: ignore[no-untyped-def]
    """A float64 in the type that numbers like `like` are computed in."""
    if like == types.float64:
        return lambda value, like: np.float64(value)
    return lambda value, like: np.float32(value)


@overload(room, jit_options={"forceinline": True})
def _room_of(size, like):  # type: ignore[no-untyped-def]
    """An array of that type, not filled."""
    if like == types.float64:
        return lambda size, like: np.empty(size, np.float64)
    return lambda size, like: np.empty(size, np.float32)
