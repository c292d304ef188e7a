"""Epochs of steps, from a recipe to a finished run directory, resumable at any moment to the same bits.

Everything random is keyed by (seed, epoch, example), so a checkpoint holds no generator: weights, memory, optimizer
and the position in the run are all there is.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from torch import nn

from .. import metrics, models, norm
from ..check import InputError
from ..data import DataSet, Split, epoch_order, hold_out
from ..infer.predict import Predictor
from ..models.constants import with_own_constants
from ..precision import Compute
from ..recipe import Infer, Recipe
from ..rng import Seeds, Source
from . import checkpoint
from .checkpoint import Checkpoint, Progress
from .choice import candidates, choose
from .classes import as_read_then, require_matched
from .ema import WeightEma, evaluated
from .manifest import manifest
from .run import Run
from .step import Report, Step


class Observer:
    """Watches a run; this one looks away. Subclasses show progress."""

    def begin(self, steps: int, done: int) -> None:
        """The run has `steps` steps, `done` of which an earlier process did."""

    def step(self, report: Report) -> None:
        """One more step is done."""

    def epoch(self, row: dict[str, Any]) -> None:
        """One more epoch is done; `row` is its line in the log."""


def build_model(recipe: Recipe, data: DataSet, seeds: Seeds, *, tell: bool = False) -> nn.Module:
    """The model for `data`: initialized by the seed of `Source.INIT`, converted to the recipe's norm policy.

    Pretrained weights that say by which constants they standardize images keep these; `tell` warns where they differ
    from those of `data`.
    """
    model = models.build(
        recipe.model.name,
        classes=len(data.model_classes),
        mean=data.mean,
        std=data.std,
        in_channels=data.train.shape[0],
        options=recipe.model.options,
        seed=seeds.key(Source.INIT) % 2**32,  # torch's generator reads no more of it
    )
    model = with_own_constants(model, recipe.model.name, recipe.model.options, tell=tell)
    return norm.convert(model, recipe.train.norm)


class Training:
    """One run under way: the state that a checkpoint holds, and the loop that moves it."""

    def __init__(
        self, recipe: Recipe, data: DataSet, run: Run, seeds: Seeds, compute: Compute, checkpoint_seconds: float
    ) -> None:
        self.recipe, self.data, self.run, self.seeds, self.compute = recipe, data, run, seeds, compute
        self.model = compute.place(build_model(recipe, data, seeds, tell=True)).train()
        self.optimizer = recipe.train.optimizer.build(self.model)
        self.step = Step(self.model, recipe.train, self.optimizer, seeds, compute)
        self.peaks = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.ema = None if recipe.train.ema is None else WeightEma(self.model, recipe.train.ema)
        self.examples, self.held_out = hold_out(data.train, recipe.train.held_out)
        self.steps_per_epoch = -(-len(self.examples) // recipe.train.batch_size)
        self.progress = Progress()
        self.checkpoint_seconds, self.saved_at = checkpoint_seconds, time.monotonic()

    def restore(self) -> None:
        """Continue from the run's newest checkpoint, if it has one."""
        found = checkpoint.read(self.run.checkpoints)
        if found is not None:
            checkpoint.load_into(self.model, found.weights, source=self.run.checkpoints)
            checkpoint.load_into(self.step.objective, found.objective, source=self.run.checkpoints)
            try:
                self.optimizer.load_state_dict(found.optimizer)
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                raise InputError(f"{self.run.checkpoints}: the optimizer's state does not fit ({error})") from error
            if self.ema is not None and found.ema is not None:
                self.ema.restore(found.ema, found.progress.ema_steps)
            elif self.ema is not None and found.progress.epoch < self.recipe.train.epochs:
                raise InputError(f"{self.run.checkpoints}: lacks ema.safetensors, the averaged weights; train anew")
            self.progress = found.progress
        self.run.cut_log(self.progress.log_bytes)

    def save(self) -> None:
        """Write a checkpoint of this moment."""
        checkpoint.save(
            self.run.checkpoints,
            Checkpoint(
                weights=self.model.state_dict(),
                optimizer=self.optimizer.state_dict(),
                progress=self.progress,
                objective=self.step.objective.state_dict(),
                ema=None if self.ema is None else self.ema.state,
            ),
        )
        self.saved_at = time.monotonic()

    def due(self) -> bool:
        """Whether the last checkpoint is old enough for another."""
        return time.monotonic() - self.saved_at >= self.checkpoint_seconds

    def run_epoch(self, observer: Observer) -> None:
        """The steps of the epoch under way that are still to do, and its line in the log."""
        train, start, began = self.recipe.train, self.progress, time.perf_counter()
        epoch, sums = start.epoch, dict(start.sums)
        order = epoch_order(len(self.examples), self.seeds, epoch)
        total_steps = train.epochs * self.steps_per_epoch
        for batch in self.examples.batches(
            order,
            train.batch_size,
            device=self.compute.device,
            start=start.in_epoch,
            key=self.seeds.key(Source.AUGMENT, epoch, "read"),
        ):
            number = self.progress.step
            factor = train.schedule.factor(number, total_steps, self.steps_per_epoch)
            for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
                group["lr"] = peak * factor
            report = self.step(batch, epoch=epoch, number=number)
            if self.ema is not None:
                self.ema.update(self.model)
            for name, value in {"loss": report.loss, **report.parts, "examples": 1.0}.items():
                sums[name] = sums.get(name, 0.0) + value * report.examples
            self.progress = Progress(
                step=number + 1,
                epoch=epoch,
                in_epoch=self.progress.in_epoch + 1,
                log_bytes=start.log_bytes,
                sums=sums,
                ema_steps=0 if self.ema is None else self.ema.steps,
            )
            observer.step(report)
            last = self.progress.in_epoch == self.steps_per_epoch
            if not last and self.due():
                self.save()
        row = self._row(epoch, sums, time.perf_counter() - began)
        self.progress = Progress(
            step=self.progress.step, epoch=epoch + 1, log_bytes=self.run.log(row), ema_steps=self.progress.ema_steps
        )
        observer.epoch(row)

    def _row(self, epoch: int, sums: dict[str, float], seconds: float) -> dict[str, Any]:
        examples = sums["examples"]
        means = {name: value / examples for name, value in sums.items() if name != "examples"}
        row: dict[str, Any] = {"epoch": epoch + 1, "step": self.progress.step}
        row |= {"lr": self.optimizer.param_groups[0]["lr"], **means}
        if (epoch + 1) % self.recipe.train.evaluate_every == 0 or epoch + 1 == self.recipe.train.epochs:
            row |= self.errors()
        return {**row, "seconds": round(seconds, 3)}

    def errors(self) -> dict[str, float]:
        """Errors in per cent, of the weights that the run will be judged by: on what was held out, and on the test set.

        The test set is read as the run would be judged if it ended here: by the branch that is best until now.
        """
        infer, row = self.recipe.infer, dict[str, float]()
        with self.judged():
            if self.held_out is not None:
                row = {name: self._error(how, self.held_out) for name, how in candidates(infer).items()}
            return {**row, "test_error": self._error(choose(infer, row), self.data.test)}

    def _error(self, infer: Infer, split: Split) -> float:
        predictor = Predictor(self.model, infer, self.compute)
        return 100.0 * metrics.error_rate(*predictor.batches(predictor.everything(split)))

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Inside, the model holds the averaged weights if the recipe keeps an average."""
        if self.ema is None:
            yield
            return
        trained = {key: value.clone() for key, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.ema.state)
        try:
            yield
        finally:
            self.model.load_state_dict(trained)


def fit(
    recipe: Recipe,
    data: DataSet,
    out: Run,
    *,
    seeds: Seeds,
    compute: Compute,
    observer: Observer | None = None,
    checkpoint_seconds: float = 30.0,
    origin: Mapping[str, Any] | None = None,
) -> bool:
    """Train `recipe` on `data` in the run directory `out`, from where it stands to the end.

    checkpoint_seconds   time between two checkpoints; there is always one at the end
    origin               the arguments of `data.load` that gave `data`; kept in the manifest, for evaluations

    Returns False if the run was already finished. Raises `InputError` for a directory that holds another run or that
    another process works on, for a loss that is not finite, and for a disk that refuses.
    """
    watch = observer or Observer()
    with out.owned():
        if data.outputs is not None:
            raise InputError(f"{data.name}: only some classes of a model; train on data with all of them")
        data = as_read_then(out, data)
        training = Training(recipe, data, out, seeds, compute, checkpoint_seconds)
        facts = {"name": recipe.model.name, **asdict(models.describe(training.model))}
        about = {"name": data.name, "fingerprint": data.fingerprint(), "train": len(data.train), "test": len(data.test)}
        about = {**about, "classes": list(data.classes)}
        out.adopt(recipe, {**manifest(seeds, compute, about, facts), "origin": dict(origin or {})})
        training.restore()
        if training.progress.epoch >= recipe.train.epochs:
            return False
        watch.begin(recipe.train.epochs * training.steps_per_epoch, training.progress.step)
        while training.progress.epoch < recipe.train.epochs:
            training.run_epoch(watch)
            finished = training.progress.epoch == recipe.train.epochs
            if finished or training.due():
                training.save()
        return True


def trained_model(recipe: Recipe, data: DataSet, run: Run, compute: Compute) -> nn.Module:
    """The model of a finished or interrupted run, with the weights that it is judged by.

    Raises `InputError` if the run has no checkpoint, or one of another architecture, and for data whose classes are not
    those of the run or in another order (see `matched`).
    """
    require_matched(run, data)
    found = checkpoint.read_judged(run.checkpoints)
    if found is None:
        raise InputError(f"{run.path}: nothing was trained here yet; run 'elinvar train' with --out {run.path}")
    weights, average = found
    if recipe.train.ema is not None and average is None and "tuned" not in run.manifest():
        raise InputError(f"{run.checkpoints}: lacks ema.safetensors, the averaged weights that the run is judged by")
    model = compute.place(build_model(recipe, data, Seeds()))
    if average is not None:
        checkpoint.load_into(model, average, source=run.checkpoints)
        weights = evaluated(model, weights, average)
    checkpoint.load_into(model, weights, source=run.checkpoints)
    return model
