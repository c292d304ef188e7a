"""What `elinvar evaluate` can judge besides runs: a file of weights with the name of its model, or anything importable.

Weights are safetensors, or torch files that are read with weights_only=True: no code of theirs ever runs. An import
path runs code, the one that its writer asked for on the command line.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import nn

from .. import models
from ..check import InputError, warn
from ..data import DataSet
from ..infer import Predictor
from ..models.constants import Constants, own_constants, tell_constants, tell_size, unwrapped
from ..models.imports import find
from ..models.standardize import Standardize, Standardized
from ..outputs import probabilities_sure
from ..precision import Compute
from ..recipe import Infer
from ..train import load_into, read_weights
from .class_names import names_in_file, names_of_model

OUTPUTS = ("logits", "probabilities")
LOOK = 8  # images that a model is tried on first
SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".tar")
NETWORK, STANDARDIZE = "network.", "standardize."  # parts of our own files


@dataclass(frozen=True, kw_only=True)
class Making:
    """How a model is made: its name or import path, its options, and the constants that standardize its images.

    key       which part of a file of weights is meant
    outputs   what it returns: "logits" or "probabilities"
    """

    model: str | None
    options: Mapping[str, Any]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    key: str | None = None
    outputs: str = "logits"


@dataclass(frozen=True)
class Candidate:
    """A model that is ready to be judged, its name in reports, what is told about it, and its classes if it says so."""

    name: str
    model: nn.Module
    about: dict[str, Any]
    classes: tuple[str, ...] | None = None


def is_weights(text: str) -> bool:
    """Whether a command line means a file of weights."""
    path = Path(text)
    return path.is_file() or (not path.is_dir() and path.suffix in SUFFIXES)


def is_importable(text: str) -> bool:
    """Whether a command line means an import path, `package.module:factory`."""
    return not Path(text).exists() and re.fullmatch(r"[\w.]+:[\w.]+", text) is not None


def assignments(items: list[str]) -> dict[str, Any]:
    """`depth=28` as {"depth": 28}: values are YAML scalars and lists. Raises `InputError` for anything else."""
    found: dict[str, Any] = {}
    for item in items:
        name, equals, value = item.partition("=")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"--option {item}: the value is no YAML ({error.__class__.__name__})") from error
        if not equals or not name.isidentifier():
            raise InputError(f"--option {item}: expected NAME=VALUE")
    return found


def from_weights(path: Path, data: DataSet, how: Making) -> Candidate:
    """The model `how.model` with the weights in a file; raises `InputError` that names what does not fit."""
    if how.model is None:
        raise InputError(f"{path}: weights do not say what model they are of; name it, as in --model wrn-40-2")
    names = names_in_file(path)
    count = len(names or data.classes)
    made = _made(how.model, data, how, count)
    try:
        state = read_weights(path, made.model, key=how.key)
        inner = {name.removeprefix(NETWORK): value for name, value in state.items() if name.startswith(NETWORK)}
        load_into(made.model.network, inner, source=path)
    except InputError as error:
        if "another architecture" not in str(error):
            raise
        whose = "that the file names" if names else f"of {data.name}"
        raise InputError(f"{error}; the model was made for the {count:,} classes {whose}") from error
    kept = {name: value for name in ("mean", "std") if (value := state.get(f"{STANDARDIZE}{name}")) is not None}
    about: dict[str, Any] = {} if kept else _constants(path.stem, how.model, made, data, how)
    for name, value in kept.items():
        if getattr(how, name) is None:
            made.model.standardize.get_buffer(name).copy_(value)
    with path.open("rb") as file:
        digest = sha256(file.read()).hexdigest()
    about = {"model": how.model, "weights": f"{path.name}, SHA-256 {digest}", **about}
    return _candidate(path.stem, made.model, about, how, names)


def from_import(path: str, data: DataSet, how: Making) -> Candidate:
    """What `package.module:name` names: a module, or a class or function that makes one."""
    if how.model is not None:
        raise InputError(f"--model {how.model}: is for files of weights, and {path} is a model itself")
    if how.key is not None:
        raise InputError(f"--weights-key {how.key}: is for files of weights, and {path} is a model itself")
    name = re.sub(r"\W+", "-", path).strip("-")
    made = _made(path, data, how, len(data.classes))
    about = {"model": path, "options": dict(how.options), **_constants(name, path, made, data, how)}
    return _candidate(name, made.model, about, how, names_of_model(made.model))


def _candidate(
    name: str, model: Standardized, about: dict[str, Any], how: Making, names: tuple[str, ...] | None
) -> Candidate:
    if how.outputs == "logits":
        return Candidate(name, model, about, names)
    return Candidate(name, models.LogProbabilities(model), {**about, "outputs": "probabilities, as logarithms"}, names)


class _Made(NamedTuple):
    """A model, and whether it brought an input layer of ours, which is left alone."""

    model: Standardized
    complete: bool


def _made(name: str, data: DataSet, how: Making, classes: int) -> _Made:
    channels = data.test.shape[0]
    mean, std = how.mean or data.mean, how.std or data.std
    if not len(mean) == len(std) == channels:
        raise InputError(f"--mean and --std: got {len(mean)} and {len(std)} numbers, expected {channels} of each")
    try:
        ready = find(name) if ":" in name else None
        if isinstance(ready, nn.Module):
            made = Standardized(Standardize(mean, std), ready, classes=classes)
        else:
            made = models.build(
                name, classes=classes, mean=mean, std=std, in_channels=channels, options=how.options, seed=0
            )
    except InputError:
        raise
    except Exception as error:  # a stranger's code may raise anything
        raise InputError(f"{name}: cannot be made ({type(error).__name__}: {_line(error)})") from error
    if not isinstance(unwrapped(made.network), Standardized):
        return _Made(made, complete=False)
    if how.mean is not None or how.std is not None:
        warn(f"{name}: --mean and --std are not used: the model standardizes its images itself")
    if isinstance(made.network, Standardized):
        return _Made(made.network, complete=True)
    made.standardize = Standardize((0.0,) * channels, (1.0,) * channels)
    return _Made(made, complete=True)


def _constants(name: str, path: str, made: _Made, data: DataSet, how: Making) -> dict[str, str]:
    """Give a model the constants that it says itself, where no others are asked for; what reports say about them."""
    own = None if made.complete else own_constants(made.model.network, path, how.options)
    if own is None:
        return {}
    channels, *size = data.test.shape
    if own.usable(channels):
        made.model.standardize = Standardize(how.mean or own.mean, how.std or own.std)
    if how.mean is None or how.std is None:
        tell_constants(name, own, made.model, Constants(data.mean, data.std))
    tell_size(name, own, (size[0], size[1]))
    resizing = {"not followed": f"{own.resizing}: images come as the data set gives them"} if own.resizing else {}
    return {"standardized by": str(Constants.of(made.model)), **resizing}


def predictor(candidate: Candidate, data: DataSet, compute: Compute) -> Predictor:
    """The candidate as a function of images, after a few images have gone through it.

    Raises `InputError` for a model that fails, whose output is not one number for each class, or is probabilities.
    """
    found = Predictor(compute.place(candidate.model), Infer(), compute, data.outputs)
    count = min(LOOK, len(data.test))
    images = next(iter(data.test.batches(torch.arange(count), count, workers=0))).images
    shape = tuple(images.shape[1:])
    try:
        logits = found(images)
    except InputError as error:
        raise InputError(f"{candidate.name}: fails on images of shape {shape}: {error}") from error
    except Exception as error:  # a stranger's model may raise anything
        raise InputError(
            f"{candidate.name}: fails on images of shape {shape} ({type(error).__name__}: {_line(error)})"
        ) from error
    if tuple(logits.shape) != (count, len(data.classes)):
        raise InputError(
            f"{candidate.name}: gives {tuple(logits.shape[1:])} numbers for an image, expected one logit for each of "
            f"the {len(data.classes)} classes of {data.name}"
        )
    if probabilities_sure(logits):
        raise InputError(
            f"{candidate.name}: returns probabilities (rows of at least 0 that sum to 1), expected logits, whose "
            "softmax is taken; say --outputs probabilities"
        )
    return found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def named(candidate: Candidate, name: str | None) -> Candidate:
    """The candidate under the name that the user wants."""
    if name is not None and not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"--name {name!r}: expected letters, digits, '_', '-' and '.': it names a folder")
    return candidate if name is None else replace(candidate, name=name)
