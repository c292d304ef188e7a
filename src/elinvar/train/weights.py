"""Weights from files: which of the tensors in a file are those of a model, whatever the script that saved them did.

Scripts nest a state dict under a key ("state_dict", "net", "model_ema"), wrappers put a prefix before every name
("module.", "_orig_mod.", "model."), and both may happen at once. A file is read as one table of dotted paths. A place
in it holds the model if every name of the model stands below, in its shape, and no other name does. So a network whose
own child is called `module` keeps its names, and a file with two fitting places is refused until one is named.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..check import InputError, warn
from ..models.standardize import Standardized

COMPILED = "_orig_mod."  # torch.compile puts it anywhere in a name
COUNTS = "num_batches_tracked"  # old files lack it, and torch fills it in
NO_WEIGHTS = ("optim", "sched", "scaler", "rng")  # parts of keys whose tensors are none of a model
EXTRA = "_extra_state"
WRAPPER = "module."  # of DataParallel and AveragedModel
CONSTANTS = ("standardize.mean", "standardize.std")

Table = dict[str, Any]


def read_torch(path: Path) -> Any:
    """What a torch file holds, if that is only tensors and numbers; raises `InputError` and runs nothing otherwise."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle dialects, on the way to the error below
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise InputError(
            f"{path}: holds more than tensors and numbers, and refusing to run what it holds; "
            "ask for a safetensors file, or save it again with torch.save(model.state_dict())"
        ) from error
    except Exception as error:  # damaged pickles fail in every way there is
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error


def read_file(path: Path) -> Any:
    """What a safetensors file or a torch file holds; raises `InputError` naming the file."""
    return read_safetensors(path) if path.suffix == ".safetensors" else read_torch(path)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, as they are; raises `InputError` naming the file."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read as weights ({' '.join(str(error).split())})") from error


def read_weights(path: Path, model: nn.Module | None = None, *, key: str | None = None) -> dict[str, Tensor]:
    """Tensors by name from a safetensors file, or from a torch file that holds nothing but tensors and numbers.

    model   whose weights are looked for: names and shapes tell which part of the file they are. None: the file holds
            one state dict, by itself or under one key
    key     which part of the file, where several hold the model: "model_ema", or "state_dict.student" for nested ones

    Entries that are no tensors (an accuracy, an epoch) and optimizers are passed over. Weights of the network alone fit
    a `models.Standardized` too; what comes back then lacks the constants of its input layer.

    Raises `InputError` naming the file if it is missing, damaged, or a pickle that wants to run code; if nothing in it
    is a state dict; and, with the keys of the file, if no part or more than one holds the model. Warns of further
    tensors beside the model's, which are not used.
    """
    raw = read_file(path)
    if not isinstance(raw, Mapping):
        raise InputError(f"{path}: expected a state dict of tensors, got a {type(raw).__name__}")
    table = dict(_flat(raw))
    if not table:
        raise InputError(f"{path}: expected a state dict of tensors, found none; {_keys(raw)}")
    if key is not None and not any(name.startswith(f"{key}.") for name in table):
        near = get_close_matches(key, _places(table), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"{path}: holds no weights under {key!r}; {hint}{_keys(raw)}")
    file = _File(path, raw, table, f"{key}." if key else "")
    if model is None:
        return file.only(file.below)
    if isinstance(model, Standardized) and not file.places(model):
        return {f"network.{name}": value for name, value in file.of(model.network).items()}
    return file.of(model)


@dataclass(frozen=True)
class _File:
    """What a file holds.

    raw     as it was read
    table   its tensors by dotted path
    below   the place that is asked for
    """

    path: Path
    raw: Mapping[Any, Any]
    table: Table
    below: str

    def places(self, model: nn.Module) -> list[str]:
        """Where the model fits, the outermost first."""
        wanted = _wanted(model)
        return [
            place
            for place in _candidates(self.table, wanted)
            if place.startswith(self.below) and _fits(self.table, place, wanted)
        ]

    def of(self, model: nn.Module) -> dict[str, Tensor]:
        """The model's weights, by its own names."""
        wanted, found = _wanted(model), self.places(model)
        if not found:
            nearest = _below(self.table, _nearest(self.table, self.below, wanted))
            if _translates(model) and wanted.keys() & nearest.keys():
                return nearest
            raise _misfit(self.path, self.raw, nearest, wanted)
        state = _below(self.table, found[0])
        if others := [place for place in found[1:] if not _same(state, _below(self.table, place))]:
            names = [place.removesuffix(".") or "(the file itself)" for place in (found[0], *others)]
            raise InputError(
                f"{self.path}: holds weights of this model under {len(names)} keys, {', '.join(names)}; choose one, as "
                f"in --weights-key {names[-1]}"
            )
        if not self.below:
            self._tell_unused(found, len(wanted))
        names_of = {name.replace(COMPILED, ""): name for name in model.state_dict()}
        return {names_of[name]: value for name, value in state.items() if name in names_of}

    def _tell_unused(self, found: Sequence[str], used: int) -> None:
        """Warn of tensors beside the model's; raises `InputError` if the model may be a part of a larger one."""
        rest = [
            name
            for name, value in self.table.items()
            if not any(name.startswith(place) for place in found)
            and not name.endswith((EXTRA, *CONSTANTS))
            and value.ndim
        ]
        place = found[0].removesuffix(".")
        if len(rest) >= used and not isinstance(_inside(self.raw, place), Mapping):
            raise InputError(
                f"{self.path}: under {place!r} it holds weights of this model as a part of a larger one, with "
                f"{_few(rest)}; if the part is meant, say --weights-key {place}"
            )
        if rest:
            warn(f"{self.path}: {len(rest)} tensors beside {place!r} are not used: {_few(rest)}")

    def only(self, below: str) -> dict[str, Tensor]:
        """The one state dict of a file, of a model that is not known."""
        state = _below(self.table, below)
        first = dict.fromkeys(name.partition(".")[0] for name in state)
        keys = [key for key in first if isinstance(_inside(self.raw, f"{below}{key}"), Mapping)]
        own = {name: value for name, value in state.items() if name.partition(".")[0] not in keys}
        weights = [name for name, value in own.items() if not _scalar(value)]
        if len(keys) > 1 or (keys and weights):
            raise InputError(f"{self.path}: holds several state dicts; {_keys(self.raw)}; name one as `key`")
        if keys:
            return self.only(f"{below}{keys[0]}.")
        if all(name.startswith(WRAPPER) for name in weights):
            return {name.removeprefix(WRAPPER): value for name, value in own.items() if name.startswith(WRAPPER)}
        return own


