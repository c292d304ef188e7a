"""A model as attacks meet it in an evaluation: what stands still, through which branch, and how it is called."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..objectives import cross_entropy
from ..outputs import logits_of
from ..rng import Seeds, Source, streams
from ..views import Batch, unit
from .attack import Attack
from .estimator import Autograd
from .goal import Goal, unrecorded
from .rules import Rule, State
from .still import still
from .threat import Threat

Tell = Callable[[int], object]  # takes how many steps of an attack are done


class Outcome(NamedTuple):
    """What a model says about attacked images, and what is true; both on the CPU."""

    logits: Float[Tensor, "n classes"]
    targets: Int64[Tensor, " n"]


@dataclass(frozen=True)
class Subject:
    """A model under attack, in eval mode and remembering nothing.

    model    what is kept as it is
    branch   of normalization, through which it is judged
    forward  how it is called, if not by `model(images)`: in another precision, say
    """

    model: nn.Module
    branch: str = "main"
    forward: Callable[[Tensor], Tensor] | None = None

    def attacked(self, attack: Attack, batch: Batch, seed: int) -> Float[Tensor, "n c h w"]:
        """Adversarial images for the examples of a batch: the same whatever the batch they come in."""
        keys = streams(Seeds(seed).key(Source.ATTACK), batch.index)
        images = unit(batch.images)
        return attack(self.model, images, batch.targets, keys=keys, branch=self.branch, forward=self.forward)

    def logits(self, images: Tensor) -> Float[Tensor, "n classes"]:
        """Logits on the CPU."""
        with still(self.model, branch=self.branch), unrecorded():
            return logits_of((self.forward or self.model)(unit(images)), len(images)).float().cpu()

    def outcome(self, attack: Attack | None, batches: Iterable[Batch], seed: int, tell: Tell | None = None) -> Outcome:
        """What the model says about the images of all batches under an attack; see `shown`."""
        return shown(self, {"itself": self}, attack, batches, seed, tell)["itself"]

    def flat(self, batches: Iterable[Batch]) -> Bool[Tensor, " n"]:
        """At which images the cross-entropy has no slope at all: its gradient is exactly zero, in every value."""
        return torch.cat([self._flat(unit(batch.images), batch.targets) for batch in batches])

    def _flat(self, images: Tensor, targets: Tensor) -> Tensor:
        with still(self.model, branch=self.branch):
            goal = Goal(self.forward or self.model, targets.to(images.device), cross_entropy)
            gradient = Autograd()(goal, images, torch.zeros_like(targets), False).gradient
        assert gradient is not None
        return (gradient == 0).flatten(1).all(1).cpu()


def shown(
    source: Subject,
    targets: Mapping[str, Subject],
    attack: Attack | None,
    batches: Iterable[Batch],
    seed: int,
    tell: Tell | None = None,
) -> dict[str, Outcome]:
    """What every target says about the images of all batches, attacked once for all of them, with `source` in mind.

    attack  None: the images as they are
    tell    called before every step of every batch with the number of steps until then
    """
    logits: dict[str, list[Tensor]] = {name: [] for name in targets}
    truth = []
    for number, batch in enumerate(batches):
        images = batch.images if attack is None else source.attacked(_told(attack, number, tell), batch, seed)
        truth.append(batch.targets.cpu())
        for name, target in targets.items():
            logits[name].append(target.logits(images))
    return {name: Outcome(torch.cat(parts), torch.cat(truth)) for name, parts in logits.items()}


@dataclass(frozen=True, kw_only=True)
class _Told(Rule):
    """A rule that tells how far its search is."""

    rule: Rule
    before: int
    tell: Tell

    def __call__(
        self, threat: Threat, gradient: Float[Tensor, "n c h w"], state: State, number: int
    ) -> tuple[Float[Tensor, "n c h w"], State]:
        self.tell(self.before + number)
        return self.rule(threat, gradient, state, number)


def _told(attack: Attack, batch: int, tell: Tell | None) -> Attack:
    """The attack as it is on batch number `batch`: it tells how many steps are done."""
    if tell is None:
        return attack
    return replace(attack, rule=_Told(step=attack.rule.step, rule=attack.rule, before=batch * attack.steps, tell=tell))
