"""A kernel for the tests of `elinvar.jit.spread`: compiled code must stand in a file of its own to be cached."""

import numpy as np
from numpy.typing import NDArray

from elinvar.jit import kernel, spread

Counts = NDArray[np.int64]


@kernel
def _add(seen: Counts, amount: int, start: int, stop: int) -> None:
    for place in range(start, stop):
        seen[place] += amount


@kernel
def count(seen: Counts, amount: int, piece: int, team: tuple[int, int]) -> None:
    spread(_add, (seen, amount), len(seen), piece, team)
