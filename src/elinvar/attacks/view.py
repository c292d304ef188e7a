"""Adversarial training as a step of a recipe: one more transform of a view."""

from dataclasses import dataclass, field, replace

from ..check import InputError
from ..context import Context, Transform
from ..rng import Source
from ..views import View, unit
from .attack import Attack
from .functions import pgd_attack
from .still import Mode


@dataclass(frozen=True, kw_only=True)
class Adversarial(Transform):
    """Attack the model that is in training, and give the view the images that it found. Put it last.

    attack          what raises the loss with the view's targets, soft ones as they are
    mode            how the model is normalized meanwhile: by its memory ("eval"), or by the statistics of the attacked
                    rows ("batch"); neither is remembered. See `still`
    branch          of normalization, through which the model is attacked; None: the one that the view belongs to
    warmup_epochs   eps and the length of a step grow by equal parts in that many epochs: 1/w, 2/w, ... of their value
    warmup_steps    the same, step by step of the run; one of the two

    An example draws the same in an epoch whatever its batch, and a run that is resumed attacks as one that was not.
    Weights, their gradients, the memory of the layers and the modes of all modules are left as they are.

    Raises `InputError` for a negative warm-up, two of them, and a loss without a name, which no file
    could hold.

    Source   Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018, section 2.1; a branch
             of its own: Xie et al., "Adversarial examples improve image recognition", 2020, section 3.
    Differs  Madry's code attacks with the statistics of the batch, and lets the attack move the memory.

    >>> Adversarial().attack == pgd_attack(eps=8 / 255, steps=10)
    True
    """

    attack: Attack = field(default_factory=pgd_attack)
    mode: Mode = "eval"
    branch: str | None = None
    warmup_epochs: int = 0
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        if min(self.warmup_epochs, self.warmup_steps) < 0 or (self.warmup_epochs and self.warmup_steps):
            raise InputError(
                f"warm-up: got {self.warmup_epochs} epochs and {self.warmup_steps} steps, expected one of the two"
            )
        if not isinstance(self.attack.loss, str):
            raise InputError("loss: got a function, which a recipe cannot hold; name one of attacks.LOSSES")

    def __call__(self, view: View, context: Context, *path: int | str) -> View:
        attacked = self.at(context.epoch, context.number)(
            context.model,
            unit(view.images),
            view.targets,
            keys=context.streams(Source.ATTACK, view.index, *path),
            mode=self.mode,
            branch=self.branch or view.branch,
            forward=context.forward,
        )
        return view.with_images(attacked)

    def at(self, epoch: int, number: int) -> Attack:
        """The attack of step `number` of the run, in `epoch`, both from 0."""
        done, needed = (epoch + 1, self.warmup_epochs) if self.warmup_epochs else (number + 1, self.warmup_steps)
        if done >= needed:
            return self.attack
        threat, rule = self.attack.threat, self.attack.rule
        share = done / needed
        return replace(
            self.attack,
            threat=replace(threat, eps=share * threat.eps),
            rule=replace(rule, step=share * rule.step),
        )
