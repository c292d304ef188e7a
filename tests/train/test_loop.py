"""The loop around the step: schedule, log, averaged weights, resuming in the middle of an epoch."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from elinvar import data
from elinvar.precision import Compute, Precision
from elinvar.recipe import Cosine, Model, Recipe
from elinvar.recipes import augmix
from elinvar.rng import Seeds, Source
from elinvar.train import Observer, Report, Run, fit, trained_model
from elinvar.train.checkpoint import complete, read
from elinvar.train.ema import WeightEma

DIGITS = data.subset(data.load("digits"), train=150, test=50)
CPU = Compute.choose(torch.device("cpu"), Precision.FLOAT32)


def small(**train: Any) -> Recipe:
    recipe = augmix(epochs=2)
    return replace(recipe, model=Model(name="wrn-10-1"), train=replace(recipe.train, batch_size=64, **train))


class Stop(Observer):
    """Interrupts a run after some steps, as Ctrl-C does."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.losses: list[float] = []

    def step(self, report: Report) -> None:
        self.losses.append(report.loss)
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def train(recipe: Recipe, out: Path, observer: Observer | None = None, seeds: Seeds | None = None) -> bool:
    return fit(
        recipe, DIGITS, Run(out), seeds=seeds or Seeds(0), compute=CPU, observer=observer, checkpoint_seconds=0.0
    )


def weights(out: Path) -> dict[str, torch.Tensor]:
    found = read(Run(out).checkpoints)
    assert found is not None
    return dict(found.weights)


def test_interrupting_anywhere_and_continuing_changes_no_bit(tmp_path: Path) -> None:
    recipe = small(ema=0.9)
    whole = Stop(after=-1)
    assert train(recipe, tmp_path / "whole", whole)
    for after in (2, 3, 5):
        out, losses = tmp_path / f"stopped-{after}", list[float]()
        finished = False
        while not finished:
            watch = Stop(after)
            try:
                finished = train(recipe, out, watch)
            except KeyboardInterrupt:
                watch.losses.pop()  # the step that was interrupted before its checkpoint is done again
            losses += watch.losses
        assert losses == whole.losses
        ours, theirs = weights(out), weights(tmp_path / "whole")
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert not train(recipe, tmp_path / "whole")


def test_the_log_has_a_line_for_each_epoch(tmp_path: Path) -> None:
    recipe = small(schedule=Cosine(warmup_epochs=1.0))
    train(recipe, tmp_path)
    rows = Run(tmp_path).metrics()
    assert [row["epoch"] for row in rows] == [1, 2]
    assert [row["step"] for row in rows] == [3, 6]
    assert rows[0]["lr"] == pytest.approx(0.1)  # the warm-up ends with the epoch
    assert rows[1]["lr"] < 0.1
    for row in rows:
        assert row["loss"] == pytest.approx(row["cross_entropy(clean)"] + 12 * row["consistency(clean, aug1, aug2)"])
        assert 0 <= row["test_error"] <= 100
    assert len(complete(Run(tmp_path).checkpoints)) == 1
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["data"]["fingerprint"] == DIGITS.fingerprint()
    assert manifest["versions"]["torch"] == torch.__version__
    assert manifest["model"]["parameters"] == 77_850


@pytest.mark.parametrize("source", [Source.INIT, Source.SHUFFLE, Source.AUGMENT])
def test_each_source_of_randomness_matters_by_itself(source: Source, tmp_path: Path) -> None:
    one_epoch = small(epochs=1)
    train(one_epoch, tmp_path / "a")
    train(one_epoch, tmp_path / "b", seeds=Seeds(0, {source: 1}))
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert not torch.equal(a["network.fc.weight"], b["network.fc.weight"])


def test_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    for name in ("a", "b"):
        train(small(epochs=1), tmp_path / name)
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_averaged_weights_are_what_a_run_is_judged_by(tmp_path: Path) -> None:
    recipe = small(ema=0.5)
    train(recipe, tmp_path)
    found = read(Run(tmp_path).checkpoints)
    assert found is not None
    assert found.ema is not None
    judged = trained_model(recipe, DIGITS, Run(tmp_path), CPU).state_dict()
    assert all(torch.equal(judged[key], value) for key, value in found.ema.items())
    assert not torch.equal(found.ema["network.fc.weight"], found.weights["network.fc.weight"])


def test_the_average_follows_its_equation() -> None:
    model = nn.BatchNorm1d(2)
    average = WeightEma(model, 0.9)
    expected = torch.ones(2)
    for step in range(1, 30):
        with torch.no_grad():
            model.weight.add_(step)
        assert model.num_batches_tracked is not None
        model.num_batches_tracked.add_(1)
        average.update(model)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach()
    torch.testing.assert_close(average.state["weight"], expected)
    assert average.state["num_batches_tracked"] == 29
