"""Tables, chart and doubts of attacks: the runs' numbers, pairs of different seeds, and what is no black box marked."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from elinvar.attacks import Distribution
from elinvar.check import InputError
from elinvar.infer.evaluation import Attacks, FromSource, UnderAttack
from elinvar.report import RunResult, attack_tables, doubts, headline, verdict, write_report
from elinvar.report.attacked import black_box, white_box
from elinvar.report.grouping import by_recipe
from elinvar.report.logit_chart import density, logit_histograms
from elinvar.report.table import Table

Make = Callable[..., RunResult]
ATTACKS = ("natural", "FGSM", "PGD-5", "PGD-10", "PGD-20")
LOGITS = Distribution.of(torch.randn(200, 10, generator=torch.manual_seed(0)))


def attacked(
    run: RunResult, strength: float, sources: dict[tuple[str, int | None], float] | None = None, thorough: int = 0
) -> RunResult:
    """A run that keeps `strength` of its images under PGD-20, and so much under the images of its sources."""
    results = {
        name: UnderAttack(n=1000, accuracy=strength + 10 * (4 - place), logits=LOGITS)
        for place, name in enumerate(ATTACKS)
    }
    if thorough:
        results |= {name: UnderAttack(n=thorough, accuracy=7.0, logits=None) for name in ("PGD-1000", "SPSA")}
    rows = [
        FromSource(source=name, seed=seed, attack="PGD-10", n=1000, accuracy=value)
        for (name, seed), value in (sources or {}).items()
    ]
    attacks = Attacks(
        subset="1,000 of 10,000 test images, classes in proportion", settings="linf, eps 8/255", thorough=thorough,
        results=results, black_box=rows, worst=strength - 1, flat=0.0, warnings=[],
    )  # fmt: skip
    return replace(run, evaluation=replace(run.evaluation, attacks=attacks))


def doubtful(run: RunResult, *texts: str) -> RunResult:
    assert run.evaluation.attacks is not None
    attacks = replace(run.evaluation.attacks, warnings=list(texts))
    return replace(run, evaluation=replace(run.evaluation, attacks=attacks))


def cell(table: Table, row: str, column: str) -> str:
    rows, columns = [h.text for h in table.rows], [h.text for h in table.columns]
    return table.texts()[rows.index(row)][columns.index(column)]


@pytest.fixture
def runs(make: Make) -> list[RunResult]:
    """Two recipes of two seeds each, all shown each other's images."""
    plain = {"corruptions": ()}
    return [
        attacked(make("a", 0, **plain), 40.0, {("a", 1): 60.0, ("b", 0): 70.0, ("b", 1): 72.0}),
        attacked(make("a", 1, **plain), 44.0, {("a", 0): 62.0, ("b", 0): 74.0, ("b", 1): 76.0}),
        attacked(make("b", 0, **plain), 20.0, {("a", 0): 50.0, ("a", 1): 54.0, ("b", 1): 30.0}),
        attacked(make("b", 1, **plain), 20.0, {("a", 0): 50.0, ("a", 1): 54.0, ("b", 0): 34.0}),
    ]


def test_the_white_box_is_a_mean_over_seeds(runs: list[RunResult]) -> None:
    table = white_box(by_recipe(runs))
    assert table is not None
    assert [row.text for row in table.rows] == ["Natural", *ATTACKS[1:], "All attacks together"]
    assert cell(table, "PGD-20", "a") == "42.0 ± 2.8"
    assert cell(table, "Natural", "b") == "60.0 ± 0.0"
    assert cell(table, "All attacks together", "a") == "41.0 ± 2.8"
    assert "1,000 of 10,000 test images" in table.notes[0]
    assert "± 1.6 points (one standard error)" in table.notes[0]
    assert "PGD-1000 and SPSA were left out" in table.notes[-2]
    assert table.notes[-1].startswith("Mean ± sample standard deviation over n runs")


def test_attacks_on_fewer_images_say_so(make: Make) -> None:
    table = white_box(by_recipe([attacked(make("a", 0), 40.0, thorough=100)]))
    assert table is not None
    assert cell(table, "SPSA, first 100 images", "a") == "7.0"
    assert not any("left out" in note for note in table.notes)


def test_the_black_box_has_targets_in_rows_and_means_over_pairs_of_seeds(runs: list[RunResult]) -> None:
    table = black_box(by_recipe(runs))
    assert table is not None
    assert [str(row) for row in table.rows] == ["a (n=2)", "b (n=2)"]
    assert [str(column) for column in table.columns] == ["for a", "for b"]
    assert cell(table, "a", "for a") == "61.0 ± 1.4"
    assert cell(table, "a", "for b") == "73.0 ± 2.8"
    assert cell(table, "b", "for a") == "52.0 ± 0.0"
    assert cell(table, "b", "for b") == "32.0 ± 2.8"
    assert "never on its own" in table.notes[0]
    assert not any("White box" in note for note in table.notes)


