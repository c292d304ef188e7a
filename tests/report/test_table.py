"""Tables: the numbers are the runs', each has its n, and names from strangers stay text."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from elinvar.check import InputError
from elinvar.infer import Evaluation
from elinvar.report import RunResult, headline, per_corruption, verdict
from elinvar.report.table import Table

Make = Callable[..., RunResult]


def cell(table: Table, row: str, column: str) -> str:
    rows, columns = [h.text for h in table.rows], [h.text for h in table.columns]
    return table.texts()[rows.index(row)][columns.index(column)]


def test_headline_holds_mean_and_standard_deviation_of_the_runs(pair: list[RunResult]) -> None:
    table = headline(pair)
    assert [str(row) for row in table.rows] == ["standard (n=3)", "augmix (n=3)"]
    for name in ("standard", "augmix"):
        runs = [run.evaluation for run in pair if run.name == name]
        shifts = [run.shift for run in runs if run.shift is not None]
        expected = {
            "clean error, %": ([run.clean.error for run in runs], 2),
            "mean corruption error, %": ([shift.mean["error"] for shift in shifts], 2),
            "NLL clean, nats": ([run.clean.nll for run in runs], 3),
            "NLL corrupted, nats": ([shift.mean["nll"] for shift in shifts], 3),
            "RMS calibration error clean, %": ([run.clean.rms_calibration for run in runs], 2),
            "RMS calibration error corrupted, %": ([shift.mean["rms_calibration"] for shift in shifts], 2),
            "Brier clean (top label, 0 to 1)": ([run.clean.brier for run in runs], 3),
            "Brier corrupted (top label, 0 to 1)": ([shift.mean["brier"] for shift in shifts], 3),
        }
        assert [column.text for column in table.columns] == list(expected)
        for column, (values, decimals) in expected.items():
            mean, sd = np.mean(values), np.std(values, ddof=1)
            assert cell(table, name, column) == f"{mean:.{decimals}f} ± {sd:.{decimals}f}"


def test_headline_states_the_difference(pair: list[RunResult]) -> None:
    errors = [[run.evaluation.shift.mean["error"] for run in pair[i : i + 3] if run.evaluation.shift] for i in (0, 3)]
    interval = stats.ttest_ind(*errors, equal_var=False).confidence_interval(0.95)
    mean = np.mean(errors[0]) - np.mean(errors[1])
    expected = f"{mean:.1f} points, 95% interval {interval.low:.1f} to {interval.high:.1f}, n=3 runs each"
    assert headline(pair).notes[-1] == f"standard minus augmix: {expected}"
    assert f"standard minus augmix: {expected}." in verdict(pair)
    assert verdict(pair)[0].startswith("Under shift augmix is better than standard")


def test_recipes_that_do_not_differ_are_not_told_apart(make: Make) -> None:
    runs = [make(name, seed) for name in ("one", "other") for seed in range(3)]
    assert "cannot be told apart" in verdict(runs)[0]
    assert headline(runs).notes[-1].endswith("n=3 runs each: cannot tell apart with n=3")
    assert verdict(runs)[1].endswith("n=3 runs each.")
    assert "better" not in " ".join(verdict(runs))


def test_one_run_each_claims_nothing(make: Make) -> None:
    runs = [make("standard", 0), make("augmix", 0, strength=0.3)]
    table = headline(runs)
    assert all("±" not in text for texts in table.texts() for text in texts)
    assert [str(row) for row in table.rows] == ["standard (n=1)", "augmix (n=1)"]
    assert "one run (n=1) has no standard deviation" in table.notes[0]
    assert table.notes[1] == "Means under corruptions: 15 corruptions x 5 severities."
    assert table.notes[2].startswith("A calibration error is that of all severities of a corruption taken together")
    assert len(table.notes) == 3
    assert "may be chance" in verdict(runs)[1]


def test_more_than_two_recipes_give_no_interval(make: Make) -> None:
    runs = [make(name, seed, strength=s) for name, s in (("a", 1.0), ("b", 0.5), ("c", 0.7)) for seed in range(2)]
    assert "interval" not in " ".join(headline(runs).notes)
    assert re.match(r"Under shift b has the lowest .* of 3 recipes, .*\(n=2\); next is c", verdict(runs)[0])


def test_without_shift_nothing_is_said_about_it(make: Make) -> None:
    runs = [make(name, seed, corruptions=()) for name in ("a", "b") for seed in range(2)]
    assert [column.text for column in headline(runs).columns][:2] == ["clean error, %", "NLL clean, nats"]
    assert per_corruption(runs) is None
    assert verdict(runs)[-1] == "Nothing was judged under shift, so nothing is said about it."
    assert verdict([*runs[:2], make("b", 0)])[-1] == "No run of a was judged under shift, so nothing is said about it."


def test_a_cell_of_fewer_runs_says_so(make: Make) -> None:
    runs = [make("a", 0), make("a", 1), make("a", 2, corruptions=())]
    table = headline(runs)
    assert cell(table, "a", "mean corruption error, %").endswith("(n=2)")
    assert "n=" not in cell(table, "a", "clean error, %")
    mixed = headline([*runs, make("b", 0, corruptions=())])
    assert cell(mixed, "b", "mean corruption error, %") == "not run"


def test_per_corruption_averages_severities(pair: list[RunResult]) -> None:
    table = per_corruption(pair)
    assert table is not None
    fog = [np.mean(run.evaluation.shift.errors["fog"]) for run in pair[:3] if run.evaluation.shift]
    assert cell(table, "Fog", "standard") == f"{np.mean(fog):.2f} ± {np.std(fog, ddof=1):.2f}"
    assert cell(table, "Mean of 15", "augmix") == cell(headline(pair), "augmix", "mean corruption error, %")
    assert [row.text for row in table.rows][-2] == "JPEG compression"
    assert [column.n for column in table.columns] == [3, 3]


def test_rows_come_in_the_order_given(make: Make) -> None:
    runs = [make("z", 0), make("a", 0), make("z", 1)]
    assert [str(row) for row in headline(runs).rows] == ["z (n=2)", "a (n=1)"]


def test_every_rendering_holds_every_number_and_every_n(pair: list[RunResult]) -> None:
    table = headline(pair)
    out = io.StringIO()
    Console(file=out, width=100, color_system=None).print(table.to_rich())
    html = re.sub(r"</?small>", "", str(table.html_rows()))
    for rendered in (table.to_markdown(), out.getvalue(), html):
        for text in (text for texts in table.texts() for text in texts):
            assert text in rendered
        assert rendered.count("n=3") >= 2
    lines = table.to_markdown().splitlines()
    assert {line.count("|") for line in lines[:4]} == {10}


def test_the_narrow_way_round_has_the_same_cells(pair: list[RunResult]) -> None:
    table = headline(pair)
    narrow = table.narrow()
    assert len(narrow.columns) == 2
    assert narrow.transposed() == table
    assert narrow.texts() == [list(column) for column in zip(*table.texts(), strict=True)]


def test_names_stay_text_everywhere(make: Make) -> None:
    name = "[bold]a|b[/bold]<script>\x1b[31m\nx"
    table = headline([make(name, 0)])
    out = io.StringIO()
    Console(file=out, width=120, color_system=None).print(table.to_rich())
    assert "[bold]a|b[/bold]<script>\ufffd[31m\ufffdx" in out.getvalue()
    assert "\x1b" not in out.getvalue()
    assert "<script>" not in table.to_markdown()
    assert "a\\|b" in table.to_markdown()
    assert "<script>" not in table.html_rows()


def test_numbers_that_cannot_stand_together_are_refused(make: Make) -> None:
    with pytest.raises(InputError, match="got no runs"):
        headline([])
    with pytest.raises(InputError, match="seed 1 is given twice"):
        headline([make("a", 1), make("a", 1)])
    with pytest.raises(InputError, match="different images"):
        headline([make("a", 0), make("b", 0, corruptions=("fog", "snow"))])
    uneven = make("a", 0)
    assert uneven.evaluation.shift is not None
    uneven.evaluation.shift.errors["fog"].pop()
    with pytest.raises(InputError, match=r"\[4, 5\] severities"):
        headline([uneven])


def test_every_table_says_what_its_spread_is_over(pair: list[RunResult], make: Make) -> None:
    """Tried: headline, per corruption, one run of one recipe, the page, and the JSON of an evaluation."""
    over = "Mean ± sample standard deviation over n runs"
    for table in (headline(pair), per_corruption(pair)):
        assert table is not None
        assert any(note.startswith(over) for note in table.notes)
    alone = headline([make("a", 0)])
    assert "one run (n=1) has no standard deviation" in alone.notes[0]
    forms = [column.text for column in headline(pair).columns if "Brier" in column.text]
    assert forms == ["Brier clean (top label, 0 to 1)", "Brier corrupted (top label, 0 to 1)"]


def test_an_evaluation_says_what_its_numbers_mean(make: Make, tmp_path: Path) -> None:
    found = make("a", 0).evaluation
    found.save(tmp_path / "evaluation.json")
    held = json.loads((tmp_path / "evaluation.json").read_text())
    assert held["meaning"]["brier"].startswith("top label, 0 to 1")
    assert held["meaning"]["calibration.brier"].startswith("all classes, 0 to 2")
    assert Evaluation.read(tmp_path / "evaluation.json") == found
    del held["meaning"]  # as older versions wrote it
    (tmp_path / "older.json").write_text(json.dumps(held))
    assert Evaluation.read(tmp_path / "older.json") == found
