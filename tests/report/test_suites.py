"""Tables of the further suites: the numbers are the runs', subsets are named, and what was not run is left out."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from elinvar import metrics, shift
from elinvar.check import InputError
from elinvar.infer.evaluation import Calibration, Shift, Spectrum, Stability
from elinvar.report import RunResult, headline, suite_tables, write_report
from elinvar.report.table import Table

Make = Callable[..., RunResult]
MEASURES = ("rms", "ece", "adaptive_ece", "mce", "overconfidence", "brier", "top_label_brier", "nll")


def full(run: RunResult, scale: float) -> RunResult:
    """A run that was judged by every suite."""
    assert run.evaluation.shift is not None
    names = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
    extra = Shift(
        subset="4 corruptions for validation x 5 severities", generator=run.evaluation.shift.generator,
        errors={name: [scale * level for level in range(1, 6)] for name in names}, pooled={},
        mean={"error": 3 * scale}, reliability=run.evaluation.shift.reliability,
    )  # fmt: skip
    flips = dict.fromkeys((*metrics.PERTURBATION_SUBSETS["benchmark"], "spatter"), scale)
    stability = Stability(
        subset="10 perturbations of the benchmark", generator="made up", flips=flips, top5={},
        mean={"flip_probability": scale, "flip_probability_spatter": scale + 1},
    )  # fmt: skip
    numbers = dict(zip(MEASURES, (1.0, 2.0, 3.0, 4.0, -5.0, 0.6, 0.7, 0.8), strict=True))
    calibration = Calibration(
        clean=numbers, corrupted=numbers, by_severity=[{"rms": scale * level} for level in range(5)],
        subset="mean over 15 corruptions of the benchmark",
    )  # fmt: skip
    heatmap = shift.FourierHeatmap(torch.rand(8, 8, dtype=torch.float64), 4.0, True, 100, (8, 8))
    spectrum = Spectrum(
        subset="100 of 100 test images, l2 norm 4 in each channel", heatmap=heatmap.to_dict(), mean=50 * scale,
        bands={"low": scale, "high": 2 * scale}, low_pass={}, needed_bandwidth=9,
    )  # fmt: skip
    found = replace(run.evaluation, extra=extra, stability=stability, calibration=calibration, spectrum=spectrum)
    return replace(run, evaluation=found)


def cell(table: Table, row: str, column: str) -> str:
    rows, columns = [h.text for h in table.rows], [h.text for h in table.columns]
    return table.texts()[rows.index(row)][columns.index(column)]


@pytest.fixture
def runs(make: Make) -> list[RunResult]:
    return [full(make("a", 0), 1.0), full(make("a", 1), 3.0), full(make("b", 0), 0.5)]


def test_each_suite_has_a_table(runs: list[RunResult]) -> None:
    extra, stability, frequencies, calibration = suite_tables(runs)
    assert cell(extra, "Spatter", "a") == "6.00 ± 4.24"
    assert cell(extra, "Mean of 4", "b") == "1.50"
    assert "outside of the mean" in extra.notes[0]
    assert cell(stability, "Tilt", "b") == "0.50"
    assert cell(stability, "Mean of 10", "a") == "2.00 ± 1.41"
    assert cell(stability, "Mean of 10, spatter for snow", "b") == "1.50"
    assert "10 perturbations of the benchmark" in stability.notes[0]
    assert [row.text for row in frequencies.rows][:3] == ["All frequencies", "Low frequencies", "High frequencies"]
    assert cell(calibration, "Clean: confidence minus accuracy, %", "b") == "-5.00"
    assert cell(calibration, "Severity 5: RMS calibration error, %", "b") == "2.00"
    assert calibration.notes[0].startswith("Under corruptions: mean over 15 corruptions of the benchmark, of all")
    assert all(
        table.notes[-1].startswith("Mean ± sample standard deviation over n runs") for table in suite_tables(runs)
    )
    assert cell(headline(runs), "b", "mean flip probability, %") == "0.50"


def test_what_was_not_run_is_left_out(make: Make) -> None:
    assert suite_tables([make("a", 0)]) == []
    half = [full(make("a", 0), 1.0), make("b", 0)]
    assert cell(suite_tables(half)[0], "Spatter", "b") == "not run"


def test_the_page_shows_them(runs: list[RunResult], tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", runs)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'src="data:image/png;base64,' in page
    for text in ("Error under the corruptions for validation", "Flips along perturbation", "Calibration in detail"):
        assert text in page
    write_report(tmp_path / "again.html", runs)
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "report.html").read_bytes()
    write_report(tmp_path / "plain.html", [replace(runs[0], evaluation=replace(runs[0].evaluation, spectrum=None))])
    assert "data:image/png" not in (tmp_path / "plain.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("suite", ["extra", "stability", "spectrum"])
def test_numbers_of_different_images_do_not_stand_together(suite: str, runs: list[RunResult]) -> None:
    old = runs[1].evaluation
    other = replace(old, **{suite: replace(getattr(old, suite), subset="something else")})
    with pytest.raises(InputError, match="report them apart"):
        suite_tables([runs[0], replace(runs[1], evaluation=other)])
