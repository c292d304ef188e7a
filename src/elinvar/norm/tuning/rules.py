"""The layers whose example weight is tuned: what they came with, how it is set, and how it is put back."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from torch import nn

from ...check import InputError
from ..conversion.borrow import BATCH_NORM
from ..conversion.swap import with_policy
from ..conversion.walk import places, put
from ..inference import ExampleWeighted, Inference, OwnBatch, Remembered
from ..layer import Norm
from ..policies import batch_norm, no_memory

GRID = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
"""alphas for layers that share statistics over examples, neutral first"""
GRID_BY_EXAMPLE = (1.0, 0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.5)
"""alphas for layers that normalize each example by itself, neutral first"""


class Rules:
    """The layers of a model with a memory to weigh examples against, and one alpha for all of them.

    Where some layers share statistics over examples, those that normalize each example by itself stay as they are.

    neutral   alpha of what the family of layers does anyway: 0, or 1 for layers that normalize each example by itself
    current   alpha that all layers have now; None if they differ, or normalize by their own batch
    """

    def __init__(self, model: nn.Module) -> None:
        found = [layer for layer in model.modules() if isinstance(layer, Norm) and layer.policy.memory.remembers]
        shared = [layer for layer in found if not _by_example(layer)]
        self.layers = tuple(shared or found)
        self.neutral = 0.0 if shared else 1.0
        self._before = tuple(layer.policy for layer in self.layers)
        alphas = {_alpha(layer.policy.inference) for layer in self.layers}
        self.current = alphas.pop() if len(alphas) == 1 else None

    def grid(self, alphas: Iterable[float] | None) -> list[float]:
        """The alphas to try, neutral and the nearest to it first.

        Raises `InputError` for alphas outside [0, 1], and where no layer could use them.
        """
        if alphas is None and self.layers:
            alphas = GRID if self.neutral == 0.0 else GRID_BY_EXAMPLE
        wanted = {float(ExampleWeighted(alpha).alpha) for alpha in alphas or ()}
        if wanted and not self.layers:
            raise InputError(
                "no normalization layer remembers statistics to weigh an example against; for a model with GroupNorm: "
                "norm.convert(model, norm.example_weighted(1.0), group_norm=True), then norm.precise"
            )
        return sorted(wanted | {self.neutral}, key=self.distance) if wanted else []

    def distance(self, alpha: float | None) -> float:
        """How far alpha is from neutral."""
        return 0.0 if alpha is None else abs(alpha - self.neutral)

    def at(self, distance: float) -> float:
        """The alpha at a distance from neutral."""
        return abs(self.neutral - distance)

    def use(self, alpha: float | None) -> None:
        """Set the weight of an example in every layer; None: what each came with."""
        rule = None if alpha is None else inference_of(alpha)
        for layer, policy in zip(self.layers, self._before, strict=True):
            layer.policy = policy if rule is None else replace(policy, inference=rule)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Every layer gets back what it came with, also after an error."""
        try:
            yield
        finally:
            self.use(None)


def inference_of(alpha: float) -> Inference:
    """The rule of weight `alpha`; a weight of 0 is the memory alone, by the same operations as ever."""
    return ExampleWeighted(alpha) if alpha else Remembered()


def rows_meet(model: nn.Module) -> bool:
    """Whether what the model says of an example depends on the other examples of its batch."""
    for layer in model.modules():
        if isinstance(layer, Norm) and isinstance(layer.policy.inference, OwnBatch) and not _by_example(layer):
            return True
    return False


def settle(model: nn.Module, alpha: float) -> None:
    """Give a model the weight `alpha` for good; BatchNorm layers of torch become `Norm`."""
    put(model, places(model, lambda layer: isinstance(layer, BATCH_NORM)), _converted)
    Rules(model).use(alpha)


def _converted(layer: nn.Module) -> Norm:
    return with_policy(layer, no_memory() if getattr(layer, "running_mean", None) is None else batch_norm())


def between(distances: Sequence[float], best: float) -> list[float]:
    """Distances halfway between `best` and its neighbours, by their geometric mean; half of the first one above 0."""
    ordered = sorted(set(distances))
    place = ordered.index(best)
    pairs = zip(ordered[max(place - 1, 0) : place + 1], ordered[max(place, 1) : place + 2], strict=False)
    return [(low * high) ** 0.5 if low else high / 2 for low, high in pairs if low < high]


def _by_example(layer: Norm) -> bool:
    ghosts = layer.policy.sharing.ghosts
    return ghosts is not None and ghosts.size == 1


def _alpha(inference: Inference) -> float | None:
    if isinstance(inference, ExampleWeighted):
        return float(inference.alpha)
    return 0.0 if isinstance(inference, Remembered) else None
