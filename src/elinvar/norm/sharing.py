"""Sharing: which values of a training batch are normalized by common statistics.

Three questions, each with its own answer: which rows may meet at all (the class), how many of them share (`ghosts`),
and how many channels (`channel_groups`); a fourth asks for rows of other processes (`workers`).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import torch

from ..check import InputError
from ..routing import Span
from .partition import Ghosts, Partition, Rows
from .workers import Workers


@dataclass(frozen=True)
class Sharing(ABC):
    """Partitions the values of a batch.

    ghosts          cut the rows further into ghost batches; None: they stay together
    channel_groups  number of groups of neighbouring channels that share statistics, as in `nn.GroupNorm`; None: every
                    channel has its own
    workers         pool over the processes of a group; None: each process by itself
    """

    ghosts: Ghosts | None = None
    channel_groups: int | None = None
    workers: Workers | None = None

    needs_branches = False

    def __post_init__(self) -> None:
        if self.channel_groups is not None and self.channel_groups < 1:
            raise InputError(f"channel_groups: got {self.channel_groups}, expected at least 1")
        if self.workers is not None and self.ghosts is not None:
            if self.ghosts.size == 1:
                raise InputError("statistics of single examples never leave their worker: drop `workers`, or `ghosts`")
            raise InputError(
                "ghost batches live inside one worker: drop `workers`, or give Workers a smaller process group instead "
                "of ghosts"
            )

    @abstractmethod
    def meeting(self, spans: tuple[Span, ...], branches: tuple[str, ...]) -> list[tuple[str, Rows]]:
        """The rows that may share statistics, and the branch that remembers them; groups of a branch are neighbours.

        `branches` are the layer's.
        """

    def partition(self, spans: tuple[Span, ...], branches: tuple[str, ...]) -> Partition:
        """The groups of a batch that was routed as `spans`, in a layer that has `branches`."""
        return _partition(self, spans, branches)

    def owners(self, spans: tuple[Span, ...], branches: tuple[str, ...]) -> Partition:
        """Whose memory each row reads: as `partition`, without ghosts."""
        return _partition(self, spans, branches, whole=True)


def _partition(sharing: Sharing, spans: tuple[Span, ...], branches: tuple[str, ...], whole: bool = False) -> Partition:
    # Under torch.compile what is made here is a constant of the graph, and a cache would only be in the way.
    make = _anew if torch.compiler.is_compiling() else _cached
    return make(sharing, spans, branches, whole)


def _anew(sharing: Sharing, spans: tuple[Span, ...], branches: tuple[str, ...], whole: bool) -> Partition:
    groups = sharing.meeting(spans, branches)
    if sharing.ghosts is not None and not whole:
        groups = [(branch, rows) for branch, met in groups for rows in sharing.ghosts.cut(met)]
    # Workers must hold tables of one shape, so with them a group may be empty; alone an empty group is nothing.
    kept = groups if sharing.workers is not None and not whole else [group for group in groups if len(group[1])]
    return Partition.of(kept or groups[:1], spans[-1].stop)


_cached = lru_cache(maxsize=256)(_anew)


@dataclass(frozen=True)
class WholeBatch(Sharing):
    """All rows together, whatever their view or branch: `nn.BatchNorm2d`, and AugMix's joint forward of three views."""

    def meeting(self, spans: tuple[Span, ...], branches: tuple[str, ...]) -> list[tuple[str, Rows]]:
        return [(branches[0], range(spans[-1].stop))]


@dataclass(frozen=True)
class PerView(Sharing):
    """Each view by itself, one memory for all: outputs are as if the views were forwarded one after the other.

    The memory moves once, by the moments of all views together, which hold the differences between the views as well.
    """

    def meeting(self, spans: tuple[Span, ...], branches: tuple[str, ...]) -> list[tuple[str, Rows]]:
        return [(branches[0], range(start, stop)) for start, stop, _ in spans]


@dataclass(frozen=True)
class PerBranch(Sharing):
    """All views of a branch together, one memory for each: split BatchNorm (Merchant et al. 2020, Algorithm 1)."""

    needs_branches = True

    def meeting(self, spans: tuple[Span, ...], branches: tuple[str, ...]) -> list[tuple[str, Rows]]:
        check_branches(spans, branches)
        return [
            (branch, [row for start, stop, own in spans if own == branch for row in range(start, stop)])
            for branch in branches
        ]


def check_branches(spans: tuple[Span, ...], branches: tuple[str, ...]) -> None:
    """Raise `InputError` if the routing names a branch that the layer lacks."""
    for span in spans:
        if span.branch not in branches:
            raise InputError(
                f"the routing names the branch {span.branch!r}, this layer has {branches}; "
                "convert the model with norm.split(branches=...) that lists it"
            )
