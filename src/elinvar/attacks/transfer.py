"""Black-box attacks: images made for one model, shown to another."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from ..check import InputError
from ..precision import Compute
from ..views import Batch
from .attack import Attack
from .functions import pgd_attack
from .goal import Goal
from .losses import margin
from .result import right
from .still import still
from .subject import Subject, shown

BLACK_BOX = pgd_attack()


class Transfer(NamedTuple):
    """Adversarial images for the source, and which of them the target gets wrong."""

    images: Float[Tensor, "n c h w"]
    fooled: Bool[Tensor, " n"]


def transfer(
    source: nn.Module,
    target: nn.Module,
    images: Shaped[Tensor, "n c h w"],
    targets: Shaped[Tensor, "n *classes"],
    *,
    attack: Attack = BLACK_BOX,
    keys: Shaped[Tensor, " n"] | None = None,
) -> Transfer:
    """Attack `source`, and show what comes out to `target`, of which nothing is known.

    attack   default: PGD-10, eps 8/255. An early stop would keep images that barely fool the source: refused

    Images, targets, keys and errors: as for `Attack`. Both models are left as they were.

    Source   Papernot et al., 2017; Summers, Understanding and Improving Deep Learning, 2021, section 3.5.2.
    """
    check_black_box(attack)
    found = attack(source, images, targets, keys=keys)
    judged = Goal(target, targets.to(found.device), margin, attack.targeted)
    with still(target):
        return Transfer(found, judged.reached(judged.look(found)))


@dataclass(frozen=True)
class Matrix:
    """Who is fooled by images made for whom.

    correct   target, then source, to (n,) flags: which images the target classifies correctly
    """

    attack: Attack
    correct: Mapping[str, Mapping[str, Bool[Tensor, " n"]]]

    @property
    def accuracy(self) -> dict[str, dict[str, float]]:
        """Target, then source, to the share of images that the target classifies correctly."""
        return {
            target: {source: int(flags.sum()) / len(flags) for source, flags in row.items()}
            for target, row in self.correct.items()
        }


def black_box(
    sources: Mapping[str, nn.Module],
    targets: Mapping[str, nn.Module],
    batches: Iterable[Batch],
    *,
    attack: Attack = BLACK_BOX,
    seed: int = 0,
    compute: Compute | None = None,
) -> Matrix:
    """The black-box matrix: every target under images made for every source.

    For an entry of a method against itself, train it twice: the same weights as source and as target make a white-box
    attack, of which a black-box attack knows nothing.

    batches   images (uint8, or floating point in [0, 1]), class numbers, and the indices that key the draws; all of
              them are held meanwhile
    seed      of the draws
    compute   how models are run; None: as they are

    Raises `InputError` for no batch and for an attack with an early stop.
    """
    check_black_box(attack)
    held = list(batches)
    if not held:
        raise InputError("there is nothing to attack: no batch came")
    judged = {name: subject(model, compute) for name, model in targets.items()}
    correct: dict[str, dict[str, Tensor]] = {name: {} for name in targets}
    for source, model in sources.items():
        for name, outcome in shown(subject(model, compute), judged, attack, held, seed).items():
            correct[name][source] = right(outcome.logits, outcome.targets)
    return Matrix(attack, correct)


def subject(model: nn.Module, compute: Compute | None, branch: str = "main") -> Subject:
    """The model as `compute` runs it; None: as it is."""
    return Subject(model, branch, None if compute is None else compute.forward(model))


def check_black_box(attack: Attack) -> None:
    """Raise `InputError` for an attack whose images no other model needs to mind."""
    if attack.early_stop:
        raise InputError("early_stop: images that barely fool their source fool no other model; set early_stop=False")