def test_one_seed_is_marked_as_a_white_box(make: Make) -> None:
    one = attacked(make("a", 0), 40.0, {("b", None): 70.0})
    other = attacked(make("b", None), 20.0, {("a", 0): 50.0})
    table = black_box(by_recipe([one, other]))
    assert table is not None
    assert table.texts() == [["50.0, white box", "70.0"], ["50.0", "30.0, white box"]]
    assert table.notes[-1].startswith("White box: of a, b there is one seed only")
    alone = black_box(by_recipe([one]))
    assert alone is not None
    assert [column.text for column in alone.columns] == ["for a", "for b"]
    assert "for b" in alone.to_markdown()
    assert black_box(by_recipe([attacked(make("a", 0), 40.0)])) is None


def test_a_run_that_met_fewer_sources_says_its_n(runs: list[RunResult], make: Make) -> None:
    table = black_box(by_recipe([*runs[:2], attacked(make("a", 2, corruptions=()), 42.0)]))
    assert table is not None
    assert cell(table, "a", "for b") == "73.0 ± 2.8 (n=2)"


def test_logits_have_a_table_and_a_chart(runs: list[RunResult]) -> None:
    *_, table = attack_tables(runs)
    assert cell(table, "Natural: variance", "a") == f"{LOGITS.variance:.2f} ± 0.00"
    assert cell(table, "PGD-20: range", "b") == f"{LOGITS.range:.2f} ± 0.00"
    chart = logit_histograms(by_recipe(runs))
    assert chart is not None
    assert f"a, PGD-20: range {LOGITS.range:.3g}, n=2." in chart.alt


def test_densities_keep_their_mass_on_other_intervals() -> None:
    for edges in (np.linspace(-8, 8, 61), np.linspace(LOGITS.low, LOGITS.high, 7)):
        found = density(LOGITS, edges)
        assert float((found * np.diff(edges)).sum()) == pytest.approx(1.0)
    own = np.array(LOGITS.edges)
    assert density(LOGITS, own) * np.diff(own) * LOGITS.values == pytest.approx(np.array(LOGITS.counts, dtype=float))
    constant = Distribution.of(torch.ones(3, 2))
    assert np.isfinite(density(constant, np.linspace(0.5, 1.5, 61))).all()


def test_models_without_a_finite_logit_have_tables_and_no_chart(make: Make, tmp_path: Path) -> None:
    run = attacked(make("a", 0), 40.0)
    assert run.evaluation.attacks is not None
    results = {name: replace(of, logits=None) for name, of in run.evaluation.attacks.results.items()}
    attacks = replace(run.evaluation.attacks, results=results)
    broken = replace(run, evaluation=replace(run.evaluation, attacks=attacks))
    assert len(attack_tables([broken])) == 2
    assert logit_histograms(by_recipe([broken])) is None
    write_report(tmp_path / "r.html", [broken])


def test_doubts_stand_before_the_numbers_and_in_the_verdict(runs: list[RunResult], tmp_path: Path) -> None:
    assert doubts(runs) == []
    write_report(tmp_path / "r.html", runs)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Nothing that was tried shows a sign of masked gradients" in page
    masked = [*runs[:3], doubtful(runs[3], "SPSA finds < more.", "So does FGSM.")]
    assert doubts(masked) == [("b, seed 1", ("SPSA finds < more.", "So does FGSM."))]
    write_report(tmp_path / "r.html", masked)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Nothing that was tried" not in page
    assert page.index("Do not trust these numbers: b, seed 1") < page.index("Accuracy under attack, %")
    assert "<li>SPSA finds &lt; more.</li>" in page
    assert "1 of 4 attacked models may hide gradients" in verdict(masked)[-1]
    assert "1 of 4 attacked models" in page


def test_the_verdict_is_about_attacks_where_nothing_else_was_judged(runs: list[RunResult]) -> None:
    found = verdict(runs)
    assert found[0] == "Under attack a and b cannot be told apart: error 59.0 ± 2.8 % (n=2) and 81.0 ± 0.0 % (n=2)."
    assert found[1].startswith("a minus b: \N{MINUS SIGN}22.0 points, 95% interval")
    assert len(found) == 3
    assert cell(headline(runs), "a", "error under attack, %") == "59.0 ± 2.8"
    assert any("wrong after any attack" in note for note in headline(runs).notes)


def test_without_attacks_there_is_no_section(make: Make, tmp_path: Path) -> None:
    plain = [make("a", 0)]
    assert attack_tables(plain) == []
    assert doubts(plain) is None
    write_report(tmp_path / "r.html", plain)
    assert "Under attack" not in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("change", [{"subset": "all"}, {"settings": "l2"}, {"thorough": 10}])
def test_runs_attacked_differently_do_not_stand_together(change: dict[str, object], runs: list[RunResult]) -> None:
    evaluation = runs[1].evaluation
    assert evaluation.attacks is not None
    other = replace(runs[1], evaluation=replace(evaluation, attacks=replace(evaluation.attacks, **change)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="report them apart"):
        attack_tables([runs[0], other])
