"""Loops over a stretch of two images: averages and copies, for each type that images are stored as."""

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from ...jit import inlined

Images = NDArray[Any]  # (n, pixels), or a stretch of one image
ONE, HALF = np.float32(1), np.float32(0.5)


def read(value: Any) -> Any:
    """A stored number as one to compute with: bytes as float32."""
    raise NotImplementedError


def write(value: Any, like: Any) -> Any:
    """A number as it is stored beside `like`: to bytes it is rounded."""
    raise NotImplementedError


@overload(read, jit_options={"forceinline": True})
def _read_of(value):  # type: ignore[no-untyped-def]
    if value == types.uint8:
        return lambda value: np.float32(value)
    return lambda value: value


@overload(write, jit_options={"forceinline": True})
def _write_of(value, like):  # type: ignore[no-untyped-def]
    if like == types.uint8:
        return lambda value, like: np.uint8(np.int32(value + HALF))
    return lambda value, like: value


@inlined
def between(a: Any, b: Any, weight: Any) -> Any:
    """weight a + (1 - weight) b, from the nearer end: exact at both ends, and where a = b."""
    apart = a - b
    return b + weight * apart if weight < HALF else a - (ONE - weight) * apart


@inlined
def copy(source: Images, target: Images) -> None:
    for i in range(len(target)):
        target[i] = source[i]


@inlined
def average(a: Images, b: Images, target: Images, weight: np.float32) -> None:
    """One weight for a whole stretch."""
    if weight == ONE:
        copy(a, target)
    elif weight == 0:
        copy(b, target)
    elif weight < HALF:
        for i in range(len(target)):
            start = read(b[i])
            target[i] = write(start + weight * (read(a[i]) - start), target[i])
    else:
        rest = ONE - weight
        for i in range(len(target)):
            start = read(a[i])
            target[i] = write(start - rest * (start - read(b[i])), target[i])


@inlined
def averages(a: Images, b: Images, target: Images, weights: NDArray[np.float32]) -> None:
    """A weight for each element."""
    for i in range(len(target)):
        target[i] = write(between(read(a[i]), read(b[i]), weights[i]), target[i])


@inlined
def mix(a: Images, b: Images, target: Images, one: Any, other: Any, shift: Any) -> None:
    """one a + other b - shift."""
    for i in range(len(target)):
        target[i] = one * a[i] + other * b[i] - shift
