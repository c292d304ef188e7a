"""What lies beyond the border of an image, as indices: entry r + i of a table is the pixel that position i shows.

Tables run from position -r to n - 1 + r, for any r, also above n.
"""

import numpy as np
from numpy.typing import NDArray


def replicated(n: int, r: int) -> NDArray[np.int64]:
    """The edge pixel goes on: a a | a b c | c c.

    >>> replicated(3, 2).tolist()
    [0, 0, 0, 1, 2, 2, 2]
    """
    return np.arange(-r, n + r).clip(0, n - 1)


def mirrored(n: int, r: int) -> NDArray[np.int64]:
    """The image is mirrored at its edge pixel, which is not repeated (reflect-101): c b | a b c | b a.

    >>> mirrored(3, 2).tolist()
    [2, 1, 0, 1, 2, 1, 0]
    """
    position = np.abs(np.arange(-r, n + r)) % (2 * n - 2)
    inside: NDArray[np.int64] = np.minimum(position, 2 * n - 2 - position)
    return inside


def mirrored_twice(n: int, r: int) -> NDArray[np.int64]:
    """The image is mirrored at its border, so the edge pixel shows twice (half-sample): b a | a b c | c b.

    >>> mirrored_twice(3, 2).tolist()
    [1, 0, 0, 1, 2, 2, 1]
    """
    position = np.arange(-r, n + r) % (2 * n)
    return np.minimum(position, 2 * n - 1 - position)
