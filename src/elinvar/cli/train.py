"""`elinvar train`: one run of a recipe, in its own directory, resumable."""

from collections.abc import Sequence
from pathlib import Path

import torch

from .. import config
from ..check import InputError
from ..precision import Compute
from ..recipe import Recipe
from ..recipes import recipe as named_recipe
from ..train import Run, fit
from .options import (
    add_device,
    add_size,
    add_verify,
    data_forms,
    device,
    load,
    parser,
    progress_console,
    say,
    seeds,
    write_json,
)
from .progress import RunBar, bar


def chosen(name: str, overrides: Sequence[str], *, trust: bool) -> Recipe:
    """A recipe by name, or from a YAML file, with overrides."""
    path = Path(name)
    base = config.load(path, trust=trust) if path.suffix in (".yaml", ".yml") else named_recipe(name)
    return config.override(base, overrides) if overrides else base


def run(arguments: Sequence[str]) -> int:
    """The verb."""
    made = parser(
        "train",
        "Train a recipe on a data set. The same command again continues an interrupted run, to the same bits, and "
        "leaves a finished one alone.",
        "elinvar train augmix --data cifar10:DIR --set train.epochs=30 --set model.name=wrn-16-2 --out runs/augmix",
    )
    made.add_argument("recipe", type=str, help="a name from 'elinvar list', or a recipe.yaml")
    made.add_argument("--data", type=str, default="digits", help=data_forms())
    made.add_argument("--download", action="store_true", help="fetch the data set if DIR does not hold it")
    add_size(made)
    add_verify(made)
    made.add_argument("--set", action="append", type=str, default=[], metavar="PATH=VALUE", help="replace any leaf")
    made.add_argument("--seed", type=int, default=0, help="seed of every source of randomness")
    made.add_argument(
        "--seed-of", action="append", type=str, default=[], metavar="SOURCE=NUMBER", help="another seed for one source"
    )
    made.add_argument("--out", type=str, default=None, help="the run's directory; default: runs/RECIPE-DATA-SEED")
    made.add_argument("--checkpoint-seconds", type=float, default=30.0, help="time between two checkpoints")
    made.add_argument("--trust", action="store_true", help="let a recipe.yaml run code from outside of elinvar")
    made.add_argument("--threads", type=int, default=None, help="processor threads; default: all cores")
    add_device(made)
    options = made.parse_args(list(arguments))

    if options.threads is not None:
        if options.threads < 1:
            raise InputError(f"--threads: got {options.threads}, expected at least 1")
        torch.set_num_threads(options.threads)
    recipe = chosen(options.recipe, options.set, trust=options.trust)
    data = load(options.data, size=options.size, download=options.download, verify=options.verify)
    out = Path(options.out or f"runs/{recipe.name}-{data.name}-{options.seed}")
    compute = Compute.choose(device(options.device), recipe.train.precision, recipe.train.channels_last)
    console = progress_console()
    with bar(console) as progress:
        trained = fit(
            recipe,
            data,
            Run(out),
            seeds=seeds(options.seed, options.seed_of),
            compute=compute,
            observer=RunBar(progress, f"{recipe.name} on {data.name}"),
            checkpoint_seconds=options.checkpoint_seconds,
            origin={"spec": options.data, "size": options.size},
        )
    rows = Run(out).metrics()
    if not rows:
        raise InputError(f"{out}: the log of this finished run is gone; its checkpoint is there")
    last = rows[-1]
    if options.json:
        write_json({"run": str(out), "trained": trained, **last})
    else:
        state = "trained" if trained else "already finished"
        say(
            console,
            f"{out}: {state}, {last['epoch']} epochs, clean test error {last['test_error']:.2f} %"
            f" on {len(data.test):,} images",
        )
        say(console, f"next: elinvar evaluate {out}")
    return 0
