"""How robust a model is: the white-box table of the suite `attacks`, each attack kept in a part of its own.

Attacks follow the model that predicts, by its inference rule, in float32 whatever it predicts in: bfloat16 would round
small differences of the loss, which attacks live on, to nothing.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from ..attacks import Attack, Result, Robustness, Trial, standard, threat
from ..attacks.robustness import NATURAL
from ..attacks.subject import Outcome, Subject
from ..attacks.units import check_lengths
from ..check import InputError
from ..data import Split, stratified_order
from ..rng import fold
from ..views import Batch
from .evaluation import Attacks, FromSource, UnderAttack
from .observer import Observer
from .parts import Parts, Tensors
from .predict import Predictor

EPS = {"linf": 8 / 255, "l2": 128 / 255}
SEED = 0  # of random starts: the same for all models, so that they differ by nothing else
SMALL = 64  # side of images that many of fit into memory at once


@dataclass(frozen=True, kw_only=True)
class AttackPlan:
    """What the suite `attacks` tries: FGSM, PGD-5, -10 and -20, and if asked PGD-1000 and SPSA.

    norm      of the perturbations, "linf" or "l2"
    eps       their size, in units of images in [0, 1]; None: 8/255, or 128/255 for l2
    step      of PGD, in the same unit; None: eps / 4
    images    how many test images, classes in proportion and the same for every model; None: all
    thorough  how many of these PGD-1000 and SPSA are tried on, where an image costs more than a hundred times as much
              as under the rest: 1,000 steps and 12,800 forwards if it stands so long. 0: they are left out

    Raises `InputError` for an unknown norm, sizes that are negative or not finite, and counts that are none.
    """

    norm: str = "linf"
    eps: float | None = None
    step: float | None = None
    images: int | None = 1000
    thorough: int = 0

    def __post_init__(self) -> None:
        threat(self.norm, 0.0)
        if self.images is not None and self.images < 1:
            raise InputError(f"images: got {self.images}, expected at least 1, or None for all")
        if self.thorough < 0:
            raise InputError(f"thorough: got {self.thorough}, expected 0 or more images")
        _ = self.trials

    @property
    def radius(self) -> float:
        """eps, resolved."""
        return EPS[self.norm] if self.eps is None else self.eps

    @property
    def stride(self) -> float:
        """The step of PGD, resolved."""
        return self.radius / 4 if self.step is None else self.step

    @cached_property
    def trials(self) -> dict[str, Trial]:
        """The attacks by name."""
        return standard(eps=self.radius, step=self.stride, norm=self.norm, thorough=self.thorough)

    @property
    def settings(self) -> str:
        """How it is attacked, in words."""
        sizes = f"eps {in_levels(self.radius)}, PGD by steps of {in_levels(self.stride)}"
        return f"{self.norm}, {sizes} from one random start"

    def subset(self, split: Split) -> str:
        """What is attacked, in words."""
        return f"{self.count(split):,} of {len(split):,} test images, classes in proportion"

    def count(self, split: Split, trial: Trial | None = None) -> int:
        """How many images of `split` are attacked, or by one trial."""
        chosen = len(split) if self.images is None else min(self.images, len(split))
        return chosen if trial is None or trial.images is None else min(chosen, trial.images)

    def places(self, split: Split, count: int) -> Int64[Tensor, " count"]:
        """Which: the first `count` of an order whose every prefix has the classes in proportion."""
        return stratified_order(split.targets, fold("attacks"))[:count]


def in_levels(size: float) -> str:
    """A size in units of [0, 1] images, in levels of 255 if it is a whole number of them.

    >>> in_levels(8 / 255), in_levels(0.03)
    ('8/255', '0.03')
    """
    levels = round(size * 255)
    return f"{levels}/255" if levels and abs(size * 255 - levels) < 1e-9 else f"{size:g}"


def subject(predictor: Predictor) -> Subject:
    """What predicts, as attacks meet it, in float32."""
    single = replace(predictor.compute, dtype=torch.float32)
    return Subject(predictor.judged, predictor.infer.branch, single.forward(predictor.judged))


@dataclass(frozen=True)
class Stage:
    """The images of one plan from one test set, where a model is."""

    plan: AttackPlan
    split: Split

    def __post_init__(self) -> None:
        for trial in self.plan.trials.values():
            check_lengths(trial.attack.threat, trial.attack.rule, trial.attack.bounds, math.prod(self.split.shape))

    def batches(self, count: int, device: torch.device) -> Iterator[Batch]:
        return self.split.batches(self.plan.places(self.split, count), self.size(device), device=device)

    def size(self, device: torch.device) -> int:
        """Images in a batch. What is found does not depend on it; memory does."""
        many = 500 if device.type == "cuda" else 125
        return many if max(self.split.shape[1:]) <= SMALL else many // 8

    def steps(self, attack: Attack, count: int, device: torch.device) -> int:
        """How many steps an attack takes over all batches."""
        return max(1, attack.steps) * -(-count // self.size(device))

    @cached_property
    def _fingerprint(self) -> str:
        return self.split.fingerprint()

    def identity(self, attack: Attack | None, count: int) -> dict[str, Any]:
        """What determines what a model says about `count` attacked images, besides the model."""
        about = {"images": "attacked", "of": self._fingerprint, "count": count}
        return {**about, "attack": repr(attack), "seed": SEED, "computed in": "float32"}


def robustness(predictor: Predictor, stage: Stage, kept: Parts, watch: Observer) -> Robustness:
    """All attacks of the plan, one after the other, from their parts or from the model."""
    who, device, plan = subject(predictor), predictor.compute.device, stage.plan
    results: dict[str, Result] = {}
    everything = plan.count(stage.split)

    def natural() -> Tensors:
        flat = who.flat(stage.batches(everything, device))
        return {**who.outcome(None, stage.batches(everything, device), SEED)._asdict(), "flat": flat}

    def under(name: str, attack: Attack, count: int) -> Tensors:
        total = stage.steps(attack, count, device)
        tell = partial(within, watch, name, total)
        return who.outcome(attack, stage.batches(count, device), SEED, tell)._asdict()

    found = kept.get("attack-natural", partial(stage.identity, None, everything), natural)
    results[NATURAL], flat = _result(None, found), float(found["flat"].double().mean())
    watch.done("before the attacks")
    for name, trial in plan.trials.items():
        count = plan.count(stage.split, trial)
        found = kept.get(
            f"attack-{name}",
            partial(stage.identity, trial.attack, count),
            partial(under, name, trial.attack, count),
        )
        results[name] = _result(trial.attack, found)
        watch.done(name)
    return Robustness.of(results, {}, flat)


def within(watch: Observer, name: str, of: int, done: int) -> None:
    watch.within(name, done, of)


def _result(attack: Attack | None, found: Tensors) -> Result:
    return Result.of(attack, *Outcome(found["logits"], found["targets"]))


def sets(plan: AttackPlan) -> int:
    """How many sets of images `robustness` predicts."""
    return 1 + len(plan.trials)


def summary(found: Robustness, stage: Stage, sources: Sequence[FromSource] = ()) -> Attacks:
    """What is reported about `robustness`, and about images that were made for `sources`."""
    return Attacks(
        subset=stage.plan.subset(stage.split),
        settings=stage.plan.settings,
        thorough=stage.plan.thorough and min(stage.plan.thorough, stage.plan.count(stage.split)),
        results={
            name: UnderAttack(
                n=result.n, accuracy=100 * result.accuracy, logits=result.logits, not_finite=result.not_finite
            )
            for name, result in found.results.items()
        },
        flat=100 * found.flat,
        worst=100 * found.worst,
        black_box=list(sources),
        warnings=list(found.warnings),
    )
