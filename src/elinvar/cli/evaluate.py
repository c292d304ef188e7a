"""`elinvar evaluate`: judge runs, clean and under shift, and write a report."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

from rich.progress import Progress, TaskID

from .. import config
from ..check import InputError
from ..data import DataSet, load
from ..infer import SUITES, Evaluation
from ..infer.judge import Observer
from ..precision import Compute
from ..report import RunResult, SampleSheet, headline, write_report
from ..train import Run
from ..train import evaluate as judge_run
from .options import add_device, device, output_console, parser, progress_console, say, write_json
from .pictures import sample_sheet
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
def _samples(data: DataSet) -> SampleSheet:
    return sample_sheet(data.test)


def opened(spec: str | None, run: Run) -> DataSet:
    """The data set `spec`, or that of the run; each is read once."""
    origin = run.manifest().get("origin")
    if spec is not None:
        return _load(spec, None)
    if isinstance(origin, dict) and isinstance(origin.get("spec"), str):
        size = origin.get("size")
        return _load(origin["spec"], size if isinstance(size, int) else None)
    raise InputError(f"{run.path}: its manifest does not say what it was trained on; name it with --data")


def run(arguments: Sequence[str]) -> int:
    """The verb."""
    made = parser(
        "evaluate",
        "Judge trained runs, clean and under 15 corruptions at 5 severities. Writes evaluation.json, "
        "predictions.safetensors and report.html into each run; several runs get one report that compares them.",
        "elinvar evaluate runs/standard-* runs/augmix-* --report compare.html",
    )
    made.add_argument("runs", type=str, nargs="+", help="directories that 'elinvar train' wrote")
    made.add_argument("--suites", type=str, default=",".join(SUITES), help=f"any of {', '.join(SUITES)}")
    made.add_argument("--data", type=str, default=None, help="judge on another data set; default: that of the run")
    made.add_argument("--report", type=str, default=None, help="where the report goes; default: RUN/report.html")
    made.add_argument("--trust", action="store_true", help="let a run's recipe.yaml run code from outside of elinvar")
    add_device(made)
    options = made.parse_args(list(arguments))

    console, where = progress_console(), device(options.device)
    suites = [suite.strip() for suite in options.suites.split(",") if suite.strip()]
    results = []
    with bar(console) as progress:
        for path in map(Path, options.runs):
            run = Run(path)
            data = opened(options.data, run)
            recipe = config.load(run.recipe_file, trust=options.trust)
            compute = Compute.choose(where, recipe.train.precision, recipe.train.channels_last)
            watch = SetsBar(progress, path.name)
            found = judge_run(run, recipe, data, compute, suites=suites, observer=watch)
            results.append(result(run, found))
            write_report(run.report_file, results[-1:], samples=_samples(data) if found.shift else None)
    if options.report is not None:
        write_report(Path(options.report), results, samples=_samples(data) if found.shift else None)
    if options.json:
        write_json([asdict(item.evaluation) for item in results])
    else:
        output_console().print(headline(results).to_rich())
        say(console, f"report: {options.report or Run(path).report_file}")
    return 0
