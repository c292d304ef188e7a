"""`elinvar tune`: chosen on held-out images, written as a run, or not at all."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from elinvar import config, norm
from elinvar.augment import RandAugment
from elinvar.check import InputError
from elinvar.cli import tuned
from elinvar.cli.gain import Gain, same
from elinvar.cli.main import main
from elinvar.data import DataSet, hold_out, load, subset
from elinvar.infer import Evaluation
from elinvar.norm import Remembered
from elinvar.norm.tuning.losses import loss_of
from elinvar.objectives import CrossEntropy
from elinvar.precision import Compute, Precision
from elinvar.recipe import Infer, Model, Recipe, ViewSpec
from elinvar.recipes import standard
from elinvar.rng import Seeds
from elinvar.train import Run, checkpoint, fit
from elinvar.train.loop import trained_model

CPU = Compute.choose(torch.device("cpu"), Precision.FLOAT32)
ORIGIN = {"spec": "digits", "size": 8}


def recipe(**settings: Any) -> Recipe:
    """Few steps, so that the memory has not caught up with the weights."""
    base = standard(epochs=2)
    train = replace(base.train, shared=(), batch_size=100, precision=Precision.FLOAT32, **settings)
    return replace(base, model=Model(name="wrn-10-1"), train=train)


@pytest.fixture(scope="module")
def data() -> DataSet:
    return load("digits", size=8)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, data: DataSet) -> Path:
    """A run that was trained on the first 900 of 1,297 images."""
    out = tmp_path_factory.mktemp("runs") / "part"
    part = subset(data, train=900)
    assert fit(recipe(), part, Run(out), seeds=Seeds(3), compute=CPU, origin=ORIGIN)
    return out


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_tuned_run_is_a_run_that_can_be_judged(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, out = files(source), tmp_path / "tuned"
    command = ["tune", str(source), "--precise", "500", "--metric", "negative_log_likelihood", "--out", str(out)]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert files(source) == before
    assert found["written"] == str(out)
    assert found["statistics"] == "precise"
    assert found["after"]["nll"] < found["before"]["nll"]
    assert found["gain"] == pytest.approx(found["before"]["nll"] - found["after"]["nll"], rel=1e-3)
    assert found["held_out"] == {"examples": 397, "about": found["held_out"]["about"], "trained_on": False}
    assert {name: len(curve["points"]) for name, curve in found["curves"].items()} == {"as trained": 11, "precise": 11}

    run = Run(out)
    assert config.load(run.recipe_file).name == "standard-tuned"
    manifest = run.manifest()
    assert manifest["tuned"]["before"] == found["before"]
    assert {**manifest, "tuned": None} == {**Run(source).manifest(), "tuned": None}
    assert run.metrics() == Run(source).metrics()
    assert not list(out.rglob("*.tmp"))

    assert main(["evaluate", str(source), str(out), "--suites", "clean"]) == 0
    judged = [Evaluation.read(folder / "evaluation.json") for folder in (source, out)]
    assert judged[1].clean.nll < judged[0].clean.nll
    assert judged[1].recipe == "standard-tuned"
    for path in (source / "evaluation.json", source / "report.html", source / "predictions.safetensors"):
        path.unlink()
    assert (
        main(["train", str(run.recipe_file), "--data", "digits", "--size", "8", "--out", str(out)]) == 2
    )  # other data
    capsys.readouterr()


def test_the_alpha_that_is_written_is_the_one_that_was_found(
    source: Path, tmp_path: Path, data: DataSet, capsys: pytest.CaptureFixture[str]
) -> None:
    """A memory that knows nothing is worse than the image itself."""
    source, out = Path(shutil.copytree(source, tmp_path / "run")), tmp_path / "tuned"
    (weights,) = source.rglob("weights.safetensors")
    blank = load_file(weights)
    for key, value in blank.items():
        if "running" in key:
            value.fill_(float(key.endswith("running_var")))
    save_file(blank, weights)
    assert main(["tune", str(source), "--alphas", "0.3,0.6", "--out", str(out), "--json", "--examples", "200"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(point["alpha"] for point in found["curves"]["as trained"]["points"]) == [0.0, 0.3, 0.6]
    assert found["held_out"]["examples"] == 200
    assert found["alpha"] > 0
    made = config.load(Run(out).recipe_file)
    assert made.train.norm.inference == norm.ExampleWeighted(found["alpha"])
    model = trained_model(made, data, Run(out), CPU)
    held = tuned.held_out(Run(source), data, 200, Seeds(3))
    images, targets = next(iter(held.batches(torch.device("cpu"))))
    with torch.no_grad():
        wrong = model.eval()(images).argmax(1) != targets
    assert 100 * float(wrong.double().mean()) == pytest.approx(found["after"]["error"])


def test_held_out_images_are_not_those_of_training_or_test(source: Path, data: DataSet) -> None:
    held = tuned.held_out(Run(source), data, 5000, Seeds(3))
    assert held.fresh
    assert (len(held.split), len(held.train)) == (397, 900)
    used = subset(data, train=900)
    assert held.train.fingerprint() == used.train.fingerprint()
    known = {image.numpy().tobytes() for split in (held.train, data.test) for image in _images(split)}
    twins = {image.numpy().tobytes() for image in _images(data.train)} & {
        image.numpy().tobytes() for image in _images(data.test)
    }
    assert not twins  # or this test could not tell
    assert not known & {image.numpy().tobytes() for image in _images(held.split)}
    some = tuned.held_out(Run(source), data, 50, Seeds(3))
    assert some.split.targets.bincount().tolist() == pytest.approx([5] * 10, abs=1)
    other = tuned.held_out(Run(source), data, 50, Seeds(4))
    assert some.split.fingerprint() != other.split.fingerprint()


def _images(split: Any) -> torch.Tensor:
    (batch,) = split.batches(torch.arange(len(split)), len(split))
    images: torch.Tensor = batch.images
    return images


def test_a_run_that_has_seen_everything_is_told_so(
    tmp_path: Path, data: DataSet, capsys: pytest.CaptureFixture[str]
) -> None:
    out, small = tmp_path / "whole", subset(data, test=100)
    fit(recipe(), data, Run(out), seeds=Seeds(0), compute=CPU, origin=ORIGIN)
    assert main(["tune", str(out), "--examples", "300", "--alphas", "0.2"]) == 0
    told = capsys.readouterr().out
    assert "300 of the 1,297 images that the run was trained on" in told
    assert "the run has seen them" in told
    assert "alpha" in told
    with pytest.raises(InputError, match="other images"):
        tuned.held_out(Run(out), small, 10, Seeds(0))


def test_where_nothing_is_better_nothing_is_written(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tuned"
    command = ["tune", str(source), "--alphas", "1", "--metric", "negative_log_likelihood", "--out", str(out)]
    assert main(command) == 0
    assert "nothing was written" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] is None
    assert not out.exists()


def test_the_branch_that_predicts_is_measured_on_its_own_views(tmp_path: Path, data: DataSet) -> None:
    names = ("main", "aux")
    views = tuple(ViewSpec(name=name, branch=name) for name in names)
    made = recipe(views=views, norm=norm.split(names), objective=CrossEntropy(over=names), ema=0.9)
    run = Run(tmp_path / "split")
    fit(made, data, run, seeds=Seeds(0), compute=CPU, origin=ORIGIN)
    model = trained_model(made, data, run, CPU)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = tuned.finished(run, made)
    assert state.ema is not None
    assert all(torch.equal(value, state.ema[key]) for key, value in before.items())
    images = list(tuned.training_views(made, "main", model, data.train, 250, Seeds(0), CPU))
    assert [len(part) for part in images] == [100, 100, 50]
    assert all(part.is_floating_point() for part in images)
    tuned.measure(model, "main", iter(images), made, CPU)
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert moved
    assert all(key.endswith(("running_mean", "running_var")) and "branches" not in key for key in moved)
    out = tmp_path / "tuned"
    best = norm.Point(0.0, 0.0, 0.0, 0.0, 0.0, alpha=0.0, weights={"main": 1.0, "aux": 0.0})
    tuned.write_run(out, run, made, model, best, state, {})
    written = load_file(next(out.rglob("weights.safetensors")))
    assert all(torch.equal(value, written[key]) for key, value in model.state_dict().items())
    again = config.load(Run(out).recipe_file)
    assert again.train.norm.inference == Remembered()
    assert not list(out.rglob("ema.safetensors"))


def split_recipe(**settings: Any) -> Recipe:
    names = ("main", "aux")
    views = (ViewSpec(name="main"), ViewSpec(name="aux", transforms=(RandAugment(2, 20),), branch="aux"))
    return recipe(views=views, norm=norm.split(names), objective=CrossEntropy(over=names), **settings)


def test_branches_are_mixed_by_what_was_held_out(
    tmp_path: Path, data: DataSet, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run that is written predicts as the mix that was found, and `evaluate` finds its error."""
    made, source, out = split_recipe(held_out=300), Run(tmp_path / "split"), tmp_path / "mixed"
    fit(made, data, source, seeds=Seeds(0), compute=CPU, origin=ORIGIN)
    command = ["tune", str(source.path), "--mix", "--alphas", "0.1", "--metric", "negative_log_likelihood"]
    assert main([*command, "--precise", "400", "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["held_out"] == {"examples": 300, "about": found["held_out"]["about"], "trained_on": False}
    assert {name: len(curve["points"]) for name, curve in found["curves"].items()} == {"as trained": 22, "precise": 22}
    shares = {name: share for name, share in found["branches"].items() if share}
    again = config.load(Run(out).recipe_file)
    assert again.infer == (Infer(mix=shares) if len(shares) > 1 else Infer(branch=next(iter(shares))))
    model = trained_model(again, data, Run(out), CPU)
    _, held = hold_out(data.train, 300)
    assert held is not None
    (batch,) = held.batches(torch.arange(300), 300)
    with torch.no_grad():
        logits = norm.Mixture(model.eval(), found["branches"])(batch.images)
    nll = torch.nn.functional.cross_entropy(logits, batch.targets)
    assert float(nll) == pytest.approx(found["after"]["nll"], rel=1e-5)
    assert main(["tune", str(source.path), "--mix", "--alphas", "0.1", "--out", str(tmp_path / "other")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "0.5 main + 0.5 aux" in told
    assert "Of each mix the best alpha is shown" in told
    if len(shares) > 1:
        assert main(["tune", str(out)]) == 2
        assert "mixes branches already" in capsys.readouterr().err


def test_one_branch_is_no_mix(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", str(source), "--mix", "--out", str(tmp_path / "out")]) == 2
    assert "expected at least two" in capsys.readouterr().err


def test_a_disk_that_refuses_leaves_nothing(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise InputError("cannot write: no space left")

    monkeypatch.setattr(checkpoint, "save", full)
    out = tmp_path / "tuned"
    command = ["tune", str(source), "--precise", "500", "--metric", "negative_log_likelihood", "--out", str(out)]
    assert main(command) == 2
    assert "no space" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--alphas", "0.1,b"], "expected numbers"),
        (["--alphas", ","], "expected numbers"),
        (["--alphas", "2"], "[0, 1]"),
        (["--metric", "accuracy"], "unknown metric"),
        (["--precise", "1"], "at least 2"),
        (["--examples", "0"], "at least 1"),
        (["--device", "cuda:77"], "cuda:77"),
    ],
    ids=" ".join,
)
def test_bad_input(
    arguments: list[str], text: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", str(source), *arguments, "--out", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert text in line
    assert line.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_images_of_another_size_are_refused(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a size, images have that of the run; a run whose manifest names another was not trained on these."""
    run = tmp_path / "run"
    shutil.copytree(source, run)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["origin"]["size"] += 4
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert main(["tune", str(run), "--data", "digits", "--out", str(tmp_path / "out")]) == 2
    assert "other images" in capsys.readouterr().err


def test_places_that_are_taken_and_runs_that_are_not_there(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", str(source), "--out", str(source)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["tune", str(tmp_path)]) == 2
    assert "no run here" in capsys.readouterr().err
    half = tmp_path / "half"
    shutil.copytree(source, half)
    (place,) = (half / "checkpoint").iterdir()
    progress = json.loads((place / "progress.json").read_text())
    (place / "progress.json").write_text(json.dumps({**progress, "epoch": 1}))
    assert main(["tune", str(half)]) == 2
    assert "after 1 of 2 epochs" in capsys.readouterr().err
    shutil.rmtree(half / "checkpoint")
    assert main(["tune", str(half)]) == 2
    assert "nothing was trained" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ['{"origin": {"spec": "digits", "size": 8}}', '{"seeds": {}, "data": 3}', "[]", "{"]
)
def test_a_strange_manifest_is_one_clear_line(
    content: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(source, tmp_path / "run"))
    (run / "manifest.json").write_text(content)
    assert main(["tune", str(run)]) == 2
    line = capsys.readouterr().err
    assert str(run) in line
    assert line.count("\n") == 1


def test_a_view_of_the_branch_that_predicts_is_needed(data: DataSet) -> None:
    made = recipe(
        views=(ViewSpec(name="clean", branch="aux"),), norm=norm.split(), objective=CrossEntropy(over=("clean",))
    )
    with pytest.raises(InputError, match="no view"):
        next(tuned.training_views(made, "main", torch.nn.Identity(), data.train, 10, Seeds(0), CPU))


def test_what_its_own_interval_does_not_support_leaves_the_run_alone(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lowest error of all gains less than two standard errors: no star, nothing written, and it says so.

    Tried besides: the same for JSON; a supported gain; a model in memory by `norm.tune`; one image; images that chose
    nothing, which agree or not; a written run that is not what was measured; an estimate of the search that is off.
    """
    out = tmp_path / "tuned"
    command = ["tune", str(source), "--alphas", "0.05,0.1", "--precise", "500", "--out", str(out)]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["alpha"] > 0  # the lowest mean is another than that of the run
    assert 0 < found["gain"] <= 1.96 * found["gain_error"]
    assert found["interval"][0] <= 0 < found["interval"][1]
    assert not found["supported"]
    assert found["after"] is found["written"] is found["measured_again"] is None
    assert not out.exists()
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "*" not in said
    assert "lowest" in said
    assert "the interval does not lie above 0: the run stays as it is; nothing was written" in said
    assert "which the run was not trained on" in said


def test_every_candidate_shows_its_calibration_beside_its_error(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["tune", str(source), "--alphas", "0.1", "--metric", "negative_log_likelihood", "--precise", "500"]
    assert main([*command, "--examples", "200", "--out", str(tmp_path / "a"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    first = found["curves"]["as trained"]["points"][0]
    assert 100 * first["beside"]["error"] == pytest.approx(found["before"]["error"])
    assert set(first["beside"]) == {"error", "overconfidence"}
    assert found["supported"]
    assert found["measured_again"]["nll"] == pytest.approx(found["after"]["nll"], rel=1e-6)
    assert found["others"]["before"]["n"] == 197
    assert found["others"]["gain"] == pytest.approx(found["others"]["before"]["nll"] - found["others"]["after"]["nll"])
    assert main([*command, "--examples", "200", "--out", str(tmp_path / "b")]) == 0
    said = capsys.readouterr().out
    assert "* chosen" in said
    assert "conf. - acc., %" in said
    assert "on 197 other images of the same kind, which chose nothing" in said
    assert "the gain there is as promised, within chance" in said
    assert "as written and read again: error" in said


def test_a_written_run_that_is_not_what_was_measured_is_told(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = tuned.write_run

    def spoiled(out: Path, *rest: Any) -> None:
        write(out, *rest)
        (weights,) = out.rglob("weights.safetensors")
        save_file({key: value * 0 if "fc" in key else value for key, value in load_file(weights).items()}, weights)

    monkeypatch.setattr("elinvar.cli.tune.write_run", spoiled)
    command = ["tune", str(source), "--alphas", "0.1", "--metric", "negative_log_likelihood", "--precise", "500"]
    assert main([*command, "--out", str(tmp_path / "a")]) == 0
    assert "the run that was written DIFFERS from what was found" in capsys.readouterr().out


def test_gains_on_other_images_agree_within_the_chance_of_both() -> None:
    draws = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 3, (400,), generator=draws)
    before = torch.randn(400, 3, generator=draws)
    better = before + 2 * torch.nn.functional.one_hot(targets, 3)
    loss = loss_of("error")
    gain, none = (
        Gain.of((before, targets), (better, targets), loss),
        Gain.of((before, targets), (before, targets), loss),
    )
    assert gain.supported
    assert not none.supported
    assert none.interval == (0.0, 0.0)
    assert gain.agrees(gain)
    assert not gain.agrees(none)
    assert gain.mean == pytest.approx((gain.before.error - gain.after.error) / 100)
    assert not Gain.of((before[:1], targets[:1]), (better[:1], targets[:1]), loss).supported  # of one image
    assert same(gain.before, none.after)
    assert not same(gain.before, gain.after)
