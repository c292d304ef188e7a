"""The table of experiments: one row for each."""

from collections.abc import Mapping
from types import MappingProxyType

from ..check import unknown
from . import (
    adaptive,
    closed_form,
    ema,
    few_classes,
    frozen_end,
    normalization_batch,
    output_range,
    pattern_leak,
    population_batch,
    regions,
    robust_training,
    shared_head,
)
from .experiment import Experiment

_ROWS: tuple[Experiment, ...] = (
    ema.EXPERIMENT,
    population_batch.EXPERIMENT,
    closed_form.EXPERIMENT,
    normalization_batch.EXPERIMENT,
    frozen_end.EXPERIMENT,
    adaptive.EXPERIMENT,
    shared_head.EXPERIMENT,
    regions.EXPERIMENT,
    pattern_leak.EXPERIMENT,
    robust_training.EXPERIMENT,
    few_classes.EXPERIMENT,
    output_range.EXPERIMENT,
)

EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType({row.name: row for row in _ROWS})


def experiment(name: str) -> Experiment:
    """The experiment called `name`; raises `InputError` with the nearest names for any other."""
    if name not in EXPERIMENTS:
        raise unknown("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]
