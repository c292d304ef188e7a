"""Partition: which rows of a batch share statistics, as one group number for each row."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..check import InputError

# Plain integers and sequences, so that torch.compile can follow how they are made.
Rows = Sequence[int]


@dataclass(frozen=True)
class Ghosts:
    """Cut a group of rows into ghost batches of about `size` rows, each with statistics of its own.

    size   rows of a ghost, at least 1; 1 is instance normalization
    order  "strided": row i goes to ghost i mod k; "blocks": each ghost is a run of neighbours. Where the order of
           examples means nothing the two are alike; where it does (two images of each class side by side), it decides
           what a ghost can see
    rest   what happens to n rows that `size` does not divide. "even": k = max(1, min(ceil(n / size), floor(n / 2)))
           ghosts whose sizes differ by at most one, so that no ghost has one row unless size is 1. "short": full
           blocks, then a shorter one, as a batch is cut into micro-batches. "error": refused

    Source   Hoffer et al., "Train longer, generalize better", 2017; Summers, thesis, section 4.3.2, whose blocks must
             divide the batch.
    """

    size: int
    order: str = "strided"
    rest: str = "even"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"a ghost batch has at least one row, got size {self.size}")
        if self.order not in ("strided", "blocks"):
            raise InputError(f"order of ghosts: got {self.order!r}, expected 'strided' or 'blocks'")
        if self.rest not in ("even", "short", "error"):
            raise InputError(f"rest of ghosts: got {self.rest!r}, expected 'even', 'short' or 'error'")
        if self.rest == "short" and self.order == "strided":
            raise InputError("a shorter last ghost needs order='blocks'; strided ghosts are near-equal")

    def cut(self, rows: Rows) -> list[Rows]:
        """The rows of each ghost."""
        n = len(rows)
        if self.rest == "error" and n % self.size:
            raise InputError(
                f"{n} rows are not a multiple of the ghost size {self.size}; choose another batch size, or rest='even'"
            )
        if self.rest == "short":
            return [rows[start : start + self.size] for start in range(0, max(n, 1), self.size)]
        ghosts = max(1, n if self.size == 1 else min(-(-n // self.size), n // 2))
        if self.order == "strided":
            return [rows[g::ghosts] for g in range(ghosts)]
        length, longer = divmod(n, ghosts)  # the first `longer` ghosts have one row more
        starts = [g * length + min(g, longer) for g in range(ghosts + 1)]
        return [rows[start:stop] for start, stop in pairwise(starts)]


@dataclass(frozen=True, eq=False)
class Partition:
    """Each row of a batch belongs to exactly one group, each group to one branch.

    index     group of each row
    rows      number of rows of each group
    branches  branch of each group; groups of a branch are neighbours
    trivial   whether every row is a group by itself, in order
    """

    index: tuple[int, ...]
    rows: tuple[int, ...]
    branches: tuple[str, ...]
    trivial: bool
    _tensors: dict[torch.device, Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, groups: Sequence[tuple[str, Rows]], total: int) -> "Partition":
        """From the branch and the rows of each group."""
        index = [0] * total
        for number, (_, rows) in enumerate(groups):
            for row in rows:
                index[row] = number
        sizes = tuple(len(rows) for _, rows in groups)
        trivial = index == list(range(total)) and len(groups) == total
        return cls(tuple(index), sizes, tuple(branch for branch, _ in groups), trivial)

    @cached_property
    def present(self) -> tuple[str, ...]:
        """The branches that have groups here."""
        return tuple(dict.fromkeys(self.branches))

    @cached_property
    def arrays(self) -> tuple[npt.NDArray[np.int32], ...]:
        """What kernels want: group of each row; rows in the order of their groups, and where each group starts there;
        branch of each group, as its place in `present`.
        """
        group, branch = np.array(self.index, np.int32), [self.present.index(branch) for branch in self.branches]
        order, starts = np.argsort(group, kind="stable"), np.cumsum([0, *self.rows])
        return group, order.astype(np.int32), starts.astype(np.int32), np.array(branch, np.int32)

    @cached_property
    def rows_of_present(self) -> tuple[int, ...]:
        """Number of rows of each branch in `present`."""
        return tuple(sum(n for n, own in zip(self.rows, self.branches, strict=True) if own == b) for b in self.present)

    def on(self, device: torch.device) -> Tensor:
        """Group of each row, as a tensor on `device`."""
        if torch.compiler.is_compiling():
            return torch.tensor(self.index, device=device)
        if device not in self._tensors:
            self._tensors[device] = torch.tensor(self.index, dtype=torch.int64, device=device)
        return self._tensors[device]

    def counts(self, x: Tensor) -> tuple[int, ...]:
        """Values per channel of each group in a batch x."""
        values = math.prod(x.shape[2:])
        return tuple(n * values for n in self.rows)


def each_row(owners: Partition) -> Partition:
    """Every row a group by itself, in the branch that `owners` says."""
    return _each_row_anew(owners) if torch.compiler.is_compiling() else _each_row(owners)


def _each_row_anew(owners: Partition) -> Partition:
    rows = range(len(owners.index))
    return Partition(tuple(rows), (1,) * len(rows), tuple(owners.branches[group] for group in owners.index), True)


_each_row = lru_cache(maxsize=256)(_each_row_anew)
