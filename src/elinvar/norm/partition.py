"""Partition: which rows of a batch share statistics, as one group number for each row."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..check import InputError

Rows = npt.NDArray[np.int64]


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
    order: Literal["strided", "blocks"] = "strided"
    rest: Literal["even", "short", "error"] = "even"

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
        ghosts = n if self.size == 1 else max(1, min(-(-n // self.size), n // 2))
        return [rows[g::ghosts] for g in range(ghosts)] if self.order == "strided" else np.array_split(rows, ghosts)


@dataclass(frozen=True, eq=False)
class Partition:
    """Each row of a batch belongs to exactly one group, each group to one branch.

    index     group of each row
    rows      number of rows of each group
    branches  branch of each group; groups of a branch are neighbours
    """

    index: npt.NDArray[np.int32]
    rows: tuple[int, ...]
    branches: tuple[str, ...]
    _indices: dict[torch.device, Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, groups: Sequence[tuple[str, Rows]], total: int) -> "Partition":
        """From the branch and the rows of each group."""
        index = np.empty(total, np.int32)
        for number, (_, rows) in enumerate(groups):
            index[rows] = number
        return cls(index, tuple(len(rows) for _, rows in groups), tuple(branch for branch, _ in groups))

    def on(self, device: torch.device) -> Tensor:
        """Group of each row, as a tensor on `device`."""
        if device not in self._indices:
            self._indices[device] = torch.from_numpy(self.index.astype(np.int64)).to(device)
        return self._indices[device]

    def counts(self, x: Tensor) -> tuple[int, ...]:
        """Values per channel of each group in a batch x."""
        values = math.prod(x.shape[2:])
        return tuple(n * values for n in self.rows)

    @cached_property
    def trivial(self) -> bool:
        """Whether every row is a group by itself, in order."""
        return len(self.rows) == len(self.index) and bool((self.index == np.arange(len(self.index))).all())


@lru_cache(maxsize=256)
def each_row(owners: Partition) -> Partition:
    """Every row a group by itself, in the branch that `owners` says."""
    branches = tuple(owners.branches[group] for group in owners.index)
    return Partition(np.arange(len(owners.index), dtype=np.int32), (1,) * len(owners.index), branches)
