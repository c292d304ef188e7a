"""An objective that learns: its shares move, nothing decays them, and a run that goes on ends with the same bits."""

from pathlib import Path
from typing import Any

import pytest
import torch

from elinvar import data, norm
from elinvar.augment import RandAugment
from elinvar.objectives import AdaptiveEnsemble, CrossEntropy
from elinvar.precision import Compute, Precision
from elinvar.recipe import Infer, Model, Recipe, Train, ViewSpec
from elinvar.rng import Seeds
from elinvar.train import Run, checkpoint, fit
from interrupted import Stop

NAMES = ("weak", "strong")
COMPUTE = Compute.choose(torch.device("cpu"), Precision.FLOAT32)


def learning() -> Recipe:
    strong = ViewSpec(name="strong", transforms=(RandAugment(3, 25),), branch="strong")
    return Recipe(
        name="learning",
        model=Model(name="wrn-10-1"),
        train=Train(
            objective=CrossEntropy(over=NAMES, weight=2.0) + AdaptiveEnsemble(over=NAMES),
            views=(ViewSpec(name="weak", branch="weak"), strong),
            norm=norm.split(NAMES),
            epochs=1,
            batch_size=256,
        ),
        infer=Infer(branch="weak"),
    )


def test_learns_and_continues_to_the_same_bits(tmp_path: Path) -> None:
    digits = data.load("digits", size=8)
    fit(learning(), digits, Run(tmp_path / "whole"), seeds=Seeds(0), compute=COMPUTE)
    cut: Any = {"seeds": Seeds(0), "compute": COMPUTE, "checkpoint_seconds": 0.0}
    with pytest.raises(KeyboardInterrupt):
        fit(learning(), digits, Run(tmp_path / "cut"), observer=Stop(4), **cut)
    fit(learning(), digits, Run(tmp_path / "cut"), **cut)
    whole, continued = (checkpoint.read(tmp_path / name / "checkpoint") for name in ("whole", "cut"))
    assert whole is not None
    assert continued is not None
    (scores,) = whole.objective.values()
    assert scores.abs().max() > 1e-3  # they start at 0, where the shares are equal
    assert scores.equal(*continued.objective.values())
    assert whole.weights.keys() == continued.weights.keys()
    assert all(value.equal(continued.weights[key]) for key, value in whole.weights.items())
