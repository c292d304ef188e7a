"""What a series says about claims, in words, tables and a figure."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from elinvar.experiments import AtMost, Cell, Claim, Exceeds, Near, Scale, Series
from elinvar.report.experiment import State, json_text, judge, judged, overall, table, to_csv
from elinvar.report.experiment_chart import draw, save
from experiments.samples import EXPERIMENT, series

HIGH, LOW, OTHER = Cell("high", "error"), Cell("low", "error"), Cell("low", "other")


@pytest.mark.parametrize(
    ("claim", "state"),
    [
        # Differences 6, 7, 6.5: Welch 6.5 +- 2.7 (3.0 degrees of freedom), paired 6.5 +- 1.24.
        (Exceeds("", HIGH, LOW), State.HOLDS),
        (Exceeds("", HIGH, LOW, by=3.5), State.HOLDS),
        (Exceeds("", HIGH, LOW, by=5.0), State.OPEN),
        (Exceeds("", HIGH, LOW, by=5.0, paired=True), State.HOLDS),
        (Exceeds("", HIGH, LOW, by=5.5, paired=True), State.OPEN),
        (Exceeds("", HIGH, LOW, by=8.0, paired=True), State.FAILS),
        (Exceeds("", LOW, HIGH), State.FAILS),
        (Near("", HIGH, LOW, within=8.0), State.OPEN),
        (Near("", HIGH, LOW, within=8.0, paired=True), State.HOLDS),
        (Near("", LOW, HIGH, within=8.0, paired=True), State.HOLDS),
        (Near("", HIGH, LOW, within=3.0), State.FAILS),
        (Near("", OTHER, Cell("high", "other"), within=0.1), State.HOLDS),
        (Exceeds("", OTHER, Cell("high", "other"), paired=True), State.FAILS),
        (AtMost("", LOW, HIGH), State.HOLDS),
        (AtMost("", LOW, 5.0), State.HOLDS),
        (AtMost("", LOW, 4.9), State.FAILS),
    ],
)
def test_claims(claim: Claim, state: State) -> None:
    assert judge(claim, series()).state is state


def test_one_run_tells_nothing_but_a_bound() -> None:
    assert judge(Exceeds("", HIGH, LOW), series(1)).state is State.OPEN
    assert judge(Exceeds("", HIGH, LOW, paired=True), series(1)).state is State.OPEN
    assert judge(AtMost("", LOW, 5.0), series(1)).state is State.HOLDS


def test_evidence_names_what_differs_and_how_sure_it_is() -> None:
    told = judge(Exceeds("High is higher", HIGH, LOW, paired=True), series())
    assert told.sentence == (
        "High is higher: HOLDS HERE. error: high minus low: 6.50 points, 95% interval 5.26 to 7.74, n=3 runs, paired; "
        "asked for more than 0"
    )
    assert "low: error minus other: " in judge(Exceeds("", LOW, OTHER), series()).evidence
    assert "error, high minus other, low: " in judge(Exceeds("", HIGH, OTHER), series()).evidence
    assert judge(AtMost("", LOW, 4.9), series()).evidence == "2 of 3 runs; the closest has 5 against 4.9"


def test_the_verdict_in_one_line() -> None:
    of = series()
    holds, fails, unsure = (
        judge(claim, of) for claim in (Exceeds("", HIGH, LOW), Exceeds("", LOW, HIGH), Exceeds("", HIGH, LOW, by=5.0))
    )
    assert overall([holds, holds]) == "The effect shows here."
    assert overall([fails]) == "The effect does not show here."
    assert "cannot be told from so few" in overall([unsure])
    assert overall([holds, fails, unsure]) == (
        "The effect shows in part. Claims that hold: 1 of 3; that do not hold: 1 of 3; that cannot be told: 1 of 3."
    )
    assert (
        overall([fails, unsure])
        == "The effect does not show. Claims that do not hold: 1 of 2; that cannot be told: 1 of 2."
    )
    assert "Nothing is claimed" in overall([])


def test_table_csv_and_json_hold_the_same_numbers() -> None:
    of = series()
    assert table(of).texts() == [["11.0 ± 1.0", "1.0 ± 0.0"], ["4.5 ± 0.5", "1.0 ± 0.0"]]
    rows = list(csv.DictReader(io.StringIO(to_csv(of))))
    assert [(row["setting"], row["measure"]) for row in rows][:2] == [("high", "error"), ("high", "other")]
    assert [float(rows[0][key]) for key in ("mean", "sd", "n", "seed 0", "seed 2")] == [11.0, 1.0, 3.0, 10.0, 11.0]
    held = json.loads(json_text(of))
    assert held["seeds"]["1"]["low"]["error"] == 5.0
    assert held["verdict"] == "The effect shows here."
    assert held["claims"][0]["state"] == "holds here"
    assert held["published"]["numbers"]["high"]["error"] == 3.25


def test_a_setting_may_lack_a_measure() -> None:
    rows = {seed: {"high": {"error": 1.0 + seed}, "low": {"other": 2.0}} for seed in range(2)}
    of = Series(EXPERIMENT, Scale.SMALL, None, rows)
    assert table(of).texts() == [["1.5 ± 0.7", "not run"], ["not run", "2.0 ± 0.0"]]
    assert to_csv(of).count("\n") == 3
    for axis in (None, "epoch"):
        draw(replace(of, experiment=replace(EXPERIMENT, axis=axis)))


@pytest.mark.parametrize("axis", [None, "epoch"])
@pytest.mark.parametrize("seeds", [1, 3])
def test_figures_are_written_whole(axis: str | None, seeds: int, tmp_path: Path) -> None:
    of = series(seeds, axis=axis, drawn=("error",))
    assert all(axes.lines for axes in draw(of).axes)
    path = tmp_path / "figure.png"
    save(of, path)
    with Image.open(path) as picture:
        assert picture.width == 1120
        colours = picture.convert("RGB").getcolors(100_000)
    assert colours is not None
    assert any(colour == (0, 114, 178) for _, colour in colours), "the first measure's colour is there"
    assert list(tmp_path.iterdir()) == [path]


def test_every_claim_is_judged() -> None:
    assert [item.state for item in judged(series())] == [State.HOLDS]
