"""`elinvar evaluate --suites attacks`: options, black boxes between the models of one command, report and console."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from elinvar import config
from elinvar.cli.attacking import plan
from elinvar.cli.evaluate import _parser
from elinvar.cli.judging import SetsBar
from elinvar.cli.main import main
from elinvar.cli.progress import bar
from elinvar.infer import AttackPlan, Evaluation

Capture = pytest.CaptureFixture[str]
TINY = [
    "--size", "8", "--set", "model.name=wrn-10-1", "--set", "model.options={}", "--set", "train.epochs=1",
    "--set", "train.batch_size=256",
]  # fmt: skip
FEW = ["--suites", "clean,attacks", "--attack-images", "20"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two recipes of two seeds each."""
    out = tmp_path_factory.mktemp("runs")
    made = []
    for name in ("standard", "label_smoothing"):
        for seed in ("0", "1"):
            made.append(str(out / f"{name}-{seed}"))
            assert main(["train", name, *TINY, "--seed", seed, "--out", made[-1]]) == 0
    return made


def attacked(capsys: Capture, *arguments: str) -> list[dict[str, Any]]:
    assert main(["evaluate", *arguments, *FEW, "--json"]) == 0
    return [row["attacks"] for row in json.loads(capsys.readouterr().out)]


def test_two_recipes_of_two_seeds_meet_each_other(runs: list[str], tmp_path: Path, capsys: Capture) -> None:
    found = attacked(capsys, *runs, "--report", str(tmp_path / "r.html"))
    pairs = [[(row["source"], row["seed"]) for row in of["black_box"]] for of in found]
    everyone = [("standard", 0), ("standard", 1), ("label_smoothing", 0), ("label_smoothing", 1)]
    assert pairs == [[other for other in everyone if other != own] for own in everyone]
    for of, run in zip(found, runs, strict=True):
        written = Evaluation.read(Path(run) / "evaluation.json").attacks
        assert written is not None
        assert json.loads(json.dumps(asdict(written))) == of
        assert "Accuracy on images made for another model" in (Path(run) / "report.html").read_text(encoding="utf-8")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "white box" not in page
    assert 'id="logits"' in page
    before = {file: file.stat().st_mtime_ns for run in runs for file in Path(run, "evaluation").iterdir()}
    assert attacked(capsys, *runs) == found
    assert {file: file.stat().st_mtime_ns for file in before} == before, "nothing is computed again"


def test_one_seed_meets_itself_as_a_white_box(runs: list[str], tmp_path: Path, capsys: Capture) -> None:
    assert main(["evaluate", runs[0], runs[2], *FEW, "--report", str(tmp_path / "r.html")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for text in ("Accuracy under attack, %", "All attacks together", "white box", "20 of 500 test images"):
        assert text in shown
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count(", white box</td>") == 2
    assert "of standard, label_smoothing there is one seed only" in page
    assert "PGD-1000 and SPSA were left out" in page


def test_black_boxes_are_left_out_on_request_and_of_one_model(runs: list[str], capsys: Capture) -> None:
    assert [of["black_box"] for of in attacked(capsys, runs[0], runs[1], "--no-black-box")] == [[], []]
    assert [of["black_box"] for of in attacked(capsys, runs[0])] == [[]]


def test_weights_and_runs_meet_each_other(runs: list[str], tmp_path: Path, capsys: Capture) -> None:
    (place,) = Path(runs[1], "checkpoint").iterdir()
    weights = tmp_path / "w.safetensors"
    weights.write_bytes((place / "weights.safetensors").read_bytes())
    how = ["--model", "wrn-10-1", "--data", "digits", "--size", "8", "--out", str(tmp_path)]
    run, other = attacked(capsys, runs[0], str(weights), *how)
    assert [row["source"] for row in run["black_box"]] == ["w"]
    assert [(row["source"], row["seed"]) for row in other["black_box"]] == [("standard", 0)]


def test_the_seed_of_a_run_given_twice_is_refused_before_black_boxes(runs: list[str], capsys: Capture) -> None:
    assert main(["evaluate", runs[0], runs[0], *FEW]) == 2
    assert "given twice" in capsys.readouterr().err


def asked(*arguments: str) -> AttackPlan | None:
    options = _parser().parse_args(["run", *arguments])
    return plan(options, options.suites.split(","))


def test_options_become_a_plan() -> None:
    suite = ("--suites", "clean,attacks")
    assert asked(*suite) == AttackPlan()
    assert asked() is None
    chosen = asked(
        *suite, "--attack-norm", "l2", "--attack-eps", "0.5", "--attack-step", "1/8", "--attack-images", "all",
        "--attack-thorough", "100",
    )  # fmt: skip
    assert chosen == AttackPlan(norm="l2", eps=0.5, step=0.125, images=None, thorough=100)
    assert asked(*suite, "--attack-eps", "8/255") == AttackPlan(eps=8 / 255)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--attack-eps", "8/255"], "--attack-eps: is for the suite attacks; add it"),
        (["--no-black-box"], "--no-black-box: is for the suite attacks"),
        ([*FEW, "--attack-eps", "eight"], "--attack-eps: got 'eight', expected a number or a fraction"),
        ([*FEW, "--attack-eps", "1/0"], "--attack-eps: got '1/0'"),
        ([*FEW, "--attack-eps", "8"], "for 8 levels of 255 say 8/255"),
        ([*FEW, "--attack-step", "-1/255"], "step"),
        ([*FEW, "--attack-norm", "l1"], "unknown norm of a threat 'l1'"),
        (["--suites", "attacks", "--attack-images", "some"], "--attack-images: got 'some', expected a number"),
        (["--suites", "attacks", "--attack-images", "0"], "images: got 0"),
        ([*FEW, "--attack-thorough", "-1"], "thorough: got -1"),
        (["--suites", "attack"], "did you mean 'attacks'"),
    ],
    ids=str,
)
def test_bad_options_give_one_line(arguments: list[str], text: str, runs: list[str], capsys: Capture) -> None:
    assert main(["evaluate", runs[0], *arguments]) == 2
    line = capsys.readouterr().err
    assert text in line
    assert line.count("\n") == 1


def test_the_bar_moves_within_a_set_and_never_back() -> None:
    with bar(Console(quiet=True)) as progress:
        watch = SetsBar(progress, "a")
        watch.begin(3)
        task, seen = progress.tasks[0], list[float]()
        watch.done("clean")
        seen.append(task.completed)
        for name, done in (("PGD", 5), ("second part", 1)):
            watch.within(name, done, 10)
            seen.append(task.completed)
        watch.done("PGD")
        seen.append(task.completed)
        assert seen == [1, 1.5, 1.5, 2]
        watch.done("SPSA")
        assert not progress.tasks


def test_a_recipe_judged_by_a_mix_is_attacked_as_a_mix(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "run"
    assert main(["train", "weak_augment", *TINY, "--out", str(out)]) == 0
    (main_branch,) = attacked(capsys, str(out))
    recipe = config.override(config.load(out / "recipe.yaml"), ["infer.mix={main: 0.5, aux: 0.5}"])
    (out / "recipe.yaml").write_text(config.dump(recipe), encoding="utf-8")
    (mixed,) = attacked(capsys, str(out))
    assert mixed["results"]["natural"]["logits"] != main_branch["results"]["natural"]["logits"]
