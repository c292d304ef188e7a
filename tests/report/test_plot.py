"""Charts: they show the runs' numbers, stay small and alike, and survive thin or odd results."""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from elinvar.infer.evaluation import Reliability
from elinvar.report import RunResult, plot
from elinvar.report.canvas import Chart
from elinvar.report.grouping import by_recipe
from elinvar.report.palette import PALETTE, style
from elinvar.report.result import label
from elinvar.report.training_chart import panels, training_curves

Make = Callable[..., RunResult]
CHARTS = (
    plot.error_per_corruption, plot.severity_curve, plot.severity_multiples, plot.reliability_diagram,
    training_curves,
)  # fmt: skip


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("text")]


@pytest.mark.parametrize("draw", CHARTS)
def test_charts_are_lean_and_know_the_page(draw: Callable[..., Chart], pair: list[RunResult]) -> None:
    chart = draw(by_recipe(pair))
    root = ElementTree.fromstring(chart.svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == chart.alt
    assert root.get("viewBox", "").startswith("0 0 350 ")
    assert {element.tag for element in root.iter()} <= {"svg", "g", "path", "text", "defs", "use", "clipPath", "rect"}
    assert "http" not in chart.svg
    assert "font-family" not in chart.svg
    assert "#ffffff" not in chart.svg
    styles = " ".join(element.get("style", "") for element in root.iter())
    assert {"var(--recipe-0, #0072b2)", "var(--recipe-1, #d55e00)"} <= set(re.findall(r"var\(--recipe[^)]*\)", styles))
    assert "currentColor" in styles
    identities = re.findall(r' id="([^"]+)"', chart.svg)
    assert len(set(identities)) == len(identities)
    assert all(name.startswith(f"{chart.name}-") for name in identities)
    assert set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", chart.svg)) == set(identities)


@pytest.mark.parametrize("draw", CHARTS)
def test_same_runs_same_bytes_whatever_the_settings_of_the_user(
    draw: Callable[..., Chart], pair: list[RunResult]
) -> None:
    first = draw(by_recipe(pair))
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30, "axes.grid": True, "lines.linewidth": 9}):
        before = dict(matplotlib.rcParams)
        assert draw(by_recipe(pair)) == first
        assert dict(matplotlib.rcParams) == before


def bar_lengths(svg: str, variable: str) -> list[float]:
    lengths = []
    for path in ElementTree.fromstring(svg).iter("path"):
        if f"fill: var({variable}," in path.get("style", ""):
            across = [float(x) for x in re.findall(r"[ML] ([\d.]+) ", path.get("d", ""))]
            lengths.append(max(across) - min(across))
    return lengths


def test_bars_are_as_long_as_the_errors(pair: list[RunResult]) -> None:
    chart = plot.error_per_corruption(by_recipe(pair))
    assert chart is not None
    shown = [bar_lengths(chart.svg, look.variable) for look in PALETTE[:2]]
    for name, lengths in zip(("standard", "augmix"), shown, strict=True):
        runs = [run.evaluation.shift for run in pair if run.name == name and run.evaluation.shift]
        means = [float(np.mean([run.errors[corruption] for run in runs])) for corruption in runs[0].errors]
        means.append(float(np.mean([run.mean["error"] for run in runs])))
        assert len(lengths) == 16
        np.testing.assert_allclose(np.array(lengths) / lengths[-1], np.array(means) / means[-1], rtol=2e-3)
    assert sum(shown[0]) > sum(shown[1])
    assert [text for text in texts(chart.svg) if "noise" in text] == ["Gaussian noise", "Shot noise", "Impulse noise"]


def test_words_beside_the_pictures_hold_the_numbers(pair: list[RunResult]) -> None:
    groups = by_recipe(pair)
    errors = [run.evaluation.shift.errors for run in pair[:3] if run.evaluation.shift]
    worst = max(errors[0], key=lambda name: float(np.mean([e[name] for e in errors])))
    found = f"to {np.mean([e[worst] for e in errors]):.1f} % ({label(worst)}), n=3"
    bars, curve = plot.error_per_corruption(groups), plot.severity_curve(groups)
    assert bars is not None
    assert found in bars.alt
    clean = np.mean([run.evaluation.clean.error for run in pair[:3]])
    highest = np.mean([[by_severity[-1] for by_severity in e.values()] for e in errors])
    assert curve is not None
    assert f"standard: from {clean:.1f} % clean to {highest:.1f} % at the highest severity, n=3." in curve.alt


