"""Which parameters of a model an optimizer trains, and which it does not know."""

import gc
from collections.abc import Iterable, Set
from weakref import ref

from torch import nn
from torch.optim import Optimizer

from ..check import warn

SHOWN = 5  # names in a text


def untrained(model: nn.Module, *optimizers: Optimizer) -> list[str]:
    """Names of the model's parameters that require a gradient and that none of `optimizers` holds."""
    held = _held(optimizers)
    return [name for name, tensor in model.named_parameters() if tensor.requires_grad and id(tensor) not in held]


class Before:
    """A model's parameters before its layers change, so that what optimizers of then do not train can be told."""

    def __init__(self, model: nn.Module) -> None:
        # The parameters themselves are kept, as ids of dead objects come back.
        self._trained = {id(parameter): (parameter, parameter.requires_grad) for parameter in model.parameters()}

    def tell(self, model: nn.Module) -> None:
        """Warn of parameters that train from now on and that optimizers of the model do not hold.

        Parameters that an optimizer holds and the model lost get no gradient, so that no step moves them or anything
        else: nothing is said of them.
        """
        before = {key for key, (_, trained) in self._trained.items() if trained}
        if all(id(parameter) in before for parameter in model.parameters() if parameter.requires_grad):
            return
        found = [ref(optimizer) for optimizer in _of(self._trained.keys())]
        if not found:
            return
        gc.collect()  # one that nobody has any more is still found until then
        optimizers = [optimizer for some in found if (optimizer := some()) is not None]
        unknown = [name for name in untrained(model, *optimizers) if id(model.get_parameter(name)) not in before]
        if optimizers and unknown:
            warn(
                f"an optimizer of this model was made before and will not train {listed(unknown)}; make it anew, or "
                "give it these with add_param_group"
            )


def listed(names: list[str]) -> str:
    """Names for a text, the first few of many."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _held(optimizers: Iterable[Optimizer]) -> set[int]:
    return {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}


def _of(parameters: Set[int]) -> list[Optimizer]:
    """The optimizers alive that hold one of `parameters`, by their ids."""
    # By class and not by isinstance, which may run code of the objects that it is asked about.
    things = gc.get_objects()
    kinds = {kind for kind in set(map(type, things)) if issubclass(kind, Optimizer)}
    alive = [thing for thing in things if type(thing) in kinds]
    return [found for found in alive if hasattr(found, "param_groups") and not _held([found]).isdisjoint(parameters)]
