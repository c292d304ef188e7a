"""`elinvar reproduce`, as people use it."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from elinvar.cli import reproduce
from elinvar.cli.main import main
from elinvar.experiments import EXPERIMENTS
from experiments.samples import EXPERIMENT


def test_without_a_name_it_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in EXPERIMENTS)
    assert main(["reproduce", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(EXPERIMENTS)
    assert main(["list", "experiment"]) == 0
    assert "rethinking.figure8" in capsys.readouterr().out


def test_it_runs_judges_writes_and_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduce, "experiment", lambda name: EXPERIMENT)
    command = ["reproduce", "sample.table1", "--out", str(tmp_path)]
    assert main(command) == 0
    shown = capsys.readouterr()
    for text in ("The effect shows here.", "HOLDS HERE", "High is higher than low.", "elsewhere", "3.25", "11.0 ± 1.0"):
        assert text in shown.out
    assert "seed 1, 2 of 3" in shown.err
    assert {path.name for path in tmp_path.iterdir()} == {
        "seed-0.json", "seed-1.json", "seed-2.json", "findings.json", "findings.csv", "figure.png",
    }  # fmt: skip
    held = json.loads((tmp_path / "findings.json").read_text(encoding="utf-8"))
    assert held["scale"] == "small"
    assert set(held["seeds"]) == {"0", "1", "2"}
    with (tmp_path / "findings.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert {(row["setting"], row["measure"]) for row in rows} == {
        (setting, measure) for setting, row in held["seeds"]["0"].items() for measure in row
    }
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.height > 300

    assert main([*command, "--json"]) == 0  # nothing is left to run
    again = capsys.readouterr()
    assert json.loads(again.out) == held
    assert "seed" not in again.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["rethinking.figur8"], "did you mean 'rethinking.figure8'"),
        (["rethinking.figure8", "--scale", "huge"], "unknown scale 'huge'"),
        (["rethinking.figure8", "--scale", "paper"], "has no scale 'paper'"),
        (["rethinking.figure5", "--scale", "paper"], "needs --data, as cifar10:DIR"),
        (["rethinking.figure5", "--data", "digits"], "brings its own data"),
        (["rethinking.figure5", "--seeds", "0"], "seeds: got 0"),
        (["rethinking.figure5", "--threads", "0"], "--threads: got 0"),
        (["rethinking.figure5", "--scale", "paper", "--data", "nothing"], "unknown data set 'nothing'"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(
    arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["reproduce", *arguments, "--out", str(out)]) == 2
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("elinvar: ")]
    assert len(lines) == 1
    assert complaint in lines[0]
    assert not out.exists()
