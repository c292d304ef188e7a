"""`elinvar corrupt`: what people type, and what they get."""

import json
from pathlib import Path

import numpy as np
import pytest

from elinvar import shift
from elinvar.cli.corrupt import chosen
from elinvar.cli.main import main


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    line = capsys.readouterr().err
    assert line.startswith("elinvar: ")
    assert line.count("\n") == 1, line
    return line


def test_a_set_is_written_continued_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["corrupt", "digits", str(tmp_path / "C"), "--corruptions", "fog,brightness", "--severities", "5,1"]
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["corruptions"] == ["fog", "brightness"]
    assert told["severities"] == [1, 5]
    assert set(told["files"]) == {"labels.npy", "fog.npy", "brightness.npy"}
    assert np.load(tmp_path / "C" / "fog.npy").shape == (1000, 32, 32, 3)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "C").glob("*.npy")}
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "2 corruptions x 2 severities, npy layout" in printed.err
    assert printed.out == ""
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_names_subsets_and_their_order() -> None:
    assert chosen("benchmark") == list(shift.CORRUPTIONS)
    assert chosen("extra,snow,fog,fog") == ["snow", "fog", *shift.EXTRA]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--corruptions", "fogg"], "did you mean 'fog'"),
        (["--corruptions", ","], "nothing to write"),
        (["--severities", "0"], "--severities"),
        (["--severities", "1.5"], "--severities"),
        (["--severities", "one"], "expected numbers"),
        (["--split", "val"], "unknown split"),
        (["--layout", "tar"], "unknown layout"),
        (["--frost-dir", "/nowhere"], "frost1"),
        (["--size", "7"], "size"),
    ],
    ids=" ".join,
)
def test_bad_options(more: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert text in complaint(capsys, "corrupt", "digits", str(tmp_path / "C"), *more)
    assert not list(tmp_path.rglob("*.npy"))


def test_another_seed_does_not_go_on_with_the_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["corrupt", "digits", str(tmp_path), "--corruptions", "contrast", "--severities", "1"]
    assert main(command) == 0
    capsys.readouterr()
    assert "other seed" in complaint(capsys, *command, "--seed", "1")
