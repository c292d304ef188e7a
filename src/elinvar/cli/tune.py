"""`elinvar tune`: better statistics for a trained run, without training."""

import copy
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import rich.box
from rich.progress import Progress
from rich.table import Table
from rich.text import Text
from torch import Tensor, nn

from .. import config, norm
from ..check import InputError, unknown
from ..infer import Predictor, Scores
from ..infer.judge import scores
from ..norm import Point, Tuned
from ..norm.mixture import in_words
from ..norm.tuning.losses import loss_of
from ..precision import Compute
from ..recipe import Infer, Recipe
from ..rng import Seeds
from ..train import Run, chosen
from ..train.loop import trained_model
from .judging import opened
from .options import Parser, add_device, device, output_console, parser, progress_console, say, write_json
from .progress import bar
from .tuned import BATCH, HeldOut, check_free, finished, held_out, inference, measure, training_views, write_run

FEW = 2000  # held-out images of which every candidate is computed anyway
AS_TRAINED, PRECISE = "as trained", "precise"
METRICS = {"error": ("error, %", 100.0, 2), "negative_log_likelihood": ("NLL, nats", 1.0, 4)}
"""metric -> heading, factor, decimals"""


@dataclass(frozen=True)
class Outcome:
    """What was found: the curve for each kind of statistics, and the best of all, judged on every held-out image.

    `after` is None if nothing is better than the run as it came; `gain` is example by example, with standard error.
    """

    curves: dict[str, Tuned]
    statistics: str
    best: Point
    before: Scores
    after: Scores | None
    gain: float
    gain_error: float


def _options() -> Parser:
    made = parser(
        "tune",
        "Better statistics for a trained run, without training: how much an image counts in its own normalization "
        "(alpha) and, with --precise, memories measured anew, with --mix several branches averaged. Chosen on held-out "
        "images, never on the test split. Shows what was tried and, if anything is better, writes a run that "
        "'elinvar evaluate' can judge.",
        "elinvar tune runs/standard --metric error --precise 10000 --out runs/standard-tuned",
    )
    made.add_argument("run", type=str, help="a directory that 'elinvar train' wrote")
    made.add_argument("--alphas", type=str, default=None, help="values to try, as 0,0.01,0.1; default: 0 to 0.5")
    made.add_argument("--metric", type=str, default="error", help=f"what to lower: {' or '.join(METRICS)}")
    made.add_argument(
        "--precise", type=int, default=None, metavar="N", help="also try statistics over N training images"
    )
    made.add_argument("--mix", action="store_true", help="also try the other branches of the run, and mixes of them")
    made.add_argument("--examples", type=int, default=5000, help="at most so many held-out images")
    made.add_argument("--exact", action="store_true", help=f"compute all of every image, as up to {FEW:,} images")
    made.add_argument("--out", type=str, default=None, help="where the tuned run goes; default: RUN-tuned")
    made.add_argument("--data", type=str, default=None, help="where the run's data set is now; default: where it was")
    made.add_argument("--trust", action="store_true", help="let the run's recipe.yaml run code from outside of elinvar")
    add_device(made)
    return made


