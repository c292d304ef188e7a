"""Compiled algebra on the small tables between the passes: one call where tensors would take twenty."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...jit import summing

Table = NDArray[Any]  # (groups, C), or (N, C) for what belongs to rows, or (banks, C)
Index = NDArray[np.int32]
Counts = NDArray[np.int64]


@summing
def pooled(
    mean: Table, squares: Table, length: int, group: Index, rows: Counts, group_mean: Table, group_variance: Table
) -> None:
    """Moments of groups from those of their rows, by the law of total variance, in float64; biased variances."""
    groups, channels = group_mean.shape
    total, around = np.zeros((groups, channels)), np.zeros((groups, channels))
    for n in range(mean.shape[0]):
        line, row = total[group[n]], mean[n]
        for c in range(channels):
            line[c] += row[c]
    for g in range(groups):
        for c in range(channels):
            total[g, c] /= max(rows[g], 1)
    for n in range(mean.shape[0]):
        center, line, row, own = total[group[n]], around[group[n]], mean[n], squares[n]
        for c in range(channels):
            off = row[c] - center[c]
            line[c] += own[c] + length * off * off
    for g in range(groups):
        for c in range(channels):
            group_mean[g, c] = total[g, c]
            group_variance[g, c] = around[g, c] / max(rows[g] * length, 1)


@summing
def lines(
    mean: Table,
    variance: Table,
    width: int,
    eps: float,
    bank: Index,
    gamma: Table,
    beta: Table,
    center: Table,
    inverse: Table,
    scale: Table,
    shift: Table,
) -> None:
    """What normalizes each group: moments over `width` neighbouring channels, then gamma and beta of its bank."""
    groups, channels = mean.shape
    for g in range(groups):
        for first in range(0, channels, width):
            middle, spread = 0.0, 0.0
            for c in range(first, first + width):
                middle += mean[g, c] / width
            for c in range(first, first + width):
                off = mean[g, c] - middle
                spread += (variance[g, c] + off * off) / width
            for c in range(first, first + width):
                center[g, c] = middle
                inverse[g, c] = 1.0 / np.sqrt(spread + eps)
                scale[g, c] = inverse[g, c] * gamma[bank[g], c]
                shift[g, c] = beta[bank[g], c]


@summing
def gradients(
    of_rows: Table,
    level_of_rows: Table,
    group: Index,
    rows: Counts,
    length: int,
    width: int,
    inverse: Table,
    bank: Index,
    gamma: Table,
    slope: Table,
    level: Table,
    of_gamma: Table,
    of_beta: Table,
) -> None:
    """From the sums of g (x - center) and of g over rows: gradients of gamma and beta, and the line that x needs.

    s = inverse,   of_gamma = sum s g (x - center),   of_beta = sum g
    slope = -s^3 / n sum gamma g (x - center),   level = -s / n sum gamma g      over a group and a run of channels
    """
    groups, channels = inverse.shape
    first_sums, second_sums = np.zeros((groups, channels)), np.zeros((groups, channels))
    for n in range(of_rows.shape[0]):
        a, b, row, other = first_sums[group[n]], second_sums[group[n]], of_rows[n], level_of_rows[n]
        for c in range(channels):
            a[c] += row[c]
            b[c] += other[c]
    of_gamma[:] = 0
    of_beta[:] = 0
    for g in range(groups):
        values = max(rows[g] * length * width, 1)
        for first in range(0, channels, width):
            spread, middle = 0.0, 0.0
            for c in range(first, first + width):
                factor = gamma[bank[g], c]
                spread += factor * first_sums[g, c]
                middle += factor * second_sums[g, c]
                of_gamma[bank[g], c] += inverse[g, c] * first_sums[g, c]
                of_beta[bank[g], c] += second_sums[g, c]
            for c in range(first, first + width):
                s = inverse[g, c]
                slope[g, c] = -s * s * s * spread / values
                level[g, c] = -s * middle / values


@summing
def together(mean: Table, variance: Table, counts: Counts, whole_mean: Table, whole_variance: Table) -> None:
    """Moments of all groups of a branch: mean and unbiased variance."""
    total, channels = max(counts.sum(), 1), mean.shape[1]
    for c in range(channels):
        middle, spread = 0.0, 0.0
        for g in range(len(counts)):
            middle += mean[g, c] * counts[g] / total
        for g in range(len(counts)):
            off = mean[g, c] - middle
            spread += (variance[g, c] + off * off) * counts[g]
        whole_mean[c] = middle
        whole_variance[c] = spread / max(total - 1, 1)
