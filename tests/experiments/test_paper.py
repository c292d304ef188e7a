"""Scale paper on so little data, and for so short, that its code runs and nothing else."""

import math
from dataclasses import replace
from typing import Any

import pytest

from elinvar.check import InputError
from elinvar.data import DataSet, load, subset
from elinvar.experiments import (
    EXPERIMENTS,
    Job,
    Scale,
    adaptive,
    ema,
    experiment,
    few_classes,
    frozen_end,
    normalization_batch,
    output_range,
    population_batch,
    robust_training,
    tasks,
)
from elinvar.recipe import Model

SHORT = tasks.Course(epochs=1, batch=64, lr=0.05, warmup=0)
PLANS: dict[str, tuple[Any, Any]] = {
    "rethinking.figure3": (ema, replace(ema.PAPER, course=SHORT, every=1, population=64)),
    "rethinking.table2": (
        population_batch,
        replace(population_batch.PAPER, course=SHORT, population=64, batches=(2, 32)),
    ),
    "rethinking.figure5": (
        normalization_batch,
        replace(normalization_batch.PAPER, course=SHORT, sizes=(2, 64), population=64),
    ),
    "rethinking.figure6": (
        frozen_end,
        replace(frozen_end.PAPER, course=replace(SHORT, epochs=3), sizes=(2,), population=64),
    ),
    "rethinking.table4": (adaptive, replace(adaptive.PAPER, course=SHORT, examples=20, corruptions=("contrast",))),
    "thesis.table3.1": (
        robust_training,
        replace(
            robust_training.PAPER, epochs=(1, 1), steps=1, long=2, batch=64, judged=20, model=Model(name="wrn-10-1")
        ),
    ),
    "thesis.table4.1": (
        few_classes,
        replace(few_classes.PAPER, steps=1, ghosts=(4,), groups=8, repeat_examples=True),
    ),
    "thesis.figureA.1": (output_range, replace(output_range.PAPER, course=SHORT, sizes=(2, 64))),
}


def tiny(spec: str) -> DataSet:
    """As `load`, a few images of it."""
    return subset(load(spec), train=160, test=60)


def test_every_experiment_with_a_scale_paper_is_here() -> None:
    assert {name for name, of in EXPERIMENTS.items() if of.paper} == set(PLANS)


@pytest.mark.parametrize("name", PLANS)
def test_scale_paper_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, plan = PLANS[name]
    monkeypatch.setattr(module, "PAPER", plan)
    monkeypatch.setattr(module, "of_data", lambda job, network: tasks.of_data(job, "wrn-10-1"), raising=False)
    for reader in (tasks, module):
        monkeypatch.setattr(reader, "load", tiny, raising=False)
    rows = experiment(name).run(Job(scale=Scale.PAPER, seed=0, data="digits"))
    assert rows
    assert all(math.isfinite(value) for row in rows.values() for value in row.values())


def test_batches_larger_than_the_training_set_are_refused() -> None:
    with pytest.raises(InputError, match="batches of 2048 cannot be made of 1297 images"):
        experiment("rethinking.figure3").run(Job(scale=Scale.PAPER, seed=0, data="digits"))
