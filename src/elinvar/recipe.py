"""A recipe: everything that a training run depends on besides its data and its seeds, as plain data.

A recipe has two sides. `Train` says how a batch becomes views, how they are normalized and judged, and how weights
move. `Infer` is its mirror at test time. Every leaf can be overridden by name: `--set train.epochs=30`.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from .attacks import Adversarial
from .augment import Augmentation
from .check import InputError
from .context import Context, Transform
from .norm import NormPolicy, parameter_groups
from .objectives import Objective
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


class Optimizer(ABC):
    """Settings that build a torch optimizer for a model."""

    lr: float

    @abstractmethod
    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer over the model's trainable parameters, in groups that say what is decayed."""


@dataclass(frozen=True, kw_only=True)
class Sgd(Optimizer):
    """Stochastic gradient descent with momentum.

        v <- momentum v + g + decay w,     w <- w - lr (g + decay w + momentum v)   (Nesterov)

    lr             peak learning rate, before the schedule
    norm_decay     decay of gamma and beta; None: as weight_decay
    gamma_to       what gamma decays to: 0, or 1 as in the thesis' layer
    bias_decay     decay of other biases; None: as weight_decay
    """

    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    norm_decay: float | None = None
    gamma_to: float = 0.0
    bias_decay: float | None = None

    def __post_init__(self) -> None:
        _positive(lr=self.lr)
        if not 0.0 <= self.momentum < 1.0:
            raise InputError(f"momentum: got {self.momentum}, expected a number in [0, 1)")
        if self.nesterov and not self.momentum:
            raise InputError("nesterov needs a momentum above 0; set nesterov to false")
        for decay in (self.weight_decay, self.norm_decay, self.bias_decay):
            if decay is not None and not decay >= 0.0:
                raise InputError(f"weight decay: got {decay}, expected a number of at least 0")

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        groups = parameter_groups(
            model,
            self.weight_decay,
            norm_decay=self.norm_decay,
            gamma_to=self.gamma_to,
            bias_decay=self.bias_decay,
        )
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov)


class Schedule(ABC):
    """How the learning rate moves, step by step."""

    @abstractmethod
    def factor(self, step: int, steps: int, steps_per_epoch: int) -> float:
        """What the peak learning rate is multiplied with in step `step` (from 0) of `steps`."""


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Linear warm-up, then half a cosine down to `final` times the peak.

    f(t) = t' / w                                    for the first w steps, t' = t + 1
    f(t) = final + (1 - final) (1 + cos(pi u)) / 2   after, u in [0, 1) the part of the rest that is done
    """

    warmup_epochs: float = 0.0
    final: float = 1e-5

    def __post_init__(self) -> None:
        if not (self.warmup_epochs >= 0 and 0 <= self.final <= 1):
            raise InputError(
                f"cosine: got warmup_epochs {self.warmup_epochs}, final {self.final}; expected at least 0, and 0 to 1"
            )

    def factor(self, step: int, steps: int, steps_per_epoch: int) -> float:
        warmup = min(round(self.warmup_epochs * steps_per_epoch), steps)
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(steps - warmup, 1)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True, kw_only=True)
class Steps(Schedule):
    """Warm-up, then the peak, multiplied with `by` at each of some epochs.

    at              epochs, whole or not, that are done when a drop comes; negative ones count from the end of the run
    by              factor of each drop
    warmup_epochs   w, rising linearly, or held at `warmup`
    """

    at: tuple[float, ...]
    by: float = 0.1
    warmup_epochs: float = 0.0
    warmup: float | None = None

    def __post_init__(self) -> None:
        if not (self.warmup_epochs >= 0 and 0 < self.by <= 1 and (self.warmup is None or 0 <= self.warmup <= 1)):
            raise InputError(
                f"steps: got by {self.by}, warmup_epochs {self.warmup_epochs}, warmup {self.warmup}; "
                "expected above 0 to 1, at least 0, and 0 to 1 or null"
            )

    def factor(self, step: int, steps: int, steps_per_epoch: int) -> float:
        warmup = min(round(self.warmup_epochs * steps_per_epoch), steps)
        if step < warmup:
            return (step + 1) / warmup if self.warmup is None else self.warmup
        drops = (round(epoch * steps_per_epoch) + (steps if epoch < 0 else 0) for epoch in self.at)
        return float(self.by ** sum(step >= drop for drop in drops))


@dataclass(frozen=True, kw_only=True)
class Train:
    """The training side.

    batch_size       examples in a step; each gives one row for every view
    accumulate       micro-batches that a step is cut into, by example; each is normalized by itself
    shared           augmentations that an example goes through once, before it becomes several views
    views            what the model sees of each example, in the order of the forward's rows
    ema              decay of the moving average of weights that is evaluated; None: the weights themselves
    evaluate_every   epochs between two looks at the test set, which decide nothing
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
    ema: float | None = None
    precision: Precision = Precision.AUTO
    channels_last: bool | None = None
    evaluate_every: int = 1

    def __post_init__(self) -> None:
        _positive(epochs=self.epochs, batch_size=self.batch_size, accumulate=self.accumulate)
        _positive(evaluate_every=self.evaluate_every)
        if self.accumulate > self.batch_size:
            raise InputError(f"accumulate: {self.accumulate} parts of a batch of {self.batch_size} examples")
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
    """The inference side: the normalization branch that test images go through."""

    branch: str = "main"


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
        users = [*((view.name, view.branch) for view in self.train.views), *attacked, ("infer", self.infer.branch)]
        for user, branch in users:
            if branch not in known:
                raise InputError(
                    f"{user} is normalized by the branch {branch!r}, but train.norm has {known}; "
                    "name one of these, or add it to train.norm.branches"
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
