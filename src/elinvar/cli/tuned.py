"""What `elinvar tune` reads and writes: held-out examples of a run, views to measure statistics on, a tuned run."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import config, norm
from ..check import InputError
from ..context import Context
from ..data import DataSet, Split, epoch_order, hold_out, stratified_order, subset
from ..files import new_directory, write_text
from ..norm import Point
from ..norm.tuning.rules import inference_of
from ..precision import Compute
from ..recipe import Infer, Recipe
from ..rng import Seeds, Source, fold
from ..train import Run, checkpoint
from ..views import unit

BATCH = 250


@dataclass(frozen=True)
class HeldOut:
    """Examples that tuning may look at, never the test split.

    split  un-augmented
    train  what the run was trained on
    about  what the examples are, for people
    fresh  whether the run was trained without them
    other  as many more of the same kind: what was chosen is measured on them, too; None: there are none
    """

    split: Split
    train: Split
    about: str
    fresh: bool
    other: Split | None = None

    def batches(self, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and targets, where the model is."""
        for batch in self.split.batches(torch.arange(len(self.split)), BATCH, device=device):
            yield batch.images, batch.targets


def held_out(run: Run, data: DataSet, examples: int, seeds: Seeds, kept: int = 0) -> HeldOut:
    """At most `examples` images of the training split, classes in proportion, drawn by the run's seed.

    They are among the `kept` ones that the run held out (`Train.held_out`), if any. Else, if it was trained on a
    `subset` of that split, they come from the rest of it, or else from what it has seen.
    Raises `InputError` for less than one example, and for another data set than that of the run.
    """
    if examples < 1:
        raise InputError(f"--examples: got {examples}, expected at least 1")
    told = run.manifest().get("data")
    known: Mapping[str, Any] = told if isinstance(told, dict) else {}
    used = data if known.get("fingerprint") == data.fingerprint() else _part(data, known)
    if used is None:
        raise InputError(
            f"{run.path}: the run was trained on other images than these (see data in {run.manifest_file.name}); name "
            "its data with --data"
        )
    train, rest = hold_out(used.train, kept)
    if rest is None and used is not data:
        rest = data.train.take(stratified_order(data.train.targets, fold("subset"))[len(used.train) :])
    source = train if rest is None else rest
    everything = stratified_order(source.targets, fold("tune", seeds.base))
    order, others = everything[:examples], everything[examples : 2 * examples]
    seen = f"of the {len(train):,} images that the run was trained on"
    about = seen if rest is None else "images of the training split that the run was not trained on"
    return HeldOut(
        source.take(order), train, f"{len(order):,} {about}, un-augmented", fresh=rest is not None,
        other=source.take(others) if len(others) else None,
    )  # fmt: skip


def _part(data: DataSet, known: Mapping[str, Any]) -> DataSet | None:
    """The `subset` of the data that a manifest describes, if it is one with a smaller training split."""
    train, test = known.get("train"), known.get("test")
    if not (isinstance(train, int) and isinstance(test, int)):
        return None
    if not (0 < train < len(data.train) and 0 < test <= len(data.test)):
        return None
    for kept in {test, None if test == len(data.test) else test}:
        part = subset(data, train=train, test=kept)
        if part.fingerprint() == known.get("fingerprint"):
            return part
    return None


def training_views(
    recipe: Recipe, branch: str, model: nn.Module, train: Split, examples: int, seeds: Seeds, compute: Compute
) -> Iterator[Tensor]:
    """Images as a step would prepare them in one more epoch: the views of one branch."""
    epoch = recipe.train.epochs
    steps = epoch * max(len(train) // recipe.train.batch_size, 1)
    context = Context(seeds, epoch, model, compute.forward(model), steps)
    order = epoch_order(len(train), seeds, epoch)[:examples]
    key = seeds.key(Source.AUGMENT, epoch, "read")
    for batch in train.batches(order, recipe.train.batch_size, device=compute.device, key=key):
        views = [view for view in recipe.train.prepare(batch, context) if view.branch == branch]
        if not views:
            raise InputError(f"--precise: no view of the recipe is normalized by the branch {branch!r}")
        yield torch.cat([unit(view.images) for view in views])


def measure(model: nn.Module, branch: str, views: Iterator[Tensor], recipe: Recipe, compute: Compute) -> None:
    """Precise statistics in one branch, in the run's number format."""
    only = branch if len(recipe.train.norm.branches) > 1 else None
    norm.precise(model, views, branch=only, forward=lambda inner, images: compute.forward(inner)(images))


def inference(infer: Infer, point: Point) -> Infer:
    """How to predict by a candidate: one branch, or several mixed."""
    shares = {branch: share for branch, share in point.weights.items() if share}
    if len(shares) > 1:
        return replace(infer, mix=shares)
    return replace(infer, branch=next(iter(shares)))


def finished(run: Run, recipe: Recipe) -> checkpoint.Checkpoint:
    """The checkpoint of a run; raises `InputError` if it is not there or training is still under way."""
    found = checkpoint.read(run.checkpoints)
    if found is None:
        raise InputError(f"{run.path}: nothing was trained here yet; run 'elinvar train' with --out {run.path}")
    if found.progress.epoch < recipe.train.epochs:
        raise InputError(
            f"{run.path}: training stopped after {found.progress.epoch} of {recipe.train.epochs} epochs; finish "
            "it with 'elinvar train' first"
        )
    return found


def check_free(out: Path) -> None:
    """Raise `InputError` unless `out` can become a new folder."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: is there already; choose another --out")


def write_run(
    out: Path,
    run: Run,
    recipe: Recipe,
    model: nn.Module,
    best: Point,
    source: checkpoint.Checkpoint,
    found: Mapping[str, Any],
) -> None:
    """A run that `elinvar evaluate` can judge: the same recipe, another inference rule; one folder or nothing at all.

    Its weights are those that the source is judged by (averaged ones, if it keeps an average), with the statistics that
    were found. Its manifest is the source's, and says under "tuned" what was done.
    """
    train, infer = recipe.train, inference(recipe.infer, best)
    if best.alpha is not None:
        train = replace(train, norm=replace(train.norm, inference=inference_of(best.alpha)))
    tuned = replace(recipe, name=f"{recipe.name}-tuned", train=train, infer=infer)
    with new_directory(out) as place:
        weights = checkpoint.Checkpoint(model.state_dict(), source.optimizer, source.progress)
        checkpoint.save(place / "checkpoint", weights)
        if run.metrics_file.exists():
            write_text(place / run.metrics_file.name, run.metrics_file.read_text(encoding="utf-8"))
        manifest = {**run.manifest(), "tuned": dict(found)}
        write_text(place / run.manifest_file.name, json.dumps(manifest, indent=2) + "\n")
        write_text(place / run.recipe_file.name, config.dump(tuned))