def test_reliability_is_pooled_by_count() -> None:
    one = Reliability(confidence=[0.95, 0.99], accuracy=[0.5, 1.0], count=[30, 10])
    two = Reliability(confidence=[0.25, 0.97], accuracy=[0.3, 0.8], count=[50, 60])
    three = Reliability(confidence=[0.5], accuracy=[1.0], count=[plot.FEWEST - 1])
    confidence, accuracy, share = plot.pooled_bins([one, two, three])
    np.testing.assert_allclose(confidence, [0.25, (0.95 * 30 + 0.99 * 10 + 0.97 * 60) / 100])
    np.testing.assert_allclose(accuracy, [0.3, (15 + 10 + 48) / 100])
    np.testing.assert_allclose(share, [1 / 3, 2 / 3])
    assert len(plot.pooled_bins([three])[0]) == 1


def test_training_curves_have_a_panel_for_each_part(pair: list[RunResult]) -> None:
    chart = training_curves(by_recipe(pair))
    assert chart is not None
    titles = [text for text in texts(chart.svg) if text[0].isupper()]
    assert titles == ["Loss", "Cross entropy (clean)", "Consistency (clean, aug1…", "Test error, %"]


def test_numbers_of_one_name_share_a_panel_and_are_named_in_it(make: Make) -> None:
    shares = {f"mu(policy_{number})": 0.25 for number in range(1, 5)}
    run = replace(make("a", 0), metrics=[{"epoch": epoch, "loss": 1.0, **shares} for epoch in (1, 2)])
    assert [len(panel.members) for panel in panels(list(run.metrics[0])[1:])] == [1, 4]
    chart = training_curves(by_recipe([run]))
    assert chart is not None
    shown = texts(chart.svg)
    assert [text for text in shown if text in ("Loss", "Mu")] == ["Loss", "Mu"]
    assert {"Policy 1", "Policy 2", "Policy 3", "Policy 4"} <= set(shown)


def test_nothing_to_show_is_no_chart(make: Make) -> None:
    groups = by_recipe([replace(make("a", 0, corruptions=()), metrics=[])])
    assert [draw(groups) is None for draw in CHARTS] == [True, True, True, False, True]


@pytest.mark.parametrize(
    "runs",
    [
        [("a", 0, {})],
        [("a", None, {"epochs": 1})],
        [("a", 0, {"corruptions": ("fog",)}), ("b", 0, {"corruptions": ("fog",)})],
        [("a", 0, {}), ("b", 0, {"corruptions": ()})],
        [(f"recipe {number}", 0, {"corruptions": ("fog", "snow")}) for number in range(14)],
    ],
    ids=["one run", "one epoch", "one corruption", "half without shift", "fourteen recipes"],
)
def test_thin_results_still_make_charts(make: Make, runs: list[tuple[str, int | None, dict[str, object]]]) -> None:
    groups = by_recipe([make(name, seed, **settings) for name, seed, settings in runs])
    for draw in CHARTS:
        chart = draw(groups)
        assert chart is not None
        assert ElementTree.fromstring(chart.svg).find(".//path") is not None


def test_losses_that_are_not_finite_are_gaps(make: Make) -> None:
    run = make("a", 0)
    run.metrics[10]["loss"] = float("nan")
    run.metrics[11]["loss"] = float("inf")
    chart = training_curves(by_recipe([run]))
    assert chart is not None
    assert "nan" not in chart.svg.lower()


def test_many_seeds_do_not_swell_the_page(make: Make) -> None:
    few = training_curves(by_recipe([make("a", 0, epochs=300)]))
    many = training_curves(by_recipe([make("a", seed, epochs=300) for seed in range(60)]))
    assert few is not None
    assert many is not None
    assert len(few.svg) < 40_000
    assert len(many.svg) < 700_000


def test_names_from_strangers_are_shown_as_they_are(make: Make) -> None:
    names = ("$x^2_", "<script>alert(1)</script>", "\x00\x1b[1m", "雾")
    chart = plot.error_per_corruption(by_recipe([make("a", 0, corruptions=names)]))
    assert chart is not None
    shown = texts(chart.svg)
    assert {"$x^2", "<script>alert (1)</sc…", "\ufffd\ufffd[1m", "雾"} <= set(shown)


# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency", 2009, at
# full severity, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protan": np.array([[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]]),
    "deutan": np.array([[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]]),
    "tritan": np.array([[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]]),
}


def linear(colour: str) -> np.ndarray:
    levels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
    xyz = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.0888])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    low, high = sorted(float(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("ground", ["light", "dark"])
def test_any_two_colours_stay_apart(vision: str, ground: str) -> None:
    seen = [lab(VISION[vision] @ linear(getattr(look, ground))) for look in PALETTE]
    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)) > 15


def test_colours_stand_out_from_the_page() -> None:
    for look in PALETTE:
        assert contrast(look.light, "#ffffff") >= 3
        assert contrast(look.dark, "#1b1d21") >= 3


def test_styles_repeat_only_after_colours_and_lines_are_used_up() -> None:
    looks = [style(place) for place in range(18)]
    assert len({(look.variable, look.line) for look in looks}) == 18
