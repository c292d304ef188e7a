"""A recipe: everything that a training run depends on besides its data and its seeds, as plain data.

A recipe has two sides. `Train` says how a batch becomes views, how they are normalized and judged, and how weights
move. `Infer` is its mirror at test time. Every leaf can be overridden by name: `--set train.epochs=30`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from .attacks import Adversarial
from .augment import Augmentation
from .check import InputError
from .context import Context, Transform
from .norm import NormPolicy
from .norm.mixture import check_combine, check_shares, in_words
from .objectives import Objective
from .optimization import Cosine as Cosine
from .optimization import Optimizer as Optimizer
from .optimization import Schedule as Schedule
from .optimization import Sgd as Sgd
from .optimization import Steps as Steps
from .precision import Precision
from .rng import Source
from .views import Batch, View, Views


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise InputError(f"{name}: got {value}, expected a number above 0")


def _apply(step: Augmentation | Transform, view: View, context: Context, *path: int | str) -> View:
    if isinstance(step, Transform):
        return step(view, context, *path)
    return view.with_images(step(view.images, keys=context.streams(Source.AUGMENT, view.index, *path)))


@dataclass(frozen=True, kw_only=True)
class ViewSpec:
    """How one view is made: `transforms` in order, then normalized with `branch`.

    of   name of an earlier view that it is made from, pixels and targets; None: from what all views share
    """

    name: str
    transforms: tuple[Augmentation | Transform, ...] = ()
    branch: str = "main"
    of: str | None = None

    def make(self, source: View, context: Context) -> View:
        """The view made from `source`."""
        view = replace(source, name=self.name, branch=self.branch)
        for place, transform in enumerate(self.transforms):
            view = _apply(transform, view, context, self.name, place)
        return view

    def attacked(self) -> tuple[str, ...]:
        """Branches other than its own through which the model is attacked to make it."""
        return tuple(step.branch for step in self.transforms if isinstance(step, Adversarial) and step.branch)


@dataclass(frozen=True, kw_only=True)
class Train:
    """The training side.

    batch_size       examples in a step; each gives one row for every view
    accumulate       micro-batches that a step is cut into, by example; each is normalized by itself
    shared           augmentations that an example goes through once, before it becomes several views
    views            what the model sees of each example, in the order of the forward's rows
    clip_gradient    largest l2 norm of the model's gradient, which is shortened to it; None: any
    ema              decay of the moving average of weights that is evaluated; None: the weights themselves
    held_out         training examples that are never trained on, classes in proportion, the same for every seed: what
                     is chosen after training is chosen on them
    evaluate_every   epochs between two looks at held-out examples and at the test set; the latter decide nothing
    """

    objective: Objective
    views: tuple[ViewSpec, ...] = (ViewSpec(name="clean"),)
    shared: tuple[Augmentation, ...] = ()
    norm: NormPolicy = field(default_factory=NormPolicy)
    optimizer: Optimizer = field(default_factory=Sgd)
    schedule: Schedule = field(default_factory=Cosine)
    epochs: int = 100
    batch_size: int = 128
    accumulate: int = 1
    clip_gradient: float | None = None
    ema: float | None = None
    held_out: int = 0
    precision: Precision = Precision.AUTO
    channels_last: bool | None = None
    evaluate_every: int = 1

    def __post_init__(self) -> None:
        _positive(epochs=self.epochs, batch_size=self.batch_size, accumulate=self.accumulate)
        _positive(evaluate_every=self.evaluate_every)
        if self.accumulate > self.batch_size:
            raise InputError(f"accumulate: {self.accumulate} parts of a batch of {self.batch_size} examples")
        if self.clip_gradient is not None and not self.clip_gradient > 0:
            raise InputError(f"clip_gradient: got {self.clip_gradient}, expected a number above 0, or null for none")
        if self.held_out < 0:
            raise InputError(f"held_out: got {self.held_out}, expected 0 or more examples")
        if self.ema is not None and not 0.0 < self.ema < 1.0:
            raise InputError(f"ema: got {self.ema}, expected a decay in (0, 1), or null for none")
        names = [view.name for view in self.views]
        if not names or len(set(names)) != len(names):
            raise InputError(f"views: got {names}, expected at least one, with distinct names")
        for place, view in enumerate(self.views):
            if view.of is not None and view.of not in names[:place]:
                raise InputError(f"{view.name}: made of the view {view.of!r}, expected one before it: {names[:place]}")

    def prepare(self, batch: Batch, context: Context) -> Views:
        """Batch to views: what all share is drawn and applied once, then each view goes its own way."""
        view = View("shared", batch.images, batch.targets, batch.index)
        for place, augmentation in enumerate(self.shared):
            view = _apply(augmentation, view, context, "shared", place)
        made: dict[str, View] = {}
        for spec in self.views:
            made[spec.name] = spec.make(view if spec.of is None else made[spec.of], context)
        return Views(list(made.values()))


@dataclass(frozen=True, kw_only=True)
class Infer:
    """The inference side: through which normalization branch test images go, or through which ones.

    branch    one of them
    mix       branch -> its share of the prediction, adding up to 1, instead of one branch; see `norm.Mixture`
    combine   what a mix averages: "probabilities" or "logits"
    best_of   branches of which the run takes the one with the smallest error on `Train.held_out` examples
    """

    branch: str = "main"
    mix: dict[str, float] = field(default_factory=dict)
    combine: str = "probabilities"
    best_of: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mix and self.best_of:
            raise InputError("infer: got both mix and best_of, expected one of the two")
        if self.mix:
            check_shares(self.mix)
        check_combine(self.combine)
        if len(set(self.best_of)) != len(self.best_of):
            raise InputError(f"best_of: got {self.best_of}, expected distinct branches")

    @property
    def branches(self) -> tuple[str, ...]:
        """All branches that test images may go through."""
        return tuple(self.mix) or self.best_of or (self.branch,)

    def __str__(self) -> str:
        if self.mix:
            return f"{in_words(self.mix)} ({self.combine})"
        return f"the best of {', '.join(self.best_of)}" if self.best_of else f"branch {self.branch}"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model by catalog name ("wrn-40-2") or by import path ("torchvision.models.resnet18"), and its options."""

    name: str = "wrn-40-2"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named way to train and use a classifier."""

    name: str
    train: Train
    model: Model = field(default_factory=Model)
    infer: Infer = field(default_factory=Infer)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            raise InputError(
                f"name: got {self.name!r}, expected letters, digits, '_', '-' and '.': it names directories"
            )
        known = self.train.norm.branches
        attacked = ((view.name, branch) for view in self.train.views for branch in view.attacked())
        judged = (("infer", branch) for branch in self.infer.branches)
        users = [*((view.name, view.branch) for view in self.train.views), *attacked, *judged]
        for user, branch in users:
            if branch not in known:
                raise InputError(
                    f"{user} is normalized by the branch {branch!r}, but train.norm has {known}; "
                    "name one of these, or add it to train.norm.branches"
                )
        if self.infer.best_of and not self.train.held_out:
            raise InputError(
                "infer.best_of: there is nothing to choose by, as train.held_out is 0; hold examples out, or name the "
                "branch in infer.branch"
            )

    def parts(self) -> Iterator[object]:
        """Every settings object in the recipe, itself first: what a citation list is made from."""
        yield from _walk(self)


def _walk(value: object) -> Iterator[object]:
    if isinstance(value, tuple | list):
        for item in value:
            yield from _walk(item)
    elif hasattr(value, "__dataclass_fields__"):
        yield value
        for name in value.__dataclass_fields__:
            yield from _walk(getattr(value, name))
