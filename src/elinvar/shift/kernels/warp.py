"""Affine and perspective maps, compiled. The definition stands in `elinvar.shift.warp`."""

import numpy as np
from numpy.typing import NDArray

from ...jit import kernel


@kernel
def warp(
    x: NDArray[np.float64], corners: NDArray[np.int32], between: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    channels, pixels = x.shape[1], x.shape[2] * x.shape[3]
    plane = np.zeros(pixels + 1)  # a black pixel at the end
    for i in range(len(x)):
        for c in range(channels):
            image, result = x[i, c].reshape(-1), out[i, c].reshape(-1)
            for p in range(pixels):
                plane[p] = image[p]
            for p in range(pixels):
                upper_left, lower_left = plane[corners[0, p]], plane[corners[2, p]]
                upper = upper_left + (plane[corners[1, p]] - upper_left) * between[0, p]
                lower = lower_left + (plane[corners[3, p]] - lower_left) * between[0, p]
                result[p] = upper + (lower - upper) * between[1, p]
