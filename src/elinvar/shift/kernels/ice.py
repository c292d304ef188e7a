"""Needles of ice, compiled. See `elinvar.shift.ice`."""

import numpy as np
from numpy.typing import NDArray

from ...jit import kernel

Floats = NDArray[np.float64]


@kernel
def add_needles(ice: Floats, x: Floats, y: Floats, angle: Floats, length: Floats, weight: float) -> None:
    """Add straight needles from (x, y), thinner towards their tips, as points half a pixel apart."""
    height, width = ice.shape
    for i in range(x.size):
        along, across = np.cos(angle[i]), np.sin(angle[i])
        for j in range(int(np.ceil(2 * length[i]))):
            s = 0.5 * j
            column, row = int(np.floor(x[i] + along * s)), int(np.floor(y[i] + across * s))
            if 0 <= column < width and 0 <= row < height:
                ice[row, column] += weight * (1 - 0.6 * s / length[i])
