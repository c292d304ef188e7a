"""What an attack wants: a model as a function, targets, and a number to raise for each example."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from ..check import InputError
from ..outputs import logits_of, undecided
from .losses import Loss, class_numbers


@dataclass(frozen=True)
class Goal:
    """`loss` of what `forward` says about points, toward or away from `targets`.

    forward    images to logits (N, classes)
    targets    (N,) class numbers or (N, classes) soft targets
    loss       logits and targets to one number for each example
    targeted   lower the loss, and stop at the target class, instead of raising it, and stopping at any other
    """

    forward: Callable[[Tensor], Tensor]
    targets: Shaped[Tensor, "n *classes"]
    loss: Loss
    targeted: bool = False

    def at(self, rows: Tensor) -> "Goal":
        """The goal of some of the examples: a mask or indices."""
        return replace(self, targets=self.targets[rows])

    def repeated(self, times: int) -> "Goal":
        """The goal of points that stand `times` in a row for each example."""
        return replace(self, targets=self.targets.repeat_interleave(times, 0))

    def logits(self, points: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """What the model says, in the gradient mode of the caller."""
        return logits_of(self.forward(points), len(points))

    def look(self, points: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """What the model says, without a graph."""
        with unrecorded():
            return self.logits(points)

    def value(self, logits: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
        """What the attack raises."""
        value = self.loss(logits, self.targets)
        if value.shape != logits.shape[:1]:
            raise InputError(
                f"loss: got shape {tuple(value.shape)} for {len(logits)} examples, expected one number for each: "
                "an attack needs the loss of every example, not their mean"
            )
        return -value if self.targeted else value

    def reached(self, logits: Float[Tensor, "n classes"]) -> Bool[Tensor, " n"]:
        """Which examples are where the attack wants them. `undecided` logits are misclassified, and at no class."""
        hit = logits.detach().argmax(1) == class_numbers(self.targets)
        lost = undecided(logits)
        return hit & ~lost if self.targeted else ~hit | lost


@contextmanager
def unrecorded() -> Iterator[None]:
    """Forwards without a graph, which leave nothing in autocast's memory.

    Autocast keeps cast weights until its context ends. In older versions of torch those of a forward without gradients
    cut a later training forward in the same context off from its weights (pytorch/pytorch#158232).
    """
    kept = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_autocast_cache_enabled(kept)
