"""Find the layers of a model, and put others in their places: all, or none if anything is wrong with one."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast

from torch import nn

from ...check import InputError
from ..optimizers import Before
from .elsewhere import spots
from .whole import apart, check_attributes, hand_over, leave

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
    """The model with each layer changed; one that stands in several places is changed once.

    A new layer takes over hooks and attributes of the old one, also its places in lists and dictionaries. The old one
    raises `InputError` when it is called from then on; a model that is a layer itself goes on, with memory of its own.
    """
    layers = {id(layer): layer for _, _, layer in found}
    for place in found:
        _check_parent(place)
    changed = {key: change(layer) for key, layer in layers.items()}
    pairs = [(layer, changed[key]) for key, layer in layers.items() if changed[key] is not layer]
    for old, new in pairs:
        check_attributes(old, new)
    _check_wrapped(model, pairs)
    others = spots(model, {id(old): old for old, _ in pairs})
    before = Before(model)
    for old, new in pairs:
        hand_over(old, new)
    for container, key, layer in others:
        container[key] = changed[id(layer)]
    for parent, name, layer in found:
        new = changed[id(layer)]
        if parent is not None:
            parent._modules[name] = new
            if new is not layer:
                leave(layer)
        else:
            if new is not layer:
                apart(layer, new)
            model = cast(M, new)
    before.tell(model)
    return model


def _check_parent(place: Place) -> None:
    kind = type(place.parent)
    if place.name == "_orig_mod":
        raise InputError(
            f"torch.compile holds this {type(place.layer).__name__} by itself and would go on with it; compile it "
            "afterwards"
        )
    if kind.__module__.startswith("torch.ao.nn.intrinsic"):
        raise InputError(
            f"{kind.__name__} reads the memory of its {type(place.layer).__name__} by itself; convert the model before "
            "it is prepared for quantization"
        )


def _check_wrapped(model: nn.Module, pairs: list[tuple[nn.Module, nn.Module]]) -> None:
    if not any(isinstance(module, nn.parallel.DistributedDataParallel) for module in model.modules()):
        return
    for old, new in pairs:
        for kind in ("parameters", "buffers"):
            known = {id(tensor) for tensor in getattr(old, kind)()}
            if any(id(tensor) not in known for tensor in getattr(new, kind)()):
                raise InputError(
                    f"DistributedDataParallel does not know the new {kind} of this {type(old).__name__} and would "
                    "leave each worker its own; change the model first and wrap it afterwards"
                )
