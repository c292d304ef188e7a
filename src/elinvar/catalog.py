"""Everything there is, by kind and name, collected from the tables that define it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import getdoc

from . import augment, infer, mixing, shift
from .data import DATASETS
from .experiments import EXPERIMENTS
from .models import MODELS
from .recipes import RECIPES


@dataclass(frozen=True)
class Entry:
    """One technique: what kind of thing it is, what people type, and one line about it."""

    kind: str
    name: str
    about: str


def _first_line(thing: object) -> str:
    return (getdoc(thing) or "").split("\n", 1)[0]


def _recipes() -> Iterator[tuple[str, str]]:
    return ((name, _first_line(make)) for name, make in RECIPES.items())


def _models() -> Iterator[tuple[str, str]]:
    yield from ((name, row.source) for name, row in MODELS.items())
    yield "wrn-DEPTH-WIDEN", "any Wide ResNet"
    yield "package.module.attribute", "your own: anything importable that returns an nn.Module"


def _operations() -> Iterator[tuple[str, str]]:
    for name, op in augment.OPS.items():
        overlap = ", overlaps a corruption" if op.corrupts else ""
        yield name, f"{op.kind.value}{overlap}; {op.source}"


KINDS: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
    "recipe": _recipes,
    "model": _models,
    "data": lambda: ((reader.form, reader.about) for reader in DATASETS.values()),
    "policy": lambda: ((name, _first_line(policy)) for name, policy in augment.POLICIES.items()),
    "operation": _operations,
    "mix": lambda: ((name, _first_line(method)) for name, method in mixing.METHODS.items()),
    "corruption": lambda: ((name, row.group.value) for name, row in shift.CORRUPTIONS.items()),
    "suite": lambda: iter(infer.SUITES.items()),
    "experiment": lambda: ((name, row.title) for name, row in EXPERIMENTS.items()),
}


def catalog(kind: str | None = None) -> list[Entry]:
    """All entries, or those of one kind.

    >>> [entry.name for entry in catalog("recipe")][:3]
    ['standard', 'augmix', 'augmix_no_jsd']
    """
    return [Entry(each, *row) for each, rows in KINDS.items() if kind in (None, each) for row in rows()]
