"""What an objective returns: the number to descend on, and the named parts that it is the sum of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..check import InputError


class Part(NamedTuple):
    """One term of a loss: its value before weighting, without a graph, and the factor it enters the total with.

    A factor that depends on the batch is a tensor without a graph. A part of weight 0 is only watched.
    """

    value: Float[Tensor, ""]
    weight: float | Float[Tensor, ""]

    def __float__(self) -> float:
        """The value. Waits for the device."""
        return float(self.value)


@dataclass(frozen=True)
class Loss:
    """The scalar to call `backward` on, and its named parts: total = sum of weight * value over `parts`."""

    total: Float[Tensor, ""]
    parts: Mapping[str, Part]

    @classmethod
    def of(cls, name: str, value: Float[Tensor, ""], weight: float | Float[Tensor, ""] = 1.0) -> "Loss":
        """A loss of one part."""
        return cls(weight * value, {name: Part(value.detach(), weight)})

    @classmethod
    def joined(cls, losses: Iterable["Loss"]) -> "Loss":
        """The sum of losses, with the parts of all; raises `InputError` when two parts have the same name."""
        totals, parts = [], dict[str, Part]()
        for loss in losses:
            totals.append(loss.total)
            for name, part in loss.parts.items():
                if name in parts:
                    raise InputError(f"two parts of the objective are {name}; keep one, with the sum of their weights")
                parts[name] = part
        return cls(torch.stack(totals).sum(), parts)

    def times(self, factor: float) -> "Loss":
        """`factor` times this loss."""
        return Loss(factor * self.total, {name: Part(p.value, factor * p.weight) for name, p in self.parts.items()})

    def watching(self, values: Mapping[str, Float[Tensor, ""]]) -> "Loss":
        """This loss with more numbers for the log, which add nothing to it."""
        return Loss(self.total, {**self.parts, **{name: Part(value.detach(), 0.0) for name, value in values.items()}})
