"""One way to make a model: from a name or an import path, behind its input layer, from its own seed."""

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature, signature
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from ..check import InputError, unknown
from ..rng import check_seed, fold, fresh_key
from .imports import find
from .standardize import Standardize, Standardized
from .table import architecture

NONE: Mapping[str, Any] = MappingProxyType({})
CLASSES = ("num_classes", "classes")
CHANNELS = ("in_channels", "in_chans")


def build(
    name: str,
    *,
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    in_channels: int = 3,
    options: Mapping[str, Any] = NONE,
    seed: int | None = None,
) -> Standardized:
    """A freshly initialized model that takes uint8 or [0, 1] images and returns logits.

    name          a row of `MODELS`, any `wrn-DEPTH-WIDEN`, or the import path of a callable that returns an `nn.Module`
    classes       number of classes; handed to a callable of yours as `num_classes` or `classes` if it takes either
    mean, std     one number for each channel, in units of [0, 1] images; 0 and 1 for a network that standardizes itself
    in_channels   channels of an image; handed to a callable of yours as `in_channels` or `in_chans` if it names either
    options       further keyword arguments of the network
    seed          0 to 2**64 - 1: of the initial weights; None draws one from torch's default generator. torch's CPU
                  generator reads the lower 32 bits of a seed alone, so that a larger one is hashed to 32 bits

    The network is built on the CPU, so that its initial weights do not depend on the device it moves to, and torch's
    default generator is left as it was (but for the one number that `seed=None` draws).

    Raises `InputError` for a name or path that does not exist, a callable that returns no module, and wrong options.

    >>> model = build("wrn-16-1", classes=10, mean=(0.5,) * 3, std=(0.25,) * 3, seed=1)
    >>> model(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape, model.classes
    (torch.Size([2, 10]), 10)
    """
    if classes < 1:
        raise InputError(f"classes: got {classes}, expected at least 1")
    if len(mean) != in_channels:
        raise InputError(f"mean and std have {len(mean)} channels, but in_channels is {in_channels}")
    arrange = _of_user if "." in name or ":" in name else _of_table
    make, arguments = arrange(name, classes, in_channels, options)
    key = _seed(seed)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # Only the CPU's generator: torch.manual_seed would seed those of all devices, and they are not restored here.
        torch.default_generator.manual_seed(key)
        standardize = Standardize(mean, std)
        try:
            network = make(**arguments)
        except (TypeError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise InputError(f"model {name!r} with options {dict(options)}: {reason}") from error
    if not isinstance(network, nn.Module):
        raise InputError(f"model {name!r} gave a {type(network).__name__}, expected a torch.nn.Module")
    told = any(key in arguments for key in CLASSES)
    return Standardized(standardize, network, classes=classes if told else _own_classes(network))


def _seed(seed: int | None) -> int:
    """A seed for torch's CPU generator, for which 2**32 and 0 are the same."""
    key = fresh_key() if seed is None else check_seed(seed)
    return key if key < 2**32 else fold("weights", key) >> 32


def _of_table(
    name: str, classes: int, in_channels: int, options: Mapping[str, Any]
) -> tuple[Callable[..., object], dict[str, Any]]:
    row = architecture(name)
    known = set(signature(row.make).parameters) - {"classes", "in_channels"}
    for option in options:
        if option not in known:
            raise unknown(f"option of model {name!r}", option, known)
    return row.make, {**row.settings, **options, "classes": classes, "in_channels": in_channels}


def _of_user(
    path: str, classes: int, in_channels: int, options: Mapping[str, Any]
) -> tuple[Callable[..., object], dict[str, Any]]:
    make = find(path)
    if isinstance(make, nn.Module) or not callable(make):
        raise InputError(f"model {path!r} is a {type(make).__name__}, expected a class or function that makes a module")
    try:
        form = signature(make)
    except ValueError:  # some callables written in C have none
        return make, dict(options)
    named, anything = _keywords(form)
    offered: dict[str, Any] = {}
    for synonyms, number in ((CLASSES, classes), (CHANNELS, in_channels)):
        if taken := [key for key in synonyms if key in named]:
            offered[taken[0]] = number
    if anything and not named.intersection(CLASSES):
        offered[CLASSES[0]] = classes  # the name that torchvision and timm hide behind **kwargs
    for option in options:
        if option in CLASSES + CHANNELS:
            raise InputError(f"options: {option!r} is an argument of its own here, and not an option")
        if option not in named and not anything:
            raise unknown(f"option of model {path!r}", option, named - set(offered))
    try:
        form.bind(**offered, **options)
    except TypeError as error:
        raise InputError(f"model {path!r}: {error}; give it in `options`") from error
    return make, {**offered, **options}


def _keywords(form: Signature) -> tuple[set[str], bool]:
    """The parameters that can be given by name, and whether any other name is taken too."""
    by_name = {Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY}
    named = {key for key, parameter in form.parameters.items() if parameter.kind in by_name}
    return named, any(parameter.kind is Parameter.VAR_KEYWORD for parameter in form.parameters.values())


def _own_classes(network: nn.Module) -> int | None:
    for name in CLASSES:
        value = getattr(network, name, None)
        if isinstance(value, int):
            return value
    return None
