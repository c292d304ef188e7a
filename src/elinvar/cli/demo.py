"""`elinvar demo`: the main job on the embedded data, in minutes, with a verdict."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..augment import PadCrop
from ..check import InputError
from ..data import load
from ..infer import Evaluation
from ..precision import Compute
from ..recipe import Model, Recipe
from ..recipes import augmix, standard
from ..report import headline, write_report
from ..rng import Seeds
from ..train import Run, evaluate, fit
from .judging import SetsBar, result
from .options import add_device, device, output_console, parser, progress_console, say, write_json
from .pictures import sample_sheet
from .progress import RunBar, bar


def small(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe at the scale of digits: a small network, few epochs, and no flips, which would make other digits."""
    train = replace(recipe.train, epochs=epochs, batch_size=64, shared=(PadCrop(4),), evaluate_every=3)
    return replace(recipe, model=Model(name="wrn-10-1"), train=train)


def run(arguments: Sequence[str]) -> int:
    """The verb."""
    made = parser(
        "demo",
        "Train standard and augmix on scikit-learn's handwritten digits, judge them clean and under 15 corruptions, "
        "and write a report. Run it again to continue where it stopped.",
        "elinvar demo --seeds 3 --out runs/demo",
    )
    made.add_argument("--seeds", type=int, default=3, help="runs of each recipe")
    made.add_argument("--epochs", type=int, default=12, help="epochs of each run")
    made.add_argument("--out", type=str, default="runs/demo", help="where runs and the report go")
    add_device(made)
    options = made.parse_args(list(arguments))
    if options.seeds < 1:
        raise InputError(f"--seeds: got {options.seeds}, expected at least 1")

    console, where, data = progress_console(), device(options.device), load("digits")
    results = []
    with bar(console) as progress:
        for recipe in (small(standard(), options.epochs), small(augmix(), options.epochs)):
            compute = Compute.choose(where, recipe.train.precision, recipe.train.channels_last)
            for seed in range(options.seeds):
                run = Run(Path(options.out) / f"{recipe.name}-{seed}")
                watch = RunBar(progress, f"{recipe.name}, seed {seed}")
                trained = fit(
                    recipe, data, run, seeds=Seeds(seed), compute=compute, observer=watch, origin={"spec": "digits"}
                )
                watch.close()
                found = None if trained or not run.evaluation_file.exists() else Evaluation.read(run.evaluation_file)
                if found is None or found.shift is None:
                    bar_of_sets = SetsBar(progress, f"{recipe.name}, seed {seed}")
                    found = evaluate(run, recipe, data, compute, observer=bar_of_sets)
                results.append(result(run, found))
                assert found.shift is not None
                say(
                    console,
                    f"{recipe.name:<9} seed {seed}   clean error {found.clean.error:5.2f} %   "
                    f"mean corruption error {found.shift.mean['error']:5.2f} %",
                )
    report = Path(options.out) / "report.html"
    write_report(report, results, samples=sample_sheet(data.test))
    if options.json:
        write_json([item.evaluation.to_dict() for item in results])
    else:
        output_console().print(headline(results).to_rich())
        say(console, f"report: {report}")
    return 0
