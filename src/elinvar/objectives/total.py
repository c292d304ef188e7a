"""What an objective is, and sums of objectives that keep every part visible."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ..check import InputError
from ..views import Logits, Views
from .loss import Loss

Judge = Callable[[Logits, Views], Loss]
"""An objective, or the layer that it becomes."""


class Judging(nn.Module):
    """An objective as a layer, `(logits, views) -> Loss`. What the objective learns are its parameters."""

    def __init__(self, judge: Callable[..., Loss], parts: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        self.judge = judge
        self.parts = nn.ModuleList(parts)

    def forward(self, logits: Logits, views: Views) -> Loss:
        return self.judge(logits, views, *self.parts)


class Objective(ABC):
    """Judges the logits of a step's views, which it addresses by name.

    Subclasses are frozen dataclasses of settings. `a + b` is the sum of two objectives and `2.0 * a` a multiple; both
    keep the parts visible.
    """

    @abstractmethod
    def __call__(self, logits: Logits, views: Views) -> Loss:
        """The loss of one step. Raises `InputError` for a view that is not there, and if the objective learns."""

    def module(self) -> Judging:
        """A layer that judges alike; made once for a run, since it holds what the objective learns, if anything.

        Its parameters belong to the run's optimizer, in a group that nothing decays, and to its checkpoints.
        """
        return Judging(self)

    def __add__(self, other: "Objective") -> "WeightedSum":
        return _sum(_terms(self) + _terms(other)) if isinstance(other, Objective) else NotImplemented

    def __rmul__(self, factor: float) -> "WeightedSum":
        return _sum([(factor * weight, part) for weight, part in _terms(self)])


@dataclass(frozen=True, kw_only=True)
class WeightedSum(Objective):
    """Sum of weights[i] * parts[i]; no weights means 1 for each.

    Calling it raises `InputError` when two parts judge the same views in the same way: one of them, with the sum of
    their weights, says the same.

    >>> from elinvar.objectives import Consistency, CrossEntropy
    >>> (CrossEntropy() + 0.5 * Consistency()).weights
    (1.0, 0.5)
    """

    parts: tuple[Objective, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.parts:
            raise InputError("a sum of objectives needs at least one part, got none")
        if self.weights and len(self.weights) != len(self.parts):
            raise InputError(f"weights: got {len(self.weights)}, expected one for each of {len(self.parts)} parts")
        for weight in self.weights:
            check_weight(weight)

    def judge(self, logits: Logits, views: Views, *judges: Judge) -> Loss:
        """The sum, with `judges` in place of the parts."""
        factors = self.weights or (1.0,) * len(self.parts)
        return Loss.joined(judge(logits, views).times(by) for by, judge in zip(factors, judges, strict=True))

    def __call__(self, logits: Logits, views: Views) -> Loss:
        return self.judge(logits, views, *self.parts)

    def module(self) -> Judging:
        return Judging(self.judge, [part.module() for part in self.parts])


def _terms(objective: Objective) -> list[tuple[float, Objective]]:
    if isinstance(objective, WeightedSum):
        return list(zip(objective.weights or (1.0,) * len(objective.parts), objective.parts, strict=True))
    return [(1.0, objective)]


def _sum(terms: Sequence[tuple[float, Objective]]) -> WeightedSum:
    weights = tuple(weight for weight, _ in terms)
    return WeightedSum(parts=tuple(part for _, part in terms), weights=() if set(weights) == {1.0} else weights)


def check_weight(weight: float, field: str = "weight") -> None:
    """Raise `InputError` unless the weight is finite and not negative."""
    if not (math.isfinite(weight) and weight >= 0):
        raise InputError(f"{field}: got {weight}, expected a finite number, 0 or above")


def check_names(field: str, names: Sequence[str], *, at_least: int, at_most: int | None = None) -> None:
    """Raise `InputError` unless `names` are so many distinct names of views, and not one string."""
    many = len(names) < at_least or (at_most is not None and len(names) > at_most)
    if isinstance(names, str) or len(set(names)) != len(names) or many:
        count = str(at_least) if at_most == at_least else f"{at_least} or more"
        raise InputError(f"{field}: got {names!r}, expected {count} distinct names of views in a tuple")


def check_same_examples(views: Views, names: Sequence[str]) -> None:
    """Raise `InputError` unless row i of every view that is named comes from the same example."""
    index = [views[name].index for name in names]
    if any(rows is not index[0] and not torch.equal(rows, index[0]) for rows in index):
        raise InputError(f"the views {', '.join(names)} hold different examples, or hold them in another order")
