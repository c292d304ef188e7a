"""What a network says itself about its images: the mean and std that its weights were trained with, and their size.

timm           `pretrained_cfg` (or `default_cfg`) of the network or of a network inside of it
torchvision    the `transforms()` of the `weights` that it is made with
transformers   `image_mean` and `image_std`
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import nn

from ..check import InputError, warn
from .imports import find
from .standardize import Standardize, Standardized

CONFIGURATIONS = ("pretrained_cfg", "default_cfg")
PRETRAINED = ("pretrained", "weights", "checkpoint_path")  # options that load weights
RESIZING = ("interpolation", "crop_pct", "crop_mode", "crop_size", "resize_size")


@dataclass(frozen=True)
class Constants:
    """What images are expected to be.

    mean, std   of [0, 1] images, one number for each channel
    size        height and width; None where nothing is said
    resizing    how they were cut and resized, in words: images come as the data set gives them, so it is not followed
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None = None
    resizing: str = ""

    @classmethod
    def of(cls, model: Standardized) -> "Constants":
        """Those of a model's input layer."""
        return cls(tuple(model.standardize.mean.tolist()), tuple(model.standardize.std.tolist()))

    def __str__(self) -> str:
        return f"mean {_numbers(self.mean)} and std {_numbers(self.std)}"

    def usable(self, channels: int) -> bool:
        """Whether these standardize [0, 1] images of so many channels."""
        try:
            Standardize(self.mean, self.std)
        except InputError:
            return False
        return len(self.mean) == channels


def own_constants(network: nn.Module, name: str = "", options: Mapping[str, Any] | None = None) -> Constants | None:
    """The constants of a network that `name` and `options` made; None if it says none, or says two different ones.

    What is inside of DataParallel, torch.compile or a wrapper of somebody's own counts too.
    """
    weights = (options or {}).get("weights")
    chosen = None if weights is None else _of_weights(name, weights)
    if chosen is not None:
        return chosen
    found = list(dict.fromkeys(_of_modules(network)))
    return found[0] if found and len({(of.mean, of.std) for of in found}) == 1 else None


def unwrapped(network: nn.Module) -> nn.Module:
    """The module inside of DataParallel, DistributedDataParallel and torch.compile."""
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        inner = network.module if isinstance(network, wrappers) else getattr(network, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return network
        network = inner


def with_own_constants(
    model: Standardized, name: str, options: Mapping[str, Any], *, tell: bool = True
) -> Standardized:
    """`model` with the constants of its own where its options load pretrained weights; `tell` warns of it."""
    if not any(options.get(option) for option in PRETRAINED):
        return model
    own = own_constants(model.network, name, options)
    if own is None:
        return model
    given = Constants.of(model)
    if own.usable(len(given.mean)):
        model.standardize = Standardize(own.mean, own.std)
    if tell:
        tell_constants(name, own, model, given)
    return model


def tell_constants(name: str, own: Constants, model: Standardized, data: Constants) -> None:
    """Warn of constants that differ from those of the data set, whether they are used or not."""
    if not own.usable(len(data.mean)):
        warn(
            f"{name}: the model's own constants, {own}, are none for [0, 1] images of {len(data.mean)} channels; "
            f"images are standardized by {Constants.of(model)}"
        )
    elif not _same(own, data):
        used = Constants.of(model)
        by = f"the model's own constants, {own}" if _same(own, used) else f"{used}; the model's own are {own}"
        warn(f"{name}: images are standardized by {by}; those of the data set are {data}")


def tell_size(name: str, own: Constants, size: tuple[int, int]) -> None:
    """Warn of images of another size than the model's own settings say."""
    if own.size is not None and own.size != size:
        warn(
            f"{name}: the model's own settings are for images of {own.size[0]} x {own.size[1]} pixels, and these have "
            f"{size[0]} x {size[1]}"
        )


def _same(one: Constants, other: Constants) -> bool:
    pairs = zip((*one.mean, *one.std), (*other.mean, *other.std), strict=True)
    return all(math.isclose(a, b, abs_tol=1e-4) for a, b in pairs)


def _of_modules(network: nn.Module) -> Iterator[Constants]:
    for module in network.modules():
        for place in CONFIGURATIONS:
            if found := _read(getattr(module, place, None), "mean", "std"):
                yield found
        for holder in (module, getattr(module, "config", None)):
            if found := _read(holder, "image_mean", "image_std"):
                yield found


def _of_weights(name: str, weights: Any) -> Constants | None:
    """What torchvision says about a member of its enumerations of weights, or about the name of one."""
    try:
        if isinstance(weights, str):
            weights = import_module("torchvision.models").get_model_weights(find(name)).verify(weights)
        return _read(weights.transforms(), "mean", "std")
    except Exception:  # whatever is no such thing says nothing
        return None


def _read(holder: object, mean: str, std: str) -> Constants | None:
    def entry(name: str) -> Any:
        return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)

    values = [_floats(entry(mean)), _floats(entry(std))]
    if holder is None or values[0] is None or values[1] is None:
        return None
    words = [f"{name} {getattr(value, 'value', value)}" for name in RESIZING if (value := entry(name)) is not None]
    return Constants(values[0], values[1], _size(entry("input_size") or entry("crop_size")), ", ".join(words))


def _floats(value: object) -> tuple[float, ...] | None:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        return None
    return tuple(map(float, value)) if all(isinstance(item, int | float) for item in value) else None


def _size(value: object) -> tuple[int, int] | None:
    if not isinstance(value, Sequence) or not value or not all(isinstance(item, int) for item in value):
        return None
    return value[-2:][0], value[-1]


def _numbers(values: Sequence[float]) -> str:
    return ",".join(f"{value:.4g}" for value in values)
