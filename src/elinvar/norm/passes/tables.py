"""Compiled algebra on the small tables between the passes: one call where tensors would take twenty.

A kernel works on groups `start` to `stop - 1`. The rows of group g are `order[starts[g] : starts[g + 1]]`. Gamma and
beta have a line for each branch, or one for all groups.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...jit import summing

Table = NDArray[Any]  # (groups, C), or (N, C) for what belongs to rows
Index = NDArray[np.int32]


@summing
def pooled(
    mean: Table,
    squares: Table,
    length: int,
    order: Index,
    starts: Index,
    group_mean: Table,
    group_variance: Table,
    start: int,
    stop: int,
) -> None:
    """Moments of groups from those of their rows, by the law of total variance; biased variances."""
    channels = mean.shape[1]
    sums = np.empty((2, channels))
    center, around = sums[0], sums[1]
    for g in range(start, stop):
        sums[:] = 0.0
        rows = order[starts[g] : starts[g + 1]]
        for n in rows:
            for c in range(channels):
                center[c] += mean[n, c]
        for c in range(channels):
            center[c] /= max(len(rows), 1)
        for n in rows:
            for c in range(channels):
                off = mean[n, c] - center[c]
                around[c] += squares[n, c] + length * off * off
        for c in range(channels):
            group_mean[g, c] = center[c]
            group_variance[g, c] = around[c] / max(len(rows) * length, 1)


@summing
def lines(
    mean: Table,
    variance: Table,
    width: int,
    eps: float,
    branch: Index,
    gamma: Table,
    beta: Table,
    center: Table,
    inverse: Table,
    scale: Table,
    shift: Table,
    rest: Table,
    start: int,
    stop: int,
) -> None:
    """What normalizes each group: moments over `width` neighbouring channels, then gamma and beta.

    center + rest is the mean to twice the digits of a float32, and shift makes up for the rest.
    """
    for g in range(start, stop):
        b = branch[g] if len(gamma) > 1 else 0
        for first in range(0, mean.shape[1], width):
            middle, spread = 0.0, 0.0
            for c in range(first, first + width):
                middle += mean[g, c] / width
            for c in range(first, first + width):
                off = mean[g, c] - middle
                spread += (variance[g, c] + off * off) / width
            for c in range(first, first + width):
                center[g, c] = middle
                rest[g, c] = middle - center[g, c]
                inverse[g, c] = 1.0 / np.sqrt(spread + eps)
                scale[g, c] = inverse[g, c] * gamma[b, c]
                shift[g, c] = beta[b, c] - rest[g, c] * scale[g, c]


@summing
def summed(of_rows: Table, order: Index, starts: Index, of_groups: Table, start: int, stop: int) -> None:
    """The sum over the rows of each group, in float64."""
    for g in range(start, stop):
        of_groups[g] = 0.0
        for n in order[starts[g] : starts[g + 1]]:
            for c in range(of_rows.shape[1]):
                of_groups[g, c] += of_rows[n, c]


@summing
def slopes(
    products: Table,
    sums: Table,
    starts: Index,
    length: int,
    width: int,
    inverse: Table,
    rest: Table,
    branch: Index,
    gamma: Table,
    slope: Table,
    level: Table,
    start: int,
    stop: int,
) -> None:
    """The line that the gradient of x needs, from the sums of g (x - center) and of g over each group; s = inverse.

    slope = -s^3 / n sum gamma g (x - mean),   level = -s / n sum gamma g      over a run of channels

    The products become those with x - mean, and level makes up for the distance of center from it.
    """
    for g in range(start, stop):
        b = branch[g] if len(gamma) > 1 else 0
        values = max((starts[g + 1] - starts[g]) * length * width, 1)
        for first in range(0, inverse.shape[1], width):
            spread, middle = 0.0, 0.0
            for c in range(first, first + width):
                products[g, c] -= rest[g, c] * sums[g, c]
                spread += gamma[b, c] * products[g, c]
                middle += gamma[b, c] * sums[g, c]
            for c in range(first, first + width):
                s = inverse[g, c]
                slope[g, c] = -s * s * s * spread / values
                level[g, c] = -s * middle / values - rest[g, c] * slope[g, c]


@summing
def of_affine(products: Table, sums: Table, inverse: Table, branch: Index, of_gamma: Table, of_beta: Table) -> None:
    """Gradients of gamma and beta: the sums of s g (x - mean) and of g over all groups that a line is for."""
    of_gamma[:] = 0.0
    of_beta[:] = 0.0
    for g in range(len(inverse)):
        b = branch[g] if len(of_gamma) > 1 else 0
        for c in range(inverse.shape[1]):
            of_gamma[b, c] += inverse[g, c] * products[g, c]
            of_beta[b, c] += sums[g, c]


@summing
def of_branches(mean: Table, variance: Table, length: int, starts: Index, branch: Index, seen: NDArray[Any]) -> None:
    """Moments of all groups of each branch together, in `seen` (branches, 2, C): mean and unbiased variance."""
    channels = mean.shape[1]
    center, around, counts = np.zeros((len(seen), channels)), np.zeros((len(seen), channels)), np.zeros(len(seen))
    for g in range(len(mean)):
        counts[branch[g]] += (starts[g + 1] - starts[g]) * length
    for g in range(len(mean)):
        b = branch[g]
        share = (starts[g + 1] - starts[g]) * length / max(counts[b], 1.0)
        for c in range(channels):
            center[b, c] += share * mean[g, c]
    for g in range(len(mean)):
        b = branch[g]
        count = (starts[g + 1] - starts[g]) * length
        for c in range(channels):
            off = mean[g, c] - center[b, c]
            around[b, c] += count * (variance[g, c] + off * off)
    for b in range(len(seen)):
        for c in range(channels):
            seen[b, 0, c] = center[b, c]
            seen[b, 1, c] = around[b, c] / max(counts[b] - 1.0, 1.0)
