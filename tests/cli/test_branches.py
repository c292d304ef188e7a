"""`elinvar evaluate --branch`: the same run by one branch or a mix, beside what its recipe says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from elinvar import data
from elinvar.cli.main import main
from elinvar.infer import Evaluation, Predictor
from elinvar.metrics import error_rate
from elinvar.precision import Compute, Precision
from elinvar.recipe import Infer, Model
from elinvar.recipes import weak_augment
from elinvar.rng import Seeds
from elinvar.train import Run, fit, trained_model

CPU = Compute.choose(torch.device("cpu"), Precision.FLOAT32)


@pytest.fixture(scope="module")
def digits() -> data.DataSet:
    return data.load("digits", size=8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, digits: data.DataSet) -> Run:
    base = weak_augment(epochs=1, cutout=2)
    made = replace(base, model=Model(name="wrn-10-1"), train=replace(base.train, precision=Precision.FLOAT32))
    out = Run(tmp_path_factory.mktemp("runs") / "weak")
    fit(made, digits, out, seeds=Seeds(0), compute=CPU, origin={"spec": "digits", "size": 8})
    return out


def test_each_rule_is_judged_in_a_folder_of_its_own(
    run: Run, digits: data.DataSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.html"
    command = ["evaluate", str(run.path), "--suites", "clean", "--branch", "aux", "--branch", "main=0.25,aux=0.75"]
    assert main([*command, "--report", str(report)]) == 0
    assert "weak_augment-aux" in capsys.readouterr().out
    assert not run.evaluation_file.exists()
    base = weak_augment(epochs=1, cutout=2)
    made = replace(base, model=Model(name="wrn-10-1"), train=replace(base.train, precision=Precision.FLOAT32))
    rules = {"aux": Infer(branch="aux"), "main0.25-aux0.75": Infer(mix={"main": 0.25, "aux": 0.75})}
    for name, infer in rules.items():
        folder = run.path / "branches" / name
        found = Evaluation.read(folder / "evaluation.json")
        assert found.recipe == f"weak_augment-{name}"
        assert found.about["inference"] == str(infer)
        assert (folder / "report.html").exists()
        predictor = Predictor(trained_model(made, digits, run, CPU), infer, CPU)
        error = 100 * error_rate(*predictor.batches(predictor.everything(digits.test)))
        assert found.clean.error == pytest.approx(error)
    assert all(name in report.read_text() for name in rules)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--branch", "other"], "'other'"),
        (["--branch", "main=0.5,aux=x"], "expected a branch, or shares"),
        (["--branch", "main=0.5"], "add up to 1"),
        (["--branch", "main=0.5,other=0.5"], "'other'"),
    ],
)
def test_a_bad_branch_is_one_clear_line(
    arguments: list[str], text: str, run: Run, capsys: pytest.CaptureFixture[Any]
) -> None:
    assert main(["evaluate", str(run.path), "--suites", "clean", *arguments]) == 2
    line = capsys.readouterr().err
    assert text in line
    assert line.count("\n") == 1


def test_only_runs_have_a_recipe_with_branches(capsys: pytest.CaptureFixture[Any]) -> None:
    command = ["evaluate", "torch.nn:Flatten", "--data", "digits", "--suites", "clean", "--branch", "aux"]
    assert main(command) == 2
    assert "is for runs" in capsys.readouterr().err
