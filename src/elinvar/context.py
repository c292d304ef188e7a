"""What turning a batch into views may use: keyed randomness, and logits that leave no trace."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from .rng import Seeds, Source, streams
from .routing import Routing, Trace, route
from .views import View


@dataclass(frozen=True)
class Context:
    """One step's surroundings.

    forward  the model as the step runs it: [0, 1] images to float32 logits, under the step's precision
    number   steps that the run has done before this one
    """

    seeds: Seeds
    epoch: int
    model: nn.Module
    forward: Callable[[Tensor], Tensor]
    number: int = 0

    def streams(self, source: Source, index: Int64[Tensor, " n"], *path: int | str) -> Int64[Tensor, " n"]:
        """A stream of draws for each example; `path` names the view and the place in it."""
        return streams(self.seeds.key(source, self.epoch, *path), index)

    def logits(self, images: Shaped[Tensor, "n c h w"], branch: str = "main") -> Float[Tensor, "n classes"]:
        """What the model says in its current mode, differentiable; no layer remembers this forward."""
        with route(self.model, Routing((branch,)), Trace.NOTHING):
            return self.forward(images)


class Transform(ABC):
    """Makes one view from another and may look at the model: an attack, a mix of examples."""

    @abstractmethod
    def __call__(self, view: View, context: Context, *path: int | str) -> View:
        """The new view; draws take streams of `context` under `path`."""
