"""What an objective is, what it returns, and sums of objectives that keep every part visible."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..check import InputError
from ..views import Logits, Views


class Part(NamedTuple):
    """One term of a loss: its value before weighting, without a graph, and the factor it enters the total with."""

    value: Float[Tensor, ""]
    weight: float

    def __float__(self) -> float:
        """The value. Waits for the device."""
        return float(self.value)


@dataclass(frozen=True)
class Loss:
    """The scalar to call `backward` on, and its named parts: total = sum of weight * value over `parts`."""

    total: Float[Tensor, ""]
    parts: Mapping[str, Part]

    @classmethod
    def of(cls, name: str, value: Float[Tensor, ""], weight: float) -> "Loss":
        """A loss of one part."""
        return cls(weight * value, {name: Part(value.detach(), weight)})


class Objective(ABC):
    """Judges the logits of a step's views, which it addresses by name.

    Subclasses are frozen dataclasses of settings. `a + b` is the sum of two objectives and `2.0 * a` a multiple; both
    keep the parts visible.
    """

    @abstractmethod
    def __call__(self, logits: Logits, views: Views) -> Loss:
        """The loss of one step. Raises `InputError` for a view that is not there."""

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

    def __call__(self, logits: Logits, views: Views) -> Loss:
        totals, parts = [], dict[str, Part]()
        for factor, objective in _terms(self):
            loss = objective(logits, views)
            totals.append(factor * loss.total)
            for name, part in loss.parts.items():
                if name in parts:
                    raise InputError(f"two parts of the objective are {name}; keep one, with the sum of their weights")
                parts[name] = Part(part.value, factor * part.weight)
        return Loss(torch.stack(totals).sum(), parts)


def _terms(objective: Objective) -> list[tuple[float, Objective]]:
    if isinstance(objective, WeightedSum):
        return list(zip(objective.weights or (1.0,) * len(objective.parts), objective.parts, strict=True))
    return [(1.0, objective)]


def _sum(terms: Sequence[tuple[float, Objective]]) -> WeightedSum:
    weights = tuple(weight for weight, _ in terms)
    return WeightedSum(parts=tuple(part for _, part in terms), weights=() if set(weights) == {1.0} else weights)


def check_weight(weight: float) -> None:
    """Raise `InputError` unless the weight is finite and not negative."""
    if not (math.isfinite(weight) and weight >= 0):
        raise InputError(f"weight: got {weight}, expected a finite number, 0 or above")


def check_names(field: str, names: Sequence[str], *, at_least: int) -> None:
    """Raise `InputError` unless `names` are so many distinct names of views, and not one string."""
    if isinstance(names, str) or len(set(names)) != len(names) or len(names) < at_least:
        raise InputError(f"{field}: got {names!r}, expected {at_least} or more distinct names of views in a tuple")
