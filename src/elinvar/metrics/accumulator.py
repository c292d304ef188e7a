"""What a metric is that sees its data in pieces, on one process or many."""

from abc import ABC, abstractmethod
from copy import copy
from typing import Any, ClassVar, TypeVar

import torch.distributed as dist
from torch import Tensor

from ..check import InputError

A = TypeVar("A", bound="Accumulator")


class Accumulator(ABC):
    """`update` with each piece, `compute` at any time, `merge` what another process saw, `reset` to start again.

    The contract is that of torchmetrics: where torch.distributed runs, `compute` is the metric of what all processes
    have seen, so all of them must call it; `value` is the metric of what this one has seen. Calling the metric takes
    in a piece and returns the metric of that piece alone. Up to rounding the result does not depend on how the data
    was cut into pieces or spread over processes. `as_torchmetrics` makes one for a `MetricCollection`.
    """

    group: ClassVar[Any] = None
    """the processes that `compute` gathers from; None is all of them"""
    state: ClassVar[tuple[str, ...]]
    """names of the attributes that hold what was seen; `reset` sets them"""

    def __init__(self) -> None:
        self.reset()

    @abstractmethod
    def reset(self) -> None:
        """Forget everything."""

    @abstractmethod
    def update(self, *args: Any, **kwargs: Any) -> None:
        """Take in one piece."""

    @abstractmethod
    def merge(self, other: Any) -> None:
        """Take in all that `other`, a metric of the same class, has seen."""

    @abstractmethod
    def value(self) -> Any:
        """The metric of everything that this process has seen. Raises `InputError` if that is nothing."""

    def compute(self) -> Any:
        """The metric of everything that all processes have seen. Raises `InputError` if that is nothing."""
        return self.gathered().value()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Take in one piece, and return the metric of it alone."""
        piece = self._empty()
        piece.update(*args, **kwargs)
        found = piece.value()
        self.merge(piece)
        return found

    __call__ = forward

    def gathered(self: A) -> A:
        """A metric that has seen what all processes have, in the order of their ranks; self where there is one only."""
        if not dist.is_available() or not dist.is_initialized():
            return self
        world = dist.get_world_size(self.group)
        if world == 1:
            return self
        states: list[Any] = [None] * world
        dist.all_gather_object(states, {name: getattr(self, name) for name in self.state}, group=self.group)
        whole = self._empty()
        for state in states:
            piece = self._empty()
            vars(piece).update(state)
            whole.merge(piece)
        return whole

    def _empty(self: A) -> A:
        other = copy(self)
        other.reset()
        return other


class Average(Accumulator):
    """The mean over examples of a value that each of them has."""

    state = ("total", "seen")
    total: float
    seen: int

    def reset(self) -> None:
        self.total, self.seen = 0.0, 0

    def take(self, values: Tensor) -> None:
        """Take in the values of some examples."""
        self.total += float(values.double().sum())
        self.seen += len(values)

    def merge(self, other: "Average") -> None:
        self.total += other.total
        self.seen += other.seen

    def value(self) -> float:
        if not self.seen:
            raise InputError(f"{type(self).__name__} of no examples is not defined; call update first")
        return self.total / self.seen
