"""The kernels of `kernels.py` over all rows that a map is for, in pieces on a team of threads.

Each is called with the arguments of its kernel, without the range of rows, as one tuple.
"""

from typing import Any

from ...jit import kernel, spread
from . import kernels

Team = tuple[int, int]

# Compiled code finds functions by these names.
_quarters, _patch, _scatter, _noise, _balanced = (
    kernels.quarters, kernels.patch, kernels.scatter, kernels.noise, kernels.balanced
)  # fmt: skip


@kernel
def quarters(arguments: tuple[Any, ...], rows: int, piece: int, team: Team) -> None:
    spread(_quarters, arguments, rows, piece, team)


@kernel
def patch(arguments: tuple[Any, ...], rows: int, piece: int, team: Team) -> None:
    spread(_patch, arguments, rows, piece, team)


@kernel
def scatter(arguments: tuple[Any, ...], rows: int, piece: int, team: Team) -> None:
    spread(_scatter, arguments, rows, piece, team)


@kernel
def noise(arguments: tuple[Any, ...], rows: int, piece: int, team: Team) -> None:
    spread(_noise, arguments, rows, piece, team)


@kernel
def balanced(arguments: tuple[Any, ...], rows: int, piece: int, team: Team) -> None:
    spread(_balanced, arguments, rows, piece, team)
