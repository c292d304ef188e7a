"""`elinvar tune`: better statistics for a trained run, without training."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.progress import Progress
from torch import nn

from .. import config, norm
from ..check import InputError, unknown
from ..data import DataSet
from ..infer import Predictor, Scores
from ..infer.judge import scores
from ..norm import Point, Tuned
from ..norm.copying import copied
from ..norm.tuning.losses import loss_of
from ..precision import Compute
from ..recipe import Infer, Recipe
from ..rng import Seeds
from ..train import Run, chosen
from ..train.loop import trained_model
from .gain import AS_TRAINED, COLUMNS, METRICS, PRECISE, Gain, Outcome, Rows
from .judging import opened
from .options import (
    Parser,
    add_device,
    add_precision,
    add_verify,
    device,
    output_console,
    parser,
    precision,
    progress_console,
    say,
    write_json,
)
from .progress import bar
from .tuned import BATCH, HeldOut, check_free, finished, held_out, inference, measure, training_views, write_run
from .tuning_text import table, told

WIDE = 120  # characters of a line that goes into a file or a pipe
FEW = 2000  # held-out images of which every candidate is computed anyway


def _options() -> Parser:
    made = parser(
        "tune",
        "Better statistics for a trained run, without training: how much an image counts in its own normalization "
        "(alpha) and, with --precise, memories measured anew, with --mix several branches averaged. Chosen on held-out "
        "images, never on the test split; says whether the run was trained on them. Shows what was tried. If the 95 % "
        "interval of the best one's gain lies above 0, writes a run for 'elinvar evaluate', and measures it again.",
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
    add_precision(made)
    add_device(made)
    add_verify(made)
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
    known = source.manifest().get("seeds")
    check_free(out)
    recipe = config.load(source.recipe_file, trust=options.trust)
    state = finished(source, recipe)
    numbers = dict(known) if isinstance(known, dict) else {}
    seeds = Seeds(numbers.pop("base", 0), numbers)
    data = opened(options.data, source, own=True, verify=options.verify)
    recipe = replace(recipe, infer=_one_branch(chosen(recipe.infer, source)))
    branches = recipe.train.norm.branches if options.mix else (recipe.infer.branch,)
    held = held_out(source, data, options.examples, seeds, recipe.train.held_out)
    compute = Compute.choose(device(options.device), precision(options), recipe.train.channels_last)
    models = {AS_TRAINED: trained_model(recipe, data, source, compute)}
    console = progress_console()
    with bar(console) as progress:
        if options.precise is not None:
            models[PRECISE] = copied(models[AS_TRAINED])
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
                beside=[name for name in COLUMNS if name != options.metric],
                mix=norm.mixes(branches) if options.mix else None,
                branch=recipe.infer.branch,
                exact=options.exact or len(held.split) <= FEW,
                compute=compute,
                apply=False,
            )
            for name, model in models.items()
        }
    outcome = _chosen(curves, models, held, recipe, compute, options.metric)
    found, left = _found(outcome, held, options, source), None
    if outcome.supported:
        model = models[outcome.statistics]
        write_run(out, source, recipe, model, outcome.best, state, found)
        left = _left(Run(out), data, held, compute, trust=options.trust)
    if options.json:
        after = None if left is None else asdict(left)
        write_json({"written": str(out) if outcome.supported else None, "measured_again": after, **found})
        return 0
    output = output_console()
    if not output.is_terminal:
        output.width = max(output.width, WIDE)
    output.print(table(outcome, held, options.metric))
    for line in told(outcome, held, left, options.metric):
        say(output, line)
    if outcome.supported:
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
    """The best candidate of all, measured on every image, not by interpolation alone."""

    def predicted(model: nn.Module, point: Point) -> list[Rows]:
        predictor = Predictor(model, inference(recipe.infer, point), compute)
        splits = [held.split] if held.other is None else [held.split, held.other]
        return [predictor.batches(predictor.everything(split, batch_size=BATCH)) for split in splits]

    old = predicted(models[AS_TRAINED], curves[AS_TRAINED].before)
    name = min(curves, key=lambda name: curves[name].best.value + curves[name].best.approximation)
    best, before = curves[name].best, scores(*old[0])
    if name == AS_TRAINED and best is curves[name].before:
        return Outcome(curves, name, best, before)
    curves[name].apply(anyway=True)
    new, loss = predicted(models[name], best), loss_of(metric)
    gains = [Gain.of(*pair, loss) for pair in zip(old, new, strict=True)]
    measured = float(loss(*new[0]).mean())
    return Outcome(curves, name, best, before, gains[0], measured, gains[1] if len(gains) > 1 else None)


def _left(run: Run, data: DataSet, held: HeldOut, compute: Compute, *, trust: bool) -> Scores:
    """What was written, read again and measured on the images that chose it."""
    recipe = config.load(run.recipe_file, trust=trust)
    predictor = Predictor(trained_model(recipe, data, run, compute), chosen(recipe.infer, run), compute)
    return scores(*predictor.batches(predictor.everything(held.split, batch_size=BATCH)))


def _found(outcome: Outcome, held: HeldOut, options: Any, source: Run) -> dict[str, Any]:
    """Everything, as plain data: for machines, and for the manifest of the tuned run."""
    gain = outcome.gain
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "run": str(source.path),
        "metric": options.metric,
        "held_out": {"examples": len(held.split), "about": held.about, "trained_on": not held.fresh},
        "precise": options.precise,
        "precision": options.precision,
        "statistics": outcome.statistics,
        "alpha": outcome.best.alpha,
        "branches": outcome.best.weights,
        "before": asdict(outcome.before),
        "after": asdict(gain.after) if gain is not None and outcome.supported else None,
        "gain": 0.0 if gain is None else gain.mean,
        "gain_error": 0.0 if gain is None else gain.error,
        "interval": None if gain is None else list(gain.interval),
        "supported": outcome.supported,
        "others": None if outcome.others is None else outcome.others.to_dict(),
        "curves": {
            name: {
                "evaluations": tuned.evaluations,
                "computed": list(tuned.computed),
                "points": [asdict(point) for point in tuned.curve],
            }
            for name, tuned in outcome.curves.items()
        },
    }
