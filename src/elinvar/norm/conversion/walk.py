"""Find the layers of a model, and put others in their places: all, or none if anything is wrong with one."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast

from torch import nn

M = TypeVar("M", bound=nn.Module)


class Place(NamedTuple):
    """Where a layer stands. Without a parent the layer is the model itself."""

    parent: nn.Module | None
    name: str
    layer: nn.Module


def places(model: nn.Module, wanted: Callable[[nn.Module], bool]) -> list[Place]:
    """Every place of a wanted layer, in the order of the model; layers inside of a wanted one are not looked at."""
    if wanted(model):
        return [Place(None, "", model)]
    found: list[Place] = []
    seen = {model}

    def look(parent: nn.Module) -> None:
        for name, child in parent._modules.items():
            if child is not None and wanted(child):
                found.append(Place(parent, name, child))
            elif child is not None and child not in seen:
                seen.add(child)
                look(child)

    look(model)
    return found


def put(model: M, found: list[Place], change: Callable[[nn.Module], nn.Module]) -> M:
    """The model with each layer changed; one that stands in several places is changed once."""
    changed = {id(layer): change(layer) for _, _, layer in found}
    for parent, name, layer in found:
        if parent is None:
            return cast(M, changed[id(layer)])
        parent._modules[name] = changed[id(layer)]
    return model
