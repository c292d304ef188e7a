"""What `elinvar tune` shows: every candidate, the one that was chosen, and what it is worth on which images."""

from itertools import groupby

import rich.box
from rich.table import Table
from rich.text import Text

from ..infer import Scores
from ..norm import Point, Tuned
from ..norm.mixture import in_words
from .gain import COLUMNS, METRICS, Gain, Outcome, same
from .tuned import HeldOut


def _number(value: float, metric: str, sign: str = "") -> str:
    _, factor, decimals = COLUMNS[metric]
    return f"{round(factor * value, decimals) + 0.0:{sign}.{decimals}f}"  # + 0.0: no negative zero


def _alpha(point: Point) -> str:
    return "as it is" if point.alpha is None else f"{point.alpha:.4g}"


def _best_of_each_mix(tuned: Tuned) -> list[Point]:
    """The curve goes by mix; of equal values the one that was chosen, or the first."""
    mixes = groupby(tuned.curve, key=lambda point: point.weights)
    return [min(points, key=lambda point: (point is not tuned.best, point.value)) for _, points in mixes]


def table(outcome: Outcome, held: HeldOut, metric: str) -> Table:
    """Every candidate; the lowest one in bold, with a star if the run is changed to it."""
    any_curve = next(iter(outcome.curves.values()))
    spent = sum(tuned.evaluations for tuned in outcome.curves.values())
    tried = sum(len(tuned.curve) for tuned in outcome.curves.values())
    mixed = len(any_curve.best.weights) > 1
    rough = any(point.approximation for tuned in outcome.curves.values() for point in tuned.curve)
    seen = "held-out images, which the run was not trained on" if held.fresh else "images that the run was trained on"
    shown = Table(
        title=Text(f"What was tried on {any_curve.examples:,} {seen}"),
        caption=Text(
            "Means over these images. The gain is over the first row of the same statistics, ± one standard error, "
            f"image by image. {tried} candidates at the cost of {spent:.1f} evaluations."
            + (" Of each mix the best alpha is shown." if mixed else "")
            + (" ~ is interpolated; its error is part of that of the gain." if rough else "")
        ),
        box=rich.box.SIMPLE_HEAD, title_justify="left", caption_justify="left", title_style="bold", caption_style="",
    )  # fmt: skip
    headings = (
        "statistics",
        *(("branches",) if mixed else ()),
        "alpha",
        *(heading for heading, *_ in COLUMNS.values()),
    )
    for name in (*headings, f"gain in {METRICS[metric][0].partition(',')[0]}", ""):
        shown.add_column(name, justify="left" if name in ("statistics", "branches", "") else "right")
    for name, tuned in outcome.curves.items():
        for point in _best_of_each_mix(tuned) if mixed else tuned.curve:
            best = point is outcome.best
            values = {metric: point.value, **point.beside}
            cells = [("~ " if point.approximation else "") + _number(values[key], key) for key in COLUMNS]
            gain = f"{_number(point.gain, metric, '+')} ± {_number(point.gain_error, metric)}"
            mix = (in_words(point.weights),) if mixed else ()
            mark = ("* chosen" if outcome.supported else "lowest") if best and outcome.gain is not None else ""
            row = name, *mix, _alpha(point), *cells, gain, mark
            shown.add_row(*(Text(cell, style="bold" if best else "") for cell in row))
    return shown


def told(outcome: Outcome, held: HeldOut, left: Scores | None, metric: str) -> list[str]:
    """Before and after, on what, and whether it is as promised. `left` is what the written run gives."""
    lines = [f"chosen on: {held.about}"]
    if not held.fresh:
        lines.append(
            "  the run has seen them, and what it knows by heart needs no tuning: expect another optimum on new "
            "images; a run that was trained on a part of the split is tuned on the rest"
        )
    if outcome.gain is None:
        return [*lines, "nothing is better than the run as it is; nothing was written"]
    best, gain = outcome.best, outcome.gain
    mix = f"branches {in_words(best.weights)}, " if len(best.weights) > 1 else ""
    word = "chosen" if outcome.supported else "lowest mean"
    lines.append(f"{word}: statistics {outcome.statistics}, {mix}alpha {_alpha(best)}; on all of these images")
    lines += _change(gain, metric)
    if outcome.measured is not None and abs(outcome.measured - best.value) > 2 * best.approximation + 1e-4:
        said, found = (_number(value, metric) for value in (best.value, outcome.measured))
        lines.append(f"  differs from the search, which estimated a {METRICS[metric][0]} of {said}; it is {found}")
    if not outcome.supported:
        return [*lines, "the interval does not lie above 0: the run stays as it is; nothing was written"]
    if outcome.others is None:
        lines.append("no other held-out image is left to confirm it on; the best of many gains less on new images")
    else:
        lines.append(f"on {outcome.others.before.n:,} other images of the same kind, which chose nothing")
        lines += _change(outcome.others, metric)
        chance = "is as promised, within chance" if outcome.others.agrees(gain) else "differs from what was promised"
        lines.append(f"  the gain there {chance}")
    if left is not None and not same(left, gain.after):
        lines.append(
            f"the run that was written DIFFERS from what was found: error {left.error:.2f} % instead of "
            f"{gain.after.error:.2f} %, NLL {left.nll:.4f} instead of {gain.after.nll:.4f}; do not use it"
        )
    elif left is not None:
        lines.append(f"as written and read again: error {left.error:.2f} %, NLL {left.nll:.4f}, as found")
    return lines


def _change(gain: Gain, metric: str) -> list[str]:
    before, after = gain.before, gain.after
    lines = [
        f"  {name:<23}{old:>9} -> {new:>9}"
        for name, old, new in (
            ("error", f"{before.error:.2f} %", f"{after.error:.2f} %"),
            ("NLL", f"{before.nll:.4f}", f"{after.nll:.4f}"),
            ("RMS calibration error", f"{before.rms_calibration:.2f} %", f"{after.rms_calibration:.2f} %"),
        )
    ]
    mean, error = _number(gain.mean, metric, "+"), _number(gain.error, metric)
    low, high = (_number(end, metric, "+") for end in gain.interval)
    return [
        *lines,
        f"  gain in {METRICS[metric][0]}: {mean} ± {error} (standard error, image by image), 95 % {low} to {high}",
    ]
