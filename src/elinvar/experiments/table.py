"""The table of experiments: one row for each."""

from collections.abc import Mapping
from types import MappingProxyType

from ..check import unknown
from .experiment import Experiment

_ROWS: tuple[Experiment, ...] = ()

EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType({row.name: row for row in _ROWS})


def experiment(name: str) -> Experiment:
    """The experiment called `name`; raises `InputError` with the nearest names for any other."""
    if name not in EXPERIMENTS:
        raise unknown("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]
