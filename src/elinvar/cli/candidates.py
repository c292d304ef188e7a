"""What `elinvar evaluate` can judge besides runs: a file of weights with the name of its model, or anything importable.

Weights are safetensors, or torch files that are read with weights_only=True: no code of theirs ever runs. An import
path runs code, the one that its writer asked for on the command line.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from .. import models
from ..check import InputError
from ..data import DataSet
from ..infer import Predictor
from ..models.imports import find
from ..models.standardize import Standardize, Standardized
from ..precision import Compute
from ..recipe import Infer
from ..train import checkpoint
from .class_names import names_in_file, names_of_model

SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".tar")
# What training scripts, wrappers and compilers put before the name of every tensor.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
INNER = "network."


@dataclass(frozen=True, kw_only=True)
class Making:
    """How a model is made: its name or import path, its options, and the constants that standardize its images."""

    model: str | None
    options: Mapping[str, Any]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None


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
    state = checkpoint.read_weights(path)
    names = names_in_file(path)
    model = _made(how.model, data, how, len(names or data.classes))
    if not any(name.startswith("standardize.") for name in state):  # weights of the network alone
        state = {f"{INNER}{name}": value for name, value in _bare(state, model.network).items()}
        state |= {f"standardize.{name}": value for name, value in model.standardize.state_dict().items()}
    try:
        checkpoint.load_into(model, state, source=path)
    except InputError as error:
        count, whose = len(names or data.classes), "that the file names" if names else f"of {data.name}"
        raise InputError(f"{error}; the model was made for the {count:,} classes {whose}") from error
    with path.open("rb") as file:
        digest = sha256(file.read()).hexdigest()
    return Candidate(path.stem, model, {"model": how.model, "weights": f"{path.name}, SHA-256 {digest}"}, names)


def _bare(state: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
    """`state` without the prefix that every name has and no name of the network has."""
    own = network.state_dict().keys()
    while state and not own & state.keys():
        common = next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in state)), None)
        if common is None:
            break
        state = {name.removeprefix(common): value for name, value in state.items()}
    return state


def from_import(path: str, data: DataSet, how: Making) -> Candidate:
    """What `package.module:name` names: a module, or a class or function that makes one."""
    if how.model is not None:
        raise InputError(f"--model {how.model}: is for files of weights, and {path} is a model itself")
    name = re.sub(r"\W+", "-", path).strip("-")
    model = _made(path, data, how, len(data.classes))
    return Candidate(name, model, {"model": path, "options": dict(how.options)}, names_of_model(model))


def _made(name: str, data: DataSet, how: Making, classes: int) -> Standardized:
    channels = data.test.shape[0]
    mean, std = how.mean or data.mean, how.std or data.std
    if not len(mean) == len(std) == channels:
        raise InputError(f"--mean and --std: got {len(mean)} and {len(std)} numbers, expected {channels} of each")
    try:
        ready = find(name) if ":" in name else None
        if isinstance(ready, nn.Module):
            return Standardized(Standardize(mean, std), ready, classes=classes)
        made = models.build(
            name, classes=classes, mean=mean, std=std, in_channels=channels, options=how.options, seed=0
        )
    except InputError:
        raise
    except Exception as error:  # a stranger's code may raise anything
        raise InputError(f"{name}: cannot be made ({type(error).__name__}: {_line(error)})") from error
    inner = made.network
    return inner if isinstance(inner, Standardized) else made  # what standardizes already is left alone


def predictor(candidate: Candidate, data: DataSet, compute: Compute) -> Predictor:
    """The candidate as a function of images, after one image has gone through it.

    Raises `InputError` for a model that fails, or whose output is not one number for each class.
    """
    found = Predictor(compute.place(candidate.model), Infer(), compute, data.outputs)
    images = next(iter(data.test.batches(torch.arange(1), 1, workers=0))).images
    try:
        logits = found(images)
    except Exception as error:  # a stranger's model may raise anything
        raise InputError(
            f"{candidate.name}: fails on images of shape {tuple(images.shape[1:])} "
            f"({type(error).__name__}: {_line(error)})"
        ) from error
    if tuple(logits.shape) != (1, len(data.classes)):
        raise InputError(
            f"{candidate.name}: gives {tuple(logits.shape[1:])} numbers for an image, expected one logit for each of "
            f"the {len(data.classes)} classes of {data.name}"
        )
    return found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def named(candidate: Candidate, name: str | None) -> Candidate:
    """The candidate under the name that the user wants."""
    if name is not None and not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"--name {name!r}: expected letters, digits, '_', '-' and '.': it names a folder")
    return candidate if name is None else replace(candidate, name=name)
