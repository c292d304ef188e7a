"""`elinvar evaluate`: judge runs, files of weights and importable models, clean and under shift, and write a report."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress, TaskID

from .. import config, shift
from ..check import InputError
from ..data import DataSet, load, read_corrupted, read_perturbed
from ..infer import (
    DEFAULT,
    SUITES,
    CorruptedImages,
    Evaluation,
    Generated,
    GeneratedFrames,
    Observer,
    PerturbedImages,
    Published,
    PublishedFrames,
    record,
)
from ..infer.images import SEVERITIES
from ..models.description import describe
from ..precision import Compute, Precision
from ..report import RunResult, SampleSheet, headline, sample_grid, write_report
from ..train import Run
from ..train import evaluate as judge_run
from . import candidates
from .candidates import Making
from .options import (
    Parser,
    add_device,
    add_frost,
    device,
    frost,
    numbers,
    output_console,
    parser,
    progress_console,
    say,
    words,
    write_json,
)
from .pictures import examples
from .progress import bar


class SetsBar(Observer):
    """Shows how many sets of images are predicted."""

    def __init__(self, progress: Progress, title: str) -> None:
        self.progress, self.title = progress, title
        self.task: TaskID | None = None
        self.left = 0

    def begin(self, sets: int) -> None:
        self.left = sets
        self.task = self.progress.add_task(self.title, total=sets, note="")

    def within(self, name: str, done: int, of: int) -> None:
        assert self.task is not None
        self.progress.update(self.task, note=f"{name} {done}/{of}")

    def done(self, name: str) -> None:
        assert self.task is not None
        self.progress.update(self.task, advance=1, note=name)
        self.left -= 1
        if not self.left:
            self.progress.remove_task(self.task)


def result(run: Run, evaluation: Evaluation) -> RunResult:
    """A run and its evaluation, as the report wants them."""
    return RunResult(
        name=evaluation.recipe,
        seed=evaluation.seed,
        evaluation=evaluation,
        metrics=run.metrics(),
        manifest=run.manifest(),
        recipe_yaml=run.recipe_file.read_text(encoding="utf-8"),
    )


@cache
def _load(spec: str, size: int | None) -> DataSet:
    return load(spec, size=size)


@cache
def _images(data: DataSet, corrupted: str | None, frost_dir: str | None) -> CorruptedImages:
    if corrupted is None:
        return Generated(data.test, frost(frost_dir))
    if frost_dir is not None:
        raise InputError("--frost-dir: is for images that are generated; the files of --corrupted have their frost")
    return Published(read_corrupted(Path(corrupted), classes=data.classes, clean=data.test))


@cache
def _sequences(data: DataSet, perturbed: str | None) -> PerturbedImages:
    if perturbed is None:
        return GeneratedFrames(data.test)
    return PublishedFrames(read_perturbed(Path(perturbed), classes=data.classes, clean=data.test))


@cache
def _samples(data: DataSet, images: CorruptedImages) -> SampleSheet:
    """A few test images under every corruption, as the models saw them."""
    some = examples(data.test, 5)

    def under(name: str, severity: int) -> torch.Tensor:
        return next(iter(images.batches(name, severity, len(some), torch.device("cpu"), some.index))).images

    corrupted = {name: torch.stack([under(name, level) for level in SEVERITIES]) for name in shift.CORRUPTIONS}
    return sample_grid(some.images, corrupted)


def opened(spec: str | None, run: Run, size: int | None = None) -> DataSet:
    """The data set `spec`, or that of the run; each is read once."""
    origin = run.manifest().get("origin")
    if spec is not None:
        return _load(spec, size)
    if isinstance(origin, dict) and isinstance(origin.get("spec"), str):
        size = origin.get("size")
        return _load(origin["spec"], size if isinstance(size, int) else None)
    raise InputError(f"{run.path}: its manifest does not say what it was trained on; name it with --data")


def _parser() -> Parser:
    made = parser(
        "evaluate",
        "Judge models, clean and under corruptions at 5 severities: runs of elinvar, files of weights (--model says of "
        "what), or anything importable. Writes evaluation.json, predictions.safetensors, a file for each corruption "
        "and report.html into each run, or into OUT/NAME for other models; several get one report that compares them. "
        "The same command again goes on after an interruption.",
        "elinvar evaluate runs/standard-* runs/augmix-* --report compare.html; or: elinvar evaluate weights.pt --model "
        "wrn-40-2 --data cifar10:DIR --corrupted CIFAR-10-C; or: elinvar evaluate torchvision.models:resnet50 --option "
        "weights=DEFAULT --data folder:DIR",
    )
    made.add_argument(
        "runs", type=str, nargs="+",
        help="directories that 'elinvar train' wrote, files of weights (.safetensors, .pt), or package.module:factory",
    )  # fmt: skip
    made.add_argument(
        "--suites",
        type=str,
        default=",".join(DEFAULT),
        help=f"any of {', '.join(SUITES)}; 'elinvar list suite' explains",
    )
    made.add_argument("--data", type=str, default=None, help="judge on another data set; default: that of the run")
    made.add_argument("--size", type=int, default=None, help="side of the images that --data folder:DIR is read at")
    made.add_argument(
        "--corrupted", type=str, default=None, metavar="DIR",
        help="corrupted images from files: CIFAR-10-C, CIFAR-100-C, ImageNet-C, or what 'elinvar corrupt' wrote; "
        "default: they are generated",
    )  # fmt: skip
    made.add_argument(
        "--perturbed", type=str, default=None, metavar="DIR",
        help="perturbation sequences from files: CIFAR-10-P or ImageNet-P; default: they are generated",
    )  # fmt: skip
    add_frost(made)
    made.add_argument("--report", type=str, default=None, help="where the report goes; default: report.html beside it")
    made.add_argument("--trust", action="store_true", help="let a run's recipe.yaml run code from outside of elinvar")
    made.add_argument("--fresh", action="store_true", help="predict again what an earlier evaluation has kept")
    made.add_argument("--model", type=str, default=None, help="weights: their model, by name or package.module:factory")
    made.add_argument(
        "--option", action="append", type=str, default=[], metavar="NAME=VALUE", help="an option of that model"
    )
    made.add_argument(
        "--mean", type=str, default=None, metavar="R,G,B",
        help="other models: subtracted from their images, which are in [0, 1]; default: the mean of the data set; "
        "0,0,0 and --std 1,1,1 for a model that standardizes its images itself",
    )  # fmt: skip
    made.add_argument(
        "--std", type=str, default=None, metavar="R,G,B", help="other models: what their images are then divided by"
    )
    made.add_argument("--name", type=str, default=None, help="another model's name in the report")
    made.add_argument("--out", type=str, default="runs/evaluated", help="where other models' findings go")
    made.add_argument("--precision", type=str, default="float32", help="other models: float32, bfloat16 or auto")
    add_device(made)
    return made


def _other(source: str, options: Any, watch: SetsBar, suites: Sequence[str]) -> tuple[RunResult, Path]:
    """Judge a model that is no run."""
    if options.data is None:
        raise InputError(f"{source}: name what it is judged on, as in --data cifar10:DIR")
    data = _load(options.data, options.size)
    how = Making(
        model=options.model,
        options=candidates.assignments(options.option),
        mean=None if options.mean is None else numbers("--mean", options.mean),
        std=None if options.std is None else numbers("--std", options.std),
    )
    weights = candidates.is_weights(source)
    made = candidates.from_weights(Path(source), data, how) if weights else candidates.from_import(source, data, how)
    candidate = candidates.named(made, options.name)
    compute = Compute.choose(device(options.device), Precision(options.precision))
    folder = Path(options.out) / candidate.name
    found = record(
        candidates.predictor(candidate, data, compute), data, folder, name=candidate.name, about=candidate.about,
        suites=suites, observer=watch, images=_images(data, options.corrupted, options.frost_dir),
        sequences=_sequences(data, options.perturbed), fresh=options.fresh,
    )  # fmt: skip
    manifest = {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "model": describe(candidate.model).to_dict(),
        "compute": {"device": str(compute.device), "dtype": str(compute.dtype)},
    }
    return RunResult(name=candidate.name, seed=None, evaluation=found, manifest=manifest), folder


def run(arguments: Sequence[str]) -> int:
    """The verb."""
    options = _parser().parse_args(list(arguments))
    if options.precision not in set(Precision):
        raise InputError(f"--precision: got {options.precision!r}, expected {', '.join(Precision)}")
    if options.name is not None and len(options.runs) > 1:
        raise InputError(f"--name: names one model, and {len(options.runs)} are given")
    console, where, suites = progress_console(), device(options.device), words(options.suites)
    results: list[RunResult] = []
    sheet: SampleSheet | None = None
    with bar(console) as progress:
        for source in options.runs:
            if candidates.is_weights(source) or candidates.is_importable(source):
                watch = SetsBar(progress, Path(source).name)
                found, folder = _other(source, options, watch, suites)
                data = _load(options.data, options.size)
                page = folder / "report.html"
            else:
                run = Run(Path(source))
                data = opened(options.data, run, options.size)
                recipe = config.load(run.recipe_file, trust=options.trust)
                compute = Compute.choose(where, recipe.train.precision, recipe.train.channels_last)
                evaluation = judge_run(
                    run, recipe, data, compute, suites=suites, observer=SetsBar(progress, run.path.name),
                    images=_images(data, options.corrupted, options.frost_dir),
                    sequences=_sequences(data, options.perturbed), fresh=options.fresh,
                )  # fmt: skip
                found, page = result(run, evaluation), run.report_file
            if any(other.name == found.name and other.seed is None for other in results):
                raise InputError(f"two models are called {found.name}; judge them one by one, with --name")
            results.append(found)
            shifted = found.evaluation.shift is not None
            sheet = _samples(data, _images(data, options.corrupted, options.frost_dir)) if shifted else None
            write_report(page, results[-1:], samples=sheet)
    if options.report is not None:
        write_report(Path(options.report), results, samples=sheet)
    if options.json:
        write_json([asdict(item.evaluation) for item in results])
    else:
        output_console().print(headline(results).to_rich())
        say(console, f"report: {options.report or page}")
    return 0
