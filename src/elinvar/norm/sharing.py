"""Sharing: which rows of a training batch are normalized by common statistics."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import groupby

from ..routing import Span


@dataclass(frozen=True)
class Group:
    """Rows that share statistics: one or more spans, all of one branch."""

    branch: str
    spans: tuple[Span, ...]


class Sharing(ABC):
    """Partitions the rows of a batch into groups; every row is in exactly one."""

    needs_branches = False

    @abstractmethod
    def groups(self, spans: tuple[Span, ...], main: str) -> tuple[Group, ...]:
        """The groups of a batch that was routed as `spans`; `main` names the layer's first branch."""


@dataclass(frozen=True)
class WholeBatch(Sharing):
    """All rows together, whatever their view or branch: `nn.BatchNorm2d`, and AugMix's joint forward of three views."""

    def groups(self, spans: tuple[Span, ...], main: str) -> tuple[Group, ...]:
        return (Group(main, (Span(spans[0].start, spans[-1].stop, main),)),)


@dataclass(frozen=True)
class PerView(Sharing):
    """Each view by itself, one memory for all: outputs are as if the views were forwarded one after the other.

    The memory moves once, by the moments of all views together, which hold the differences between the views as well.
    """

    def groups(self, spans: tuple[Span, ...], main: str) -> tuple[Group, ...]:
        return tuple(Group(main, (Span(start, stop, main),)) for start, stop, _ in spans)


@dataclass(frozen=True)
class PerBranch(Sharing):
    """All views of a branch together, one memory for each: split BatchNorm (Merchant et al. 2020, Algorithm 1)."""

    needs_branches = True

    def groups(self, spans: tuple[Span, ...], main: str) -> tuple[Group, ...]:
        by_branch: dict[str, list[Span]] = {}
        for branch, run in groupby(spans, key=lambda span: span.branch):
            neighbours = list(run)  # consecutive views of one branch are one stretch of rows
            by_branch.setdefault(branch, []).append(Span(neighbours[0].start, neighbours[-1].stop, branch))
        return tuple(Group(branch, tuple(stretches)) for branch, stretches in by_branch.items())
