"""How robust a model is: every attack on the same images, and what to doubt about the answer."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from ..check import InputError
from ..precision import Compute
from ..views import Batch
from .attack import Attack
from .functions import fgsm_attack, pgd_attack, spsa_attack
from .masking import warnings
from .result import Result
from .subject import shown
from .transfer import BLACK_BOX, check_black_box, subject

NATURAL = "natural"


@dataclass(frozen=True)
class Trial:
    """An attack, and how many images it is tried on: the first ones of the test set; None: all."""

    attack: Attack
    images: int | None = None

    def __post_init__(self) -> None:
        if self.images is not None and self.images < 1:
            raise InputError(f"images: got {self.images}, expected at least 1, or None for all")


def standard(
    *, eps: float = 8 / 255, step: float = 2 / 255, norm: str = "linf", thorough: int = 1000, early_stop: bool = False
) -> dict[str, Trial]:
    """The white-box table: FGSM, PGD-5, -10, -20 on all images; PGD-1000 and SPSA on `thorough` of them (0: without).

    early_stop   of PGD-5, -10 and -20 too. It costs far less on a model without defence. Without it the last point
                 of a search counts, as in published tables, and only so can an accuracy be seen to rise with more steps

    Source   Summers, Understanding and Improving Deep Learning, 2021, tables 3.1 to 3.3 and section 3.5.
    """
    found = {"FGSM": Trial(fgsm_attack(eps=eps, norm=norm))}
    for steps in (5, 10, 20):
        attack = pgd_attack(eps=eps, step=step, steps=steps, norm=norm, early_stop=early_stop)
        found[f"PGD-{steps}"] = Trial(attack)
    if thorough:
        attack = pgd_attack(eps=eps, step=step, steps=1000, norm=norm, early_stop=True)
        found["PGD-1000"] = Trial(attack, thorough)
        found["SPSA"] = Trial(spsa_attack(eps=eps, norm=norm), thorough)
    return found


@dataclass(frozen=True)
class Robustness:
    """What `robustness` found.

    results     "natural", then each attack by name
    black_box   by name of the source: the model on images that were made for another one
    flat        share of images where the gradient of the loss is exactly zero
    warnings    signs of gradient masking, in plain words; `masking.warnings` says when
    """

    results: Mapping[str, Result]
    black_box: Mapping[str, Result]
    flat: float
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, results: Mapping[str, Result], black_box: Mapping[str, Result], flat: float) -> "Robustness":
        """What follows from the results of all attacks."""
        return cls(results, black_box, flat, warnings(results, black_box, flat))

    @property
    def accuracy(self) -> dict[str, float]:
        """Share of images classified correctly, natural and under each attack: the white-box table."""
        return {name: result.accuracy for name, result in self.results.items()}

    @property
    def worst(self) -> float:
        """Share of images classified correctly under everything that was tried on them."""
        standing = self.results[NATURAL].correct.clone()
        for result in (*self.results.values(), *self.black_box.values()):
            standing[: result.n] &= result.correct
        return float(standing.double().mean())


def robustness(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    attacks: Mapping[str, Trial | Attack] | None = None,
    sources: Mapping[str, nn.Module] | None = None,
    black_box: Attack = BLACK_BOX,
    branch: str = "main",
    seed: int = 0,
    compute: Compute | None = None,
) -> Robustness:
    """Attack `model` with everything, image by image, in eval mode; one attack after the other.

    batches     images (uint8, or floating point in [0, 1]), class numbers, and the indices that key the draws; all of
                them are held meanwhile
    attacks     by name; None: `standard()`, whose last two rows take most of the time
    sources     other models, for black-box attacks with `black_box`
    branch      of a model with several, which is judged
    seed        of the draws: all attacks start from the same points
    compute     how models are run; None: as they are

    The attacks are those of the true class numbers. Nothing depends on how the examples are cut into batches. All
    logits are kept until the end, in float32 on the CPU.

    Raises `InputError` for no batch, an attack named "natural", a targeted one, and whatever an attack refuses.
    """
    trials = {
        name: trial if isinstance(trial, Trial) else Trial(trial)
        for name, trial in (standard() if attacks is None else attacks).items()
    }
    _check(trials, black_box)
    held = list(batches)
    if not held:
        raise InputError("there is nothing to attack: no batch came")
    who = subject(model, compute, branch)
    results = {NATURAL: Result.of(None, *who.outcome(None, held, seed))}
    for name, trial in trials.items():
        some = held if trial.images is None else first(held, trial.images)
        results[name] = Result.of(trial.attack, *who.outcome(trial.attack, some, seed))
    found = {
        name: shown(subject(source, compute), {name: who}, black_box, held, seed)[name]
        for name, source in (sources or {}).items()
    }
    transferred = {name: Result.of(black_box, *outcome) for name, outcome in found.items()}
    follows = any(not trial.attack.estimator.gradient_free for trial in trials.values())
    flat = float(who.flat(held).double().mean()) if follows else 0.0
    return Robustness.of(results, transferred, flat)


def first(batches: Iterable[Batch], count: int) -> Iterator[Batch]:
    """The first `count` examples of some batches."""
    for batch in batches:
        keep = slice(0, count)
        if count > 0:
            yield Batch(batch.images[keep], batch.targets[keep], batch.index[keep])
        count -= len(batch)


def _check(trials: Mapping[str, Trial], black_box: Attack) -> None:
    if NATURAL in trials:
        raise InputError(f"attacks: {NATURAL!r} is the name of the images as they are; choose another one")
    for name, trial in trials.items():
        if trial.attack.targeted:
            raise InputError(f"{name} is targeted; robustness asks whether the true class is kept: attack away from it")
    check_black_box(black_box)
    if black_box.targeted:
        raise InputError("black_box: expected an attack away from the true class")
