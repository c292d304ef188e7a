"""The verbs as people use them."""

import json
from pathlib import Path

import pytest

from elinvar.catalog import KINDS
from elinvar.cli.main import VERBS, main


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(f"  {verb} " in text for verb in VERBS)
    assert main(["--version"]) == 0


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_has_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code == 0
    assert f"example: elinvar {verb}" in " ".join(capsys.readouterr().out.split())


def test_the_demo_runs_compares_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["demo", "--seeds", "1", "--epochs", "1", "--out", str(tmp_path), "--json"]
    assert main(command) == 0
    first = json.loads(capsys.readouterr().out)
    assert [row["recipe"] for row in first] == ["standard", "augmix"]
    assert all(row["shift"]["mean"]["error"] > 0 for row in first)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "augmix" in page
    assert "<svg" in page
    assert main(command) == 0  # the second time there is nothing to train or judge
    assert json.loads(capsys.readouterr().out) == first


def test_train_then_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, report = tmp_path / "run", tmp_path / "report.html"
    tiny = ["--set", "model.name=wrn-10-1", "--set", "train.epochs=1", "--set", "train.batch_size=256"]
    assert main(["train", "standard", *tiny, "--seed-of", "shuffle=3", "--out", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trained"] is True
    assert json.loads((run / "manifest.json").read_text())["seeds"] == {"base": 0, "shuffle": 3}
    assert main(["evaluate", str(run), "--suites", "clean", "--report", str(report), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["suites"] == ["clean"]
    assert row["clean"]["n"] == 500
    assert report.exists()
    assert {"evaluation.json", "predictions.safetensors", "report.html"} <= {path.name for path in run.iterdir()}
    # The written recipe trains again, from the file alone.
    again = tmp_path / "again"
    assert main(["train", str(run / "recipe.yaml"), "--seed-of", "shuffle=3", "--out", str(again)]) == 0
    read = [(where / "checkpoint").glob("*/weights.safetensors") for where in (run, again)]
    assert next(read[0]).read_bytes() == next(read[1]).read_bytes()


def test_list_knows_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["kind"] for row in rows} == set(KINDS)
    assert all(row["about"] for row in rows), "everything in the list says what it is"
    assert len({(row["kind"], row["name"]) for row in rows}) == len(rows)
    assert main(["list", "corruption"]) == 0
    assert "jpeg_compression" in capsys.readouterr().out


def test_cite_prints_bibtex(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cite", "augmix"]) == 0
    text = capsys.readouterr().out
    assert "@inproceedings{hendrycks2020augmix" in text
    assert text.count("{") == text.count("}")