def _wanted(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a model by name, without the marks of torch.compile."""
    state = model.state_dict()
    return {name.replace(COMPILED, ""): value for name, value in state.items() if isinstance(value, Tensor)}


def _translates(model: nn.Module) -> bool:
    """Whether layers of the model read other names than they write, as those with several branches read plain ones."""
    plain = nn.Module._load_from_state_dict
    return any(
        module._load_state_dict_pre_hooks
        or (type(module)._load_from_state_dict is not plain and not type(module).__module__.startswith("torch."))
        for module in model.modules()
    )


def _flat(raw: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor of nested mappings by its dotted path, without the marks of torch.compile."""
    for name, value in raw.items():
        if not isinstance(name, str):
            continue
        path = f"{prefix}{name}".replace(COMPILED, "")
        if isinstance(value, Tensor) or name.endswith(EXTRA):
            yield path, value
        elif isinstance(value, Mapping) and not any(part in name.lower() for part in NO_WEIGHTS):
            yield from _flat(value, f"{path}.")


def _candidates(table: Table, wanted: Mapping[str, Tensor]) -> list[str]:
    """Places below which a name of the model stands, the outermost first."""
    probe = next((name for name in wanted if not name.endswith(COUNTS)), None)
    if probe is None:
        return [""]
    places = [path.removesuffix(probe) for path in table if path == probe or path.endswith(f".{probe}")]
    return sorted(places, key=len)


def _below(table: Table, place: str) -> Table:
    return {path.removeprefix(place): value for path, value in table.items() if path.startswith(place)}


def _fits(table: Table, place: str, wanted: Mapping[str, Tensor]) -> bool:
    """Whether the tensors below a place are those of the model: none missing, none more, each in its shape."""
    state = _below(table, place)
    if any(name not in state and not name.endswith(COUNTS) for name in wanted):
        return False
    if any(name not in wanted and not _scalar(value) and not name.endswith(EXTRA) for name, value in state.items()):
        return False
    both = ((value, state[name]) for name, value in wanted.items() if name in state)
    return all(is_lazy(value) or value.shape == given.shape for value, given in both)


def _scalar(value: Any) -> bool:
    """Counters that scripts and wrappers keep beside weights, such as `n_averaged`."""
    return isinstance(value, Tensor) and value.ndim == 0 and not value.is_floating_point()


def _same(one: Table, other: Table) -> bool:
    return one.keys() == other.keys() and all(
        isinstance(value, Tensor) and isinstance(other[name], Tensor) and torch.equal(value, other[name])
        for name, value in one.items()
    )


def _inside(raw: Mapping[Any, Any], place: str) -> object:
    found: object = raw
    for part in place.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _nearest(table: Table, below: str, wanted: Mapping[str, Tensor]) -> str:
    """The place that shares most names with the model."""
    places = [below, *_candidates(table, wanted), *(f"{place}." for place in _places(table))]
    inside = [place for place in places if place.startswith(below)]
    return max(inside, key=lambda place: (len(wanted.keys() & _below(table, place).keys()), -len(place)))


def _misfit(path: Path, raw: Mapping[Any, Any], state: Table, wanted: Mapping[str, Tensor]) -> InputError:
    """The error for a file none of whose places is the model's, by the place that comes nearest."""
    missing = [name for name in wanted if name not in state and not name.endswith(COUNTS)]
    more = [name for name, value in state.items() if name not in wanted and not _scalar(value)]
    shapes = [
        f"{name} is {tuple(state[name].shape)}, not {tuple(value.shape)}"
        for name, value in wanted.items()
        if not is_lazy(value) and isinstance(state.get(name), Tensor) and state[name].shape != value.shape
    ]
    faults = [f"it lacks {_few(missing)}"] if missing else []
    faults += [f"the model does not know its {_few(more)}"] if more else []
    faults += [_few(shapes)] if shapes else []
    return InputError(f"{path}: weights of another architecture ({'; '.join(faults)}); {_keys(raw)}")


def _places(table: Table) -> list[str]:
    """First and second level of the paths: what a key may name."""
    found: dict[str, None] = {}
    for name in table:
        parts = name.split(".")[:-1]
        found |= dict.fromkeys(".".join(parts[:depth]) for depth in range(1, min(len(parts), 3) + 1))
    return list(found)


def _keys(raw: Mapping[Any, Any]) -> str:
    """The keys of a file, in words."""
    named = [f"{name} ({_kind(value)})" for name, value in raw.items()]
    return f"the file holds {_few(named, 8)}" if named else "the file is empty"


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return "x".join(map(str, value.shape)) or "a number"
    return f"{len(value)} entries" if isinstance(value, Mapping | list | tuple) else type(value).__name__


def _few(names: list[str], count: int = 3) -> str:
    shown = ", ".join(names[:count])
    return shown if len(names) <= count else f"{shown} and {len(names) - count} more"
