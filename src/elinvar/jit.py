"""The one way in which this library compiles a kernel: numba, without the interpreter lock, cached on disk.

Import modules that use this inside the function that needs them: importing numba takes half a second.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile `function` at its first call; later processes read it from the cache.

    Floating point stays IEEE: no reordering, so that a kernel gives the same bits for an image whatever its batch.
    """
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def inlined(function: F) -> F:
    """As `kernel`, and inlined by LLVM where it is called: for small functions inside loops over pixels."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)(function))


def summing(function: F) -> F:
    """As `kernel`, but sums may run in the order that fills vector registers.

    The order is fixed when the kernel is compiled, so a row's sum is the same whatever its batch. What is not finite
    shows as ever.
    """
    order = {"reassoc", "contract", "nsz"}
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=order)(function))