def run(arguments: Sequence[str]) -> int:
    """The verb."""
    options = _options().parse_args(list(arguments))
    if options.metric not in METRICS:
        raise unknown("metric", options.metric, METRICS)
    if options.precise is not None and options.precise < 2:
        raise InputError(f"--precise: got {options.precise}, expected at least 2 images; 1,000 to 10,000 are enough")
    alphas = _alphas(options.alphas)
    source = Run(Path(options.run))
    out = Path(options.out or f"{options.run.rstrip('/')}-tuned")
    told = source.manifest().get("seeds")
    check_free(out)
    recipe = config.load(source.recipe_file, trust=options.trust)
    state = finished(source, recipe)
    numbers = {k: v for k, v in told.items() if isinstance(v, int)} if isinstance(told, dict) else {}
    seeds = Seeds(numbers.pop("base", 0), numbers)
    data = opened(options.data, source, own=True)
    recipe = replace(recipe, infer=_one_branch(chosen(recipe.infer, source)))
    branches = recipe.train.norm.branches if options.mix else (recipe.infer.branch,)
    held = held_out(source, data, options.examples, seeds, recipe.train.held_out)
    compute = Compute.choose(device(options.device), recipe.train.precision, recipe.train.channels_last)
    models = {AS_TRAINED: trained_model(recipe, data, source, compute)}
    console = progress_console()
    with bar(console) as progress:
        if options.precise is not None:
            models[PRECISE] = copy.deepcopy(models[AS_TRAINED])
            for branch in branches:
                views = training_views(recipe, branch, models[PRECISE], held.train, options.precise, seeds, compute)
                shown = _watched(progress, views, "precise statistics", None)
                measure(models[PRECISE], branch, shown, recipe, compute)
        curves = {
            name: norm.tune(
                model,
                _watched(progress, held.batches(compute.device), f"tuning, {name}", -(-len(held.split) // BATCH)),
                alphas=alphas,
                metric=options.metric,
                mix=norm.mixes(branches) if options.mix else None,
                branch=recipe.infer.branch,
                exact=options.exact or len(held.split) <= FEW,
                compute=compute,
                apply=False,
            )
            for name, model in models.items()
        }
    outcome = _chosen(curves, models, held, recipe, compute, options.metric)
    found = _found(outcome, held, options, source)
    if outcome.after is not None:
        model = models[outcome.statistics]
        write_run(out, source, recipe, model, outcome.best, state, found)
    if options.json:
        write_json({"written": None if outcome.after is None else str(out), **found})
        return 0
    output_console().print(_table(outcome, options.metric))
    for line in _told(outcome, held, options.metric):
        say(output_console(), line)
    if outcome.after is not None:
        say(console, f"written: {out}")
        say(console, f"next: elinvar evaluate {shlex.quote(str(out))}")
    return 0


def _one_branch(infer: Infer) -> Infer:
    """Tuning begins with one branch; raises `InputError` for a run that mixes several."""
    if infer.mix:
        raise InputError("infer.mix: the run mixes branches already; tune the run that it was made from, with --mix")
    return infer


def _alphas(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        found = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        found = []
    if not found:
        raise InputError(f"--alphas: got {text!r}, expected numbers in [0, 1], as in 0,0.01,0.1")
    return found


def _watched(progress: Progress, rows: Iterator[Any], title: str, total: int | None) -> Iterator[Any]:
    """`rows`, counted on the progress bar."""
    task = progress.add_task(title, total=total, note="")
    for row in rows:
        yield row
        progress.advance(task)
    progress.remove_task(task)


def _chosen(
    curves: dict[str, Tuned], models: dict[str, nn.Module], held: HeldOut, recipe: Recipe, compute: Compute, metric: str
) -> Outcome:
    """The best candidate of all, if it is better on every image and not by interpolation alone."""

    def predicted(model: nn.Module, point: Point) -> tuple[Tensor, Tensor]:
        predictor = Predictor(model, inference(recipe.infer, point), compute)
        return predictor.batches(predictor.everything(held.split, batch_size=BATCH))

    old = predicted(models[AS_TRAINED], curves[AS_TRAINED].before)
    before = scores(*old)
    name = min(curves, key=lambda name: curves[name].best.value + curves[name].best.approximation)
    best = curves[name].best
    if name == AS_TRAINED and best is curves[name].before:
        return Outcome(curves, name, best, before, None, 0.0, 0.0)
    curves[name].apply()
    new = predicted(models[name], best)
    loss = loss_of(metric)
    gains = loss(*old) - loss(*new)
    gain, error = float(gains.mean()), float(gains.std()) / len(gains) ** 0.5 if len(gains) > 1 else 0.0
    return Outcome(curves, name, best, before, scores(*new) if gain > 0 else None, gain, error)


def _found(outcome: Outcome, held: HeldOut, options: Any, source: Run) -> dict[str, Any]:
    """Everything, as plain data: for machines, and for the manifest of the tuned run."""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "run": str(source.path),
        "metric": options.metric,
        "held_out": {"examples": len(held.split), "about": held.about, "trained_on": not held.fresh},
        "precise": options.precise,
        "statistics": outcome.statistics,
        "alpha": outcome.best.alpha,
        "branches": outcome.best.weights,
        "before": asdict(outcome.before),
        "after": None if outcome.after is None else asdict(outcome.after),
        "gain": outcome.gain,
        "gain_error": outcome.gain_error,
        "curves": {
            name: {
                "evaluations": tuned.evaluations,
                "computed": list(tuned.computed),
                "points": [asdict(point) for point in tuned.curve],
            }
            for name, tuned in outcome.curves.items()
        },
    }


def _number(value: float, metric: str, sign: str = "") -> str:
    _, factor, decimals = METRICS[metric]
    return f"{round(factor * value, decimals) + 0.0:{sign}.{decimals}f}"  # + 0.0: no negative zero


def _alpha(point: Point) -> str:
    return "as it is" if point.alpha is None else f"{point.alpha:.4g}"


def _best_of_each_mix(tuned: Tuned) -> list[Point]:
    """The curve goes by mix; of equal values the one that was chosen, or the first."""
    mixes = groupby(tuned.curve, key=lambda point: point.weights)
    return [min(points, key=lambda point: (point is not tuned.best, point.value)) for _, points in mixes]


def _table(outcome: Outcome, metric: str) -> Table:
    """Every candidate; the best one in bold, with a star."""
    any_curve = next(iter(outcome.curves.values()))
    spent = sum(tuned.evaluations for tuned in outcome.curves.values())
    tried = sum(len(tuned.curve) for tuned in outcome.curves.values())
    mixed = len(any_curve.best.weights) > 1
    rough = any(point.approximation for tuned in outcome.curves.values() for point in tuned.curve)
    table = Table(
        title=Text(f"What was tried on {any_curve.examples:,} held-out images"),
        caption=Text(
            "Gain over the same statistics with all else as it was, ± one standard error, image by image. "
            f"{tried} candidates at the cost of {spent:.1f} evaluations."
            + (" Of each mix the best alpha is shown." if mixed else "")
            + (" ~ is interpolated; its error is part of that of the gain." if rough else "")
        ),
        box=rich.box.SIMPLE_HEAD, title_justify="left", caption_justify="left", title_style="bold", caption_style="",
    )  # fmt: skip
    headings = ("statistics", *(("branches",) if mixed else ()), "alpha", METRICS[metric][0], "gain", "")
    for name in headings:
        table.add_column(name, justify="left" if name in ("statistics", "branches", "") else "right")
    for name, tuned in outcome.curves.items():
        for point in _best_of_each_mix(tuned) if mixed else tuned.curve:
            best = point is outcome.best
            gain = f"{_number(point.gain, metric, '+')} ± {_number(point.gain_error, metric)}"
            value = ("~ " if point.approximation else "") + _number(point.value, metric)
            mix = (in_words(point.weights),) if mixed else ()
            cells = name, *mix, _alpha(point), value, gain, "* best" if best else ""
            table.add_row(*(Text(cell, style="bold" if best else "") for cell in cells))
    return table


def _told(outcome: Outcome, held: HeldOut, metric: str) -> list[str]:
    """Before and after, and on what."""
    lines = [f"held out: {held.about}"]
    if not held.fresh:
        lines.append(
            "  the run has seen them, and what it knows by heart needs no tuning: expect another optimum on new "
            "images; a run that was trained on a part of the split is tuned on the rest"
        )
    if outcome.after is None:
        return [*lines, "nothing is better than the run as it is; nothing was written"]
    best = outcome.best
    mix = f"branches {in_words(best.weights)}, " if len(best.weights) > 1 else ""
    lines.append(f"chosen: statistics {outcome.statistics}, {mix}alpha {_alpha(best)}; on all of these images")
    before, after = outcome.before, outcome.after
    for name, old, new in (
        ("error", f"{before.error:.2f} %", f"{after.error:.2f} %"),
        ("NLL", f"{before.nll:.4f}", f"{after.nll:.4f}"),
        ("RMS calibration error", f"{before.rms_calibration:.2f} %", f"{after.rms_calibration:.2f} %"),
    ):
        lines.append(f"  {name:<23}{old:>9} -> {new:>9}")
    gain, error = _number(outcome.gain, metric, "+"), _number(outcome.gain_error, metric)
    lines.append(f"  gain in {METRICS[metric][0]}: {gain} ± {error} (standard error, image by image)")
    return lines
