"""Which parameters of a model an optimizer trains, and which it does not know."""

import gc
from collections.abc import Iterable
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
    """A model's parameters before its layers change, so that optimizers that were made for them can be told."""

    def __init__(self, model: nn.Module) -> None:
        # The parameters themselves are kept, as ids of dead objects come back.
        self._named = [(name, parameter, parameter.requires_grad) for name, parameter in model.named_parameters()]

    def tell(self, model: nn.Module) -> None:
        """Warn of parameters that are new to optimizers of the model, or that they hold and the model lost."""
        before = {id(parameter): trained for _, parameter, trained in self._named}
        after = dict(model.named_parameters())
        new = {name: p for name, p in after.items() if p.requires_grad and not before.get(id(p))}
        there = {id(parameter) for parameter in after.values()}
        gone = {name: p for name, p, trained in self._named if trained and id(p) not in there}
        if not (new or gone):
            return
        found = [ref(optimizer) for optimizer in _of(before)]
        if not found:
            return
        gc.collect()  # one that nobody has any more is still found until then
        optimizers = [optimizer for some in found if (optimizer := some()) is not None]
        if not optimizers:
            return
        held = _held(optimizers)
        unknown = [name for name, parameter in new.items() if id(parameter) not in held]
        lost = [name for name, parameter in gone.items() if id(parameter) in held]
        if unknown:
            warn(
                f"an optimizer of this model was made before and will not train {listed(unknown)}; make it anew, or "
                "give it these with add_param_group"
            )
        if lost:
            warn(f"an optimizer of this model holds {listed(lost)}, which the model no longer has; make it anew")


def listed(names: list[str]) -> str:
    """Names for a text, the first few of many."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _held(optimizers: Iterable[Optimizer]) -> set[int]:
    return {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}


def _of(parameters: dict[int, bool]) -> list[Optimizer]:
    """The optimizers alive that hold one of `parameters`."""
    # By class and not by isinstance, which may run code of the objects that it is asked about.
    things = gc.get_objects()
    kinds = {kind for kind in set(map(type, things)) if issubclass(kind, Optimizer)}
    alive = [thing for thing in things if type(thing) in kinds]
    return [found for found in alive if hasattr(found, "param_groups") and not _held([found]).isdisjoint(parameters)]
