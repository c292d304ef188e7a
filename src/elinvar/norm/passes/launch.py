"""The compiled passes over all rows of a batch, in pieces on a team of threads: one call from Python for each.

`forward` and `backward` are the common training case from end to end. A small tensor takes some hundred microseconds,
of which calls between Python and kernels would be half. Each launch takes its arguments as one tuple; those of a pass
are the arguments of its kernel without the range of rows.
"""

from typing import Any

import numpy as np

from ...jit import kernel, spread
from . import compiled, sums, tables
from .compiled import Images, Index, Table

Team = tuple[int, int]

# Compiled code finds functions by these names.
_moments, _affine, _affine_sums = sums.moments, compiled.affine, sums.affine_sums
_input_gradient, _example_weighted = compiled.input_gradient, compiled.example_weighted
_pooled, _lines, _summed, _slopes = tables.pooled, tables.lines, tables.summed, tables.slopes
_of_affine, _of_branches = tables.of_affine, tables.of_branches

_CACHED = 1 << 19  # bytes that a core's own cache holds for sure


@kernel
def _visited_once(x: Images, read: int, groups: int, team: Team) -> bool:
    """Whether groups are so small that the second pass over one finds it in its core's cache."""
    return groups >= team[0] and read * x.itemsize * x.size // groups <= _CACHED


@kernel
def moments(arguments: tuple[Any, ...], rows: int, piece: int, team: Team) -> None:
    spread(_moments, arguments, rows, piece, team)


@kernel
def affine(arguments: tuple[Any, ...], rows: int, piece: int, team: Team) -> None:
    spread(_affine, arguments, rows, piece, team)


@kernel
def affine_sums(arguments: tuple[Any, ...], rows: int, piece: int, team: Team) -> None:
    spread(_affine_sums, arguments, rows, piece, team)


@kernel
def input_gradient(arguments: tuple[Any, ...], rows: int, piece: int, team: Team) -> None:
    spread(_input_gradient, arguments, rows, piece, team)


@kernel
def example_weighted(arguments: tuple[Any, ...], rows: int, piece: int, team: Team) -> None:
    spread(_example_weighted, arguments, rows, piece, team)


@kernel
def _forward_of_groups(
    x: Images,
    last: bool,
    group: Index,
    order: Index,
    starts: Index,
    branch: Index,
    gamma: Table,
    beta: Table,
    width: int,
    eps: float,
    by_row: Table,
    by_group: Table,
    lines: Table,
    out: Images,
    start: int,
    stop: int,
) -> None:
    center, inverse, scale, shift, rest = lines[0], lines[1], lines[2], lines[3], lines[4]
    length = x.shape[1] if last else x.shape[2]
    for g in range(start, stop):
        for n in order[starts[g] : starts[g + 1]]:
            _moments(x, last, by_row[0], by_row[1], n, n + 1)
        _pooled(by_row[0], by_row[1], length, order, starts, by_group[0], by_group[1], g, g + 1)
        of_group = center, inverse, scale, shift, rest
        _lines(by_group[0], by_group[1], width, eps, branch, gamma, beta, *of_group, g, g + 1)
        for n in order[starts[g] : starts[g + 1]]:
            _affine(x, last, group, center, scale, shift, out, n, n + 1)


@kernel
def forward(arguments: tuple[Any, ...], rows: int, piece: int, team: Team) -> None:
    """Fill `out`, `seen` with the moments of each branch, and `lines` with center, inverse, scale, shift and
    rest of groups."""
    x, last, group, order, starts, branch, gamma, beta, width, eps, seen, lines, out = arguments
    groups, channels = len(branch), lines.shape[2]
    length = x.shape[1] if last else x.shape[2]
    by_row, by_group = np.empty((2, rows, channels)), np.empty((2, groups, channels))
    if _visited_once(x, 1, groups, team):
        tables = by_row, by_group, lines
        every = x, last, group, order, starts, branch, gamma, beta, width, eps, *tables, out
        spread(_forward_of_groups, every, groups, max(1, piece * groups // max(rows, 1)), team)
    else:
        spread(_moments, (x, last, by_row[0], by_row[1]), rows, piece, team)
        _pooled(by_row[0], by_row[1], length, order, starts, by_group[0], by_group[1], 0, groups)
        of_groups = lines[0], lines[1], lines[2], lines[3], lines[4]
        _lines(by_group[0], by_group[1], width, eps, branch, gamma, beta, *of_groups, 0, groups)
        spread(_affine, (x, last, group, lines[0], lines[2], lines[3], out), rows, piece, team)
    _of_branches(by_group[0], by_group[1], length, starts, branch, seen)


@kernel
def _backward_of_groups(
    x: Images,
    last: bool,
    group: Index,
    order: Index,
    starts: Index,
    branch: Index,
    gradient: Images,
    gamma: Table,
    width: int,
    lines: Table,
    by_row: Table,
    by_group: Table,
    line: Table,
    of_x: Images,
    start: int,
    stop: int,
) -> None:
    center, inverse, scale, rest, slope, level = lines[0], lines[1], lines[2], lines[4], line[0], line[1]
    length = x.shape[1] if last else x.shape[2]
    for g in range(start, stop):
        for n in order[starts[g] : starts[g + 1]]:
            _affine_sums(x, last, gradient, group, center, by_row[0], by_row[1], n, n + 1)
        for k in range(2):
            _summed(by_row[k], order, starts, by_group[k], g, g + 1)
        sums = by_group[0], by_group[1]
        _slopes(*sums, starts, length, width, inverse, rest, branch, gamma, slope, level, g, g + 1)
        for n in order[starts[g] : starts[g + 1]]:
            _input_gradient(x, last, gradient, group, center, scale, slope, level, of_x, n, n + 1)


@kernel
def backward(arguments: tuple[Any, ...], rows: int, piece: int, team: Team) -> None:
    """Fill `of_affine` with the gradients of gamma and beta and `of_x`, unless it is empty, with that of x."""
    x, last, group, order, starts, branch, gradient, gamma, width, lines, of_affine, of_x = arguments
    groups, channels = len(branch), lines.shape[2]
    length = x.shape[1] if last else x.shape[2]
    by_row, by_group, line = np.empty((2, rows, channels)), np.empty((2, groups, channels)), np.empty_like(lines[:2])
    if of_x.size and _visited_once(x, 2, groups, team):
        every = x, last, group, order, starts, branch, gradient, gamma, width, lines, by_row, by_group, line, of_x
        spread(_backward_of_groups, every, groups, max(1, piece * groups // max(rows, 1)), team)
    else:
        spread(_affine_sums, (x, last, gradient, group, lines[0], by_row[0], by_row[1]), rows, piece, team)
        for k in range(2):
            _summed(by_row[k], order, starts, by_group[k], 0, groups)
        of_group = lines[1], lines[4], branch, gamma, line[0], line[1]
        _slopes(by_group[0], by_group[1], starts, length, width, *of_group, 0, groups)
        if of_x.size:
            tables = lines[0], lines[2], line[0], line[1]
            spread(_input_gradient, (x, last, gradient, group, *tables, of_x), rows, piece, team)
    _of_affine(by_group[0], by_group[1], lines[1], branch, of_affine[0], of_affine[1])
