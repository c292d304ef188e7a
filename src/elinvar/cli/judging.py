"""One model of a command line, judged: a run, a file of weights, or anything importable."""

import shlex
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress, TaskID

from .. import config, shift
from ..check import InputError
from ..data import DATASETS, DataSet, match_classes, read_corrupted, read_perturbed
from ..data.generating import Generator
from ..data.matching import SUBSET_OPTION, few, some_classes
from ..infer import (
    AttackPlan,
    CorruptedImages,
    Entrant,
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
from ..precision import Compute
from ..recipe import Infer
from ..report import RunResult, SampleSheet, sample_grid
from ..train import Run, matched
from ..train import evaluate as judge_run
from ..train.evaluate import predictor
from . import candidates
from .candidates import Candidate, Making
from .options import device, load, numbers, precision, tell
from .pictures import examples

NAMING = str.maketrans({"=": "", ",": "-", " ": ""})  # of shares of branches in names of recipes and folders


class SetsBar(Observer):
    """Shows how many sets of images are predicted, and moves within a set that takes long."""

    def __init__(self, progress: Progress, title: str) -> None:
        self.progress, self.title = progress, title
        self.task: TaskID | None = None
        self.sets = self.left = 0
        self.at = 0.0

    def begin(self, sets: int) -> None:
        self.sets, self.left, self.at = sets, sets, 0.0
        self.task = self.progress.add_task(self.title, total=sets, note="")

    def within(self, name: str, done: int, of: int) -> None:
        self._move(done / of, f"{name} {done}/{of}")

    def _move(self, part: float, note: str) -> None:
        """Never backwards: a set may come in two parts, each of which counts from 0."""
        assert self.task is not None
        self.at = max(self.at, self.sets - self.left + part)
        self.progress.update(self.task, completed=self.at, note=note)

    def done(self, name: str) -> None:
        assert self.task is not None
        self.left -= 1
        self._move(0.0, name)
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
def loaded(spec: str, size: int | None, verify: bool = False) -> DataSet:
    return load(spec, size=size, verify=verify)


@cache
def _images(data: DataSet, corrupted: str | None, how: Generator, verify: bool) -> CorruptedImages:
    if corrupted is None:
        return Generated(data.test, how)
    stored = None if data.match is None else data.match.stored
    files = read_corrupted(Path(corrupted), classes=data.classes, clean=data.test, stored=stored, verify=verify)
    return Published(files)


@cache
def _sequences(data: DataSet, perturbed: str | None, how: Generator, verify: bool) -> PerturbedImages:
    if perturbed is None:
        return GeneratedFrames(data.test, how)
    return PublishedFrames(read_perturbed(Path(perturbed), classes=data.classes, clean=data.test, verify=verify))


@cache
def _sample_sheet(data: DataSet, images: CorruptedImages) -> SampleSheet:
    """A few test images under every corruption, as the models saw them."""
    some = examples(data.test, 5)

    def under(name: str, severity: int) -> torch.Tensor:
        return next(iter(images.batches(name, severity, len(some), torch.device("cpu"), some.index))).images

    corrupted = {name: torch.stack([under(name, level) for level in SEVERITIES]) for name in shift.CORRUPTIONS}
    return sample_grid(some.images, corrupted)


def opened(
    spec: str | None,
    run: Run,
    size: int | None = None,
    *,
    subset: bool = False,
    own: bool = False,
    verify: bool = False,
) -> DataSet:
    """The data set `spec`, or that of the run, with the class numbers of the run; each is read once.

    size          None: that of the run
    subset, own   see `matched`
    """
    data = _found(spec, run, size, verify)
    found = matched(run, data, subset=subset, own=own)
    tell(found.notes[len(data.notes) :])
    return found


def _found(spec: str | None, run: Run, size: int | None, verify: bool) -> DataSet:
    told = run.manifest().get("origin")
    origin = told if isinstance(told, dict) else {}
    spec = origin.get("spec") if spec is None else spec
    if not isinstance(spec, str):
        raise InputError(f"{run.path}: its manifest does not say what it was trained on; name it with --data")
    kind = DATASETS.get(spec.partition(":")[0])
    if size is None and kind is not None and kind.sized:
        size = origin["size"] if isinstance(origin.get("size"), int) else None
    return loaded(spec, size, verify)


@dataclass(frozen=True)
class Wanted:
    """What is asked of every model of a command line."""

    options: Any
    suites: list[str]
    plan: AttackPlan | None
    generator: Generator

    def how(self, data: DataSet) -> dict[str, Any]:
        """The arguments of `record` about these images."""
        options = self.options
        return {
            "suites": self.suites,
            "images": _images(data, options.corrupted, self.generator, options.verify),
            "sequences": _sequences(data, options.perturbed, self.generator, options.verify),
            "attacks": self.plan,
            "fresh": options.fresh,
        }


@dataclass(frozen=True)
class Judged:
    """A judged model, where its page goes, and what is to be told of its classes.

    The model itself is kept only where black boxes may need it again.
    """

    result: RunResult
    page: Path
    data: DataSet
    entrant: Entrant | None
    samples: SampleSheet | None = None
    notes: tuple[str, ...] = ()


def judged(source: str, wanted: Wanted, progress: Progress, branch: str | None = None) -> Judged:
    """Judge what a word of the command line names, by its own inference rule or by `branch`.

    Raises `InputError` for what cannot be judged.
    """
    other = candidates.is_weights(source) or candidates.is_importable(source)
    if other and branch is not None:
        raise InputError(f"--branch {branch}: is for runs, and {source} is none")
    made = _other(source, wanted, progress) if other else _run(Run(Path(source)), wanted, progress, branch)
    options, data = wanted.options, made.data
    if made.result.evaluation.shift is None:
        return made
    images = _images(data, options.corrupted, wanted.generator, options.verify)
    return replace(made, samples=_sample_sheet(data, images))


def _inference(branch: str) -> Infer:
    """`aux`, or `main=0.5,aux=0.5`."""
    if "=" not in branch:
        return Infer(branch=branch)
    parts = [part.partition("=") for part in branch.split(",")]
    try:
        shares = {name.strip(): float(share) for name, _, share in parts}
    except ValueError as error:
        raise InputError(f"--branch: got {branch!r}, expected a branch, or shares as in main=0.5,aux=0.5") from error
    return Infer(mix=shares)


def _run(run: Run, wanted: Wanted, progress: Progress, branch: str | None) -> Judged:
    """Judge a run of `elinvar train`."""
    options = wanted.options
    data = opened(options.data, run, options.size, subset=options.subset_of_classes, verify=options.verify)
    recipe = config.load(run.recipe_file, trust=options.trust)
    compute = Compute.choose(device(options.device), precision(options), recipe.train.channels_last)
    folder = run.path
    if branch is not None:
        recipe = replace(recipe, name=f"{recipe.name}-{branch}".translate(NAMING), infer=_inference(branch))
        folder = run.path / "branches" / branch.translate(NAMING)
    predicts, watch = predictor(run, recipe, data, compute), SetsBar(progress, run.path.name)
    found = judge_run(run, recipe, data, compute, judged=predicts, observer=watch, folder=folder, **wanted.how(data))
    entrant = Entrant(predicts, folder, found) if wanted.plan is not None else None
    return Judged(result(run, found), folder / run.report_file.name, data, entrant)


def _matched_with(made: Candidate, data: DataSet, source: str, *, subset: bool) -> tuple[DataSet, tuple[str, ...]]:
    """The data with the class numbers of a model that is no run, as far as the model names its classes; what to tell.

    Models may say in English what folders say in codes: names of which none is the same are told, and not compared.
    """
    if made.classes is not None and (set(made.classes) & set(data.classes) or subset):
        found = match_classes(data, made.classes, whose=source, subset=subset)
        return found, found.notes[len(data.notes) :]
    if subset:
        raise InputError(f"{SUBSET_OPTION}: {source} does not say what its classes are called; judge it on all of them")
    names = "" if made.classes is None else f", which it calls {few(made.classes)},"
    order = f"in the order of the classes of {data.name}: {few(data.classes)}"
    return data, (f"{source}: its outputs{names} are taken {order}",)


def _other(source: str, wanted: Wanted, progress: Progress) -> Judged:
    """Judge a model that is no run."""
    options = wanted.options
    if options.data is None:
        raise InputError(f"{source}: name what it is judged on, as in --data cifar10:DIR")
    data = loaded(options.data, options.size, options.verify)
    how = Making(
        model=options.model,
        options=candidates.assignments(options.option),
        mean=None if options.mean is None else numbers("--mean", options.mean),
        std=None if options.std is None else numbers("--std", options.std),
        key=options.weights_key,
        outputs=options.outputs,
    )
    weights = candidates.is_weights(source)
    made = candidates.from_weights(Path(source), data, how) if weights else candidates.from_import(source, data, how)
    data, notes = _matched_with(made, data, source, subset=options.subset_of_classes)
    candidate = candidates.named(made, options.name)
    if data.outputs is not None:
        candidate = replace(candidate, about={**candidate.about, "classes": some_classes(data)})
    compute = Compute.choose(device(options.device), precision(options))
    folder, predicts = Path(options.out) / candidate.name, candidates.predictor(candidate, data, compute)
    found = record(
        predicts, data, folder, name=candidate.name, about=candidate.about,
        observer=SetsBar(progress, Path(source).name), **wanted.how(data),
    )  # fmt: skip
    manifest = {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "model": describe(candidate.model).to_dict(),
        "compute": {"device": str(compute.device), "dtype": compute.precision},
    }
    shown = RunResult(name=candidate.name, seed=None, evaluation=found, manifest=manifest)
    entrant = Entrant(predicts, folder, found) if wanted.plan is not None else None
    return Judged(shown, folder / "report.html", data, entrant, notes=notes)
