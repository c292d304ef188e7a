"""What is held out is never trained on; by it a run chooses a branch, and is judged by that one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from elinvar import config, data, metrics, norm
from elinvar.augment import RandAugment
from elinvar.check import InputError
from elinvar.data import DataSet, hold_out
from elinvar.infer import Predictor
from elinvar.objectives import CrossEntropy
from elinvar.precision import Compute, Precision
from elinvar.recipe import Infer, Model, Recipe, Train, ViewSpec
from elinvar.rng import Seeds
from elinvar.train import Run, chosen, evaluate, fit, trained_model
from elinvar.train.choice import choose
from elinvar.views import Batch
from interrupted import Stop

CPU = Compute.choose(torch.device("cpu"), Precision.FLOAT32)
NAMES = ("strong", "weak", "weaker")


def branched(**train: Any) -> Recipe:
    """Three branches, of which the first sees little but noise."""
    policies = (RandAugment(9, 30), RandAugment(2, 5), RandAugment(1, 1))
    views = tuple(ViewSpec(name=n, transforms=(p,), branch=n) for n, p in zip(NAMES, policies, strict=True))
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 100, "held_out": 200, **train}
    made = Train(objective=CrossEntropy(over=NAMES), views=views, norm=norm.split(NAMES), **settings)
    return Recipe(name="branched", model=Model(name="wrn-10-1"), train=made, infer=Infer(best_of=NAMES))


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return data.subset(data.load("digits", size=8), train=700, test=200)


@pytest.fixture(scope="module")
def run(digits: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = Run(tmp_path_factory.mktemp("runs") / "branched")
    fit(branched(), digits, out, seeds=Seeds(0), compute=CPU)
    return out


def test_what_is_held_out_is_the_rest(digits: DataSet) -> None:
    train, held = hold_out(digits.train, 200)
    assert held is not None
    assert held.targets.bincount().tolist() == pytest.approx([20] * 10, abs=1)

    def pixels(split: data.Split) -> list[bytes]:
        (batch,) = split.batches(torch.arange(len(split)), len(split))
        return [image.numpy().tobytes() for image in batch.images]

    assert sorted(pixels(train) + pixels(held)) == sorted(pixels(digits.train))
    assert hold_out(digits.train, 0) == (digits.train, None)
    for count in (700, -1):
        with pytest.raises(InputError, match="expected 0 to 699"):
            hold_out(digits.train, count)


def test_training_never_sees_what_is_held_out(digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, held = hold_out(digits.train, 200)
    assert held is not None
    (batch,) = held.batches(torch.arange(200), 200)
    kept = {image.numpy().tobytes() for image in batch.images}
    seen, prepare = set[bytes](), Train.prepare

    def watched(self: Train, batch: Batch, context: Any) -> Any:
        seen.update(image.numpy().tobytes() for image in batch.images)
        return prepare(self, batch, context)

    monkeypatch.setattr(Train, "prepare", watched)
    fit(branched(epochs=1), digits, Run(tmp_path), seeds=Seeds(0), compute=CPU)
    assert len(seen) == 500
    assert not seen & kept


def test_the_branch_with_the_smallest_error_on_held_out_examples_is_judged(run: Run, digits: DataSet) -> None:
    made, last = branched(), run.metrics()[-1]
    _, held = hold_out(digits.train, 200)
    assert held is not None
    model = trained_model(made, digits, run, CPU)
    errors, test_errors = {}, {}
    for name in NAMES:
        predictor = Predictor(model, Infer(branch=name), CPU)
        errors[name] = 100 * metrics.error_rate(*predictor.batches(predictor.everything(held)))
        test_errors[name] = 100 * metrics.error_rate(*predictor.batches(predictor.everything(digits.test)))
    assert {name: last[f"held_out_error({name})"] for name in NAMES} == errors
    best = min(NAMES, key=errors.__getitem__)
    assert best != "strong"
    assert chosen(made.infer, run) == Infer(branch=best)
    assert last["test_error"] == test_errors[best]
    found = evaluate(run, made, digits, CPU, suites=["clean"])
    assert found.clean.error == pytest.approx(test_errors[best])
    assert found.about["inference"] == f"branch {best}, the best of {', '.join(NAMES)} by 200 held-out examples"


def test_of_equals_the_first_is_taken() -> None:
    row = {f"held_out_error({name})": error for name, error in zip(NAMES, (5.0, 4.0, 4.0), strict=True)}
    assert choose(Infer(best_of=NAMES), row) == Infer(branch="weak")
    assert choose(Infer(branch="weaker"), {}) == Infer(branch="weaker")


def test_an_interrupted_run_chooses_alike_and_not_before_it_looked(run: Run, digits: DataSet, tmp_path: Path) -> None:
    cut = Run(tmp_path / "cut")
    for after, told in ((3, False), (4, True)):
        with pytest.raises(KeyboardInterrupt):
            fit(branched(), digits, cut, seeds=Seeds(0), compute=CPU, observer=Stop(after), checkpoint_seconds=0.0)
        if told:
            assert chosen(branched().infer, cut).branch in NAMES
        else:
            with pytest.raises(InputError, match="no errors on held-out examples yet"):
                evaluate(cut, branched(), digits, CPU, suites=["clean"])
    fit(branched(), digits, cut, seeds=Seeds(0), compute=CPU)
    rows = [[{key: row[key] for key in row if key != "seconds"} for row in one.metrics()] for one in (run, cut)]
    assert rows[0] == rows[1]
    assert chosen(branched().infer, cut) == chosen(branched().infer, run)


def test_without_a_choice_what_is_held_out_is_judged_as_the_test_set_is(digits: DataSet, tmp_path: Path) -> None:
    made = replace(branched(epochs=1), infer=Infer(mix={"weak": 0.5, "weaker": 0.5}))
    fit(made, digits, Run(tmp_path), seeds=Seeds(0), compute=CPU)
    (row,) = Run(tmp_path).metrics()
    assert 0 <= row["held_out_error"] <= 100
    assert json.loads(json.dumps(row)) == row
    found = evaluate(Run(tmp_path), made, digits, CPU, suites=["clean"])
    assert found.clean.error == pytest.approx(row["test_error"])
    assert found.about["inference"] == "0.5 weak + 0.5 weaker (probabilities)"


def test_a_mix_predicts_the_mean_of_its_branches(run: Run, digits: DataSet) -> None:
    model = trained_model(branched(), digits, run, CPU)
    (batch,) = digits.test.batches(torch.arange(200), 200)
    one, two = (Predictor(model, Infer(branch=name), CPU)(batch.images) for name in ("strong", "weak"))
    mix = {"strong": 0.25, "weak": 0.75}
    found = Predictor(model, Infer(mix=mix), CPU)(batch.images)
    torch.testing.assert_close(found.softmax(1), 0.25 * one.softmax(1) + 0.75 * two.softmax(1))
    logits = Predictor(model, Infer(mix=mix, combine="logits"), CPU)(batch.images)
    torch.testing.assert_close(logits, 0.25 * one + 0.75 * two)
    assert Predictor(model, Infer(mix={"weak": 1.0}), CPU)(batch.images).equal(two)


@pytest.mark.parametrize(
    ("assignments", "text"),
    [
        (["train.held_out=0"], "held_out is 0"),
        (["train.held_out=-1"], "held_out"),
        (["infer.best_of=[weak,weak]"], "distinct"),
        (["infer.best_of=[weak,other]"], "'other'"),
        (["infer.mix={weak: 1.0}"], "both mix and best_of"),
        (["infer.best_of=[]", "infer.mix={weak: 0.5}"], "add up to 1"),
        (["infer.best_of=[]", "infer.mix={weak: 0.5, other: 0.5}"], "'other'"),
        (["infer.combine=votes"], "combine"),
        (["infer.best_of=[]"], "'main'"),
        (["train.clip_gradient=0"], "clip_gradient"),
    ],
)
def test_a_bad_choice_is_one_clear_line(assignments: list[str], text: str) -> None:
    with pytest.raises(InputError, match=text) as caught:
        config.override(branched(), assignments)
    assert "\n" not in str(caught.value)


def test_a_branch_that_is_still_to_be_chosen_predicts_nothing() -> None:
    with pytest.raises(InputError, match="still to be chosen"):
        Predictor(torch.nn.Identity(), Infer(best_of=NAMES), CPU)


def test_a_gradient_that_is_too_long_is_shortened(digits: DataSet, tmp_path: Path) -> None:
    """Without momentum and decay a step moves the weights by lr times the gradient: here by lr times 0.5."""
    from elinvar.recipe import Sgd
    from elinvar.train import Step, build_model

    sgd = Sgd(lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0)
    moved = {}
    for clip in (None, 0.5, 1e6):
        made = branched(clip_gradient=clip, optimizer=sgd)
        model = build_model(made, digits, Seeds(0))
        before = [p.detach().clone() for p in model.parameters()]
        step = Step(model, made.train, sgd.build(model), Seeds(0), CPU)
        batch = next(iter(digits.train.batches(torch.arange(32), 32)))
        report = step(batch, epoch=0, number=0)
        assert report.gradient_norm > 0.5
        after = [p.detach() for p in model.parameters()]
        moved[clip] = torch.cat([(b - a).flatten() for a, b in zip(before, after, strict=True)])
    assert float(moved[0.5].norm()) == pytest.approx(0.05, rel=1e-3)
    torch.testing.assert_close(moved[0.5] / moved[0.5].norm(), moved[None] / moved[None].norm(), atol=1e-5, rtol=1e-3)
    assert moved[1e6].equal(moved[None])
