"""Routing: which rows of a batch are normalized together, and whether a forward may be remembered.

    with route(model, Routing.of(views), Trace.PROPOSE):
        loss(model(views.images())).backward()
    norm.commit(model)

A routing is set on the model's own layers for one forward and its backward (activation checkpointing computes the
forward again inside backward), and what was there before comes back afterwards, also after an error.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate
from typing import NamedTuple

from torch import nn

from .check import InputError
from .views import Views


class Trace(Enum):
    """What a training forward leaves behind in the normalization layers' memory."""

    COMMIT = "commit"  # remembered at once, as torch.nn.BatchNorm2d does: a layer outside of a step
    PROPOSE = "propose"  # kept aside until the step commits it: the recorded forward of a step
    NOTHING = "nothing"  # read-only: attacks, teachers, probes


class Span(NamedTuple):
    """Rows `start` to `stop - 1`, which belong to one branch."""

    start: int
    stop: int
    branch: str


@dataclass(frozen=True)
class Routing:
    """Consecutive rows of a batch: `sizes[i]` rows that belong to `branches[i]`.

    sizes=None means all rows, however many; then there is one branch.

    reference  number of rows at the end that count in the statistics of the last span, and through which no gradient
               flows (`norm.VirtualBatch`)
    """

    branches: tuple[str, ...]
    sizes: tuple[int, ...] | None = None
    reference: int = 0

    def __post_init__(self) -> None:
        expected = 1 if self.sizes is None else len(self.sizes)
        if len(self.branches) != expected:
            raise InputError(f"a routing of {expected} spans needs as many branches, got {self.branches}")

    @classmethod
    def of(cls, views: Views) -> "Routing":
        """One span for each view, in the order in which `views.images()` concatenates them."""
        return cls(branches=tuple(view.branch for view in views), sizes=tuple(len(view) for view in views))

    def spans(self, rows: int) -> tuple[Span, ...]:
        """The spans of a batch of `rows` rows; raises `InputError` when the sizes do not add up to it."""
        if self.sizes is None:
            return (Span(0, rows, self.branches[0]),)
        if sum(self.sizes) != rows:
            raise InputError(
                f"the routing covers {sum(self.sizes)} rows (sizes {self.sizes}), but this layer got {rows}: "
                "a layer that changes the number of rows cannot be routed; route each part by itself"
            )
        stops = accumulate(self.sizes)
        return tuple(
            Span(stop - size, stop, branch) for size, stop, branch in zip(self.sizes, stops, self.branches, strict=True)
        )


class Session(NamedTuple):
    """What `route` sets on a layer."""

    routing: Routing
    trace: Trace


class Routed(nn.Module):
    """A layer that normalizes by routing. Outside of `route`, `session` is None."""

    session: Session | None = None


@contextmanager
def route(model: nn.Module, routing: Routing, trace: Trace) -> Iterator[None]:
    """Route every forward of `model` inside this context; nested routes restore the outer one.

    Raises `InputError` if a BatchNorm layer of torch would train inside, which follows no routing.
    """
    modules = list(model.modules())
    layers = [module for module in modules if isinstance(module, Routed)]
    for module in modules:
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            raise InputError(
                f"{type(module).__name__} in training mode knows no routing and would remember every forward; "
                "convert the model first: norm.convert(model, norm.batch_norm())"
            )
    before = [layer.session for layer in layers]
    for layer in layers:
        layer.session = Session(routing, trace)
    try:
        yield
    finally:
        for layer, session in zip(layers, before, strict=True):
            layer.session = session
