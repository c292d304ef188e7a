"""Who else holds a layer: what is not registered as a module may call it all the same.

Lists and dictionaries can hold another layer instead; closures, partial functions and bound methods cannot.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple
from weakref import ReferenceType

from torch import Tensor, nn

from ...check import InputError

DEPTH = 6  # of containers, closures and objects in each other
_REGISTERED = {"_modules", "_parameters", "_buffers"}
_ATOMS = (str, bytes, int, float, complex, type(None), type, ModuleType, Tensor, BuiltinFunctionType)


class Spot(NamedTuple):
    """A place of a layer in a list or dictionary: container[key] is the layer."""

    container: Any
    key: Any
    layer: nn.Module


class Held(NamedTuple):
    """A layer that `module` reaches by its attribute `name`, in a way that only words can tell."""

    module: nn.Module
    name: str
    how: str
    layer: nn.Module


def holders(model: nn.Module, layers: Mapping[int, nn.Module]) -> Iterator[Spot | Held]:
    """Every place in attributes and hooks of a model's modules that holds one of `layers` (by `id`)."""
    for module in model.modules():
        attributes = vars(module)
        for name in list(attributes):
            if name in _REGISTERED:
                continue
            value = attributes[name]
            if id(value) in layers:
                yield Spot(attributes, name, layers[id(value)])
                continue
            for found in _within(value, layers, DEPTH, {id(attributes)}):
                yield found if isinstance(found, Spot) else Held(module, name, *found)


def spots(model: nn.Module, layers: Mapping[int, nn.Module]) -> list[Spot]:
    """The places where one of `layers` can be replaced; raises `InputError` for one where it cannot be."""
    found = []
    for holder in holders(model, layers):
        if isinstance(holder, Held):
            where = f"a hook of {type(holder.module).__name__}" if "_hooks" in holder.name else f"`{holder.name}`"
            raise InputError(
                f"{where}, {holder.how} in {type(holder.module).__name__}, holds a {type(holder.layer).__name__} and "
                "would go on with the old one; let it take the layer from the model when it runs"
            )
        found.append(holder)
    return found


def _within(value: Any, layers: Mapping[int, nn.Module], depth: int, seen: set[int]) -> Iterator[Any]:
    """`Spot`s, and pairs of how a layer is held and the layer."""
    if isinstance(value, _ATOMS) or id(value) in seen or not depth:
        return
    seen.add(id(value))
    if isinstance(value, list | dict):
        pairs = enumerate(list(value)) if isinstance(value, list) else list(value.items())
        for key, item in pairs:
            if id(item) in layers:
                yield Spot(value, key, layers[id(item)])
            else:
                yield from _within(item, layers, depth - 1, seen)
        return
    if isinstance(value, nn.Module):  # registered ones are looked at by themselves
        return
    for how, item in _parts(value):
        if id(item) in layers:
            yield how, layers[id(item)]
        else:
            yield from _within(item, layers, depth - 1, seen)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, tuple | set | frozenset):
        yield from ((f"a {type(value).__name__}", item) for item in value)
    elif isinstance(value, MethodType):
        yield "a bound method", value.__self__
        yield "a bound method", value.__func__
    elif isinstance(value, partial):
        yield from (("a partial function", item) for item in (value.func, *value.args, *value.keywords.values()))
    elif isinstance(value, FunctionType):
        yield from (("a closure", item) for item in _closed(value))
    elif isinstance(value, ReferenceType):
        yield "a weak reference", value()
    elif type(value).__name__ == "_WrappedHook":  # torch's own; its module is the one that it is called with
        yield "a hook", value.hook
    elif hasattr(value, "__dict__"):
        yield from ((f"a {type(value).__name__}", item) for item in list(vars(value).values()))


def _closed(function: FunctionType) -> Iterator[Any]:
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not yet filled
            continue
