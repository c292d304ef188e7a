"""What both methods are given, and what they give back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from ...check import InputError
from .estimator import Estimator, Sums
from .feed import Feed
from .layers import Place, Statistics
from .meter import Meter
from .ranks import Ranks

Settle = Callable[[Place, Sums, int], Statistics]
"""(layer, what was measured, examples in all) -> the mean and variance that the layer is to remember"""


@dataclass(frozen=True)
class Task:
    """A model to measure, and how.

    settle   from measured moments to what is remembered
    pooled   whether a layer may run several times in one forward
    """

    root: nn.Module
    places: tuple[Place, ...]
    feed: Feed
    estimator: Estimator
    settle: Settle
    pooled: bool
    ranks: Ranks
    meter: Meter

    def called_again(self, place: Place) -> None:
        """Raises `InputError` unless calls of one layer are to be pooled."""
        if not self.pooled:
            raise InputError(
                f"layer {place.name!r} runs more than once in a forward, on different inputs that share one memory; "
                "pool the calls by shared='pool', or give each input a branch of its own by norm.split(branches=...)"
            )


@dataclass(frozen=True)
class Measured:
    """What was measured of all workers' examples, the same on every worker.

    sums     of every layer that was reached
    written  the mean and variance that it is to remember
    """

    sums: Mapping[Place, Sums]
    written: Mapping[Place, Statistics]
    batches: tuple[int, ...]
    calls: Mapping[Place, int]
    partial: frozenset[Place] = frozenset()
    passes: float = 1.0
