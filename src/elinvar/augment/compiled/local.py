"""Operations that mix a pixel with its other channels or with its neighbours."""

import numpy as np

from ...jit import kernel
from .histogram import INDEX, luma
from .scratch import Bytes, Ints
from .table import FLOAT, INT, blend, copy


@kernel
def color(source: Bytes, target: Bytes, channels: int, plane: int, factor: np.float32) -> None:
    """Blend each pixel with its own brightness; an image of one channel stays as it is."""
    if channels != 3:
        copy(source, target, channels * plane)
        return
    for i in range(plane):
        r, g, b = INDEX(i), INDEX(i + plane), INDEX(i + 2 * plane)
        grey = FLOAT(luma(source[r], source[g], source[b]))
        target[r] = blend(grey, FLOAT(source[r]), factor)
        target[g] = blend(grey, FLOAT(source[g]), factor)
        target[b] = blend(grey, FLOAT(source[b]), factor)


@kernel
def sharpness(
    source: Bytes, target: Bytes, channels: int, height: int, width: int, factor: np.float32, sums: Ints
) -> None:
    """Blend with the image smoothed by [1 1 1; 1 5 1; 1 1 1] / 13; pixels at the border stay as they are."""
    copy(source, target, channels * height * width)
    if height < 3 or width < 3:
        return
    for channel in range(channels):
        for y in range(1, height - 1):
            here = INDEX((channel * height + y) * width)
            above, below = here - INDEX(width), here + INDEX(width)
            for x in range(width):
                i = INDEX(x)
                sums[i] = INT(source[above + i]) + INT(source[here + i]) + INT(source[below + i])
            for x in range(1, width - 1):
                i = INDEX(x)
                value = source[here + i]
                total = INT(sums[i - INDEX(1)] + sums[i] + sums[i + INDEX(1)] + INT(4) * INT(value))
                smooth = INT(FLOAT(total) * FLOAT(1 / 13) + FLOAT(0.5))
                target[here + i] = blend(FLOAT(smooth), FLOAT(value), factor)
