"""Black-box attacks: images made for one model, shown to another."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from ..check import InputError
from ..precision import Compute
from ..rng import Seeds, Source, streams
from ..views import Batch, unit
from .attack import Attack
from .functions import pgd_attack
from .goal import Goal, unrecorded
from .losses import margin
from .still import still

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
    _check(attack)
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

    batches   images (uint8, or floating point in [0, 1]), class numbers, and the indices that key the draws
    seed      of the draws
    compute   how models are run; None: as they are

    Raises `InputError` for no batch and for an attack with an early stop.
    """
    _check(attack)
    flags: dict[str, dict[str, list[Tensor]]] = {name: {source: [] for source in sources} for name in targets}
    for batch in batches:
        for source, model in sources.items():
            found = attacked(attack, model, batch, seed, compute)
            for name, other in targets.items():
                flags[name][source].append(right(predicted(other, found, compute), batch.targets))
    if not all(parts for row in flags.values() for parts in row.values()):
        raise InputError("there is nothing to attack: no batch came")
    joined = {name: {source: torch.cat(parts) for source, parts in row.items()} for name, row in flags.items()}
    return Matrix(attack, joined)


def attacked(
    attack: Attack, model: nn.Module, batch: Batch, seed: int, compute: Compute | None, branch: str = "main"
) -> Tensor:
    """Adversarial images for the examples of a batch: the same whatever the batch they come in."""
    keys = streams(Seeds(seed).key(Source.ATTACK), batch.index)
    return attack(model, unit(batch.images), batch.targets, keys=keys, branch=branch, forward=runner(model, compute))


def predicted(
    model: nn.Module, images: Tensor, compute: Compute | None, branch: str = "main"
) -> Float[Tensor, "n classes"]:
    """Logits on the CPU; nothing is remembered."""
    with still(model, branch=branch), unrecorded():
        return runner(model, compute)(images).float().cpu()


def right(logits: Float[Tensor, "n classes"], targets: Tensor) -> Bool[Tensor, " n"]:
    """Which logits are largest at the target; those with NaN decide nothing."""
    largest, decided = logits.max(1)
    return (decided == targets.to(logits.device)) & ~largest.isnan()


def runner(model: nn.Module, compute: Compute | None) -> Callable[[Tensor], Tensor]:
    """The model as a function."""
    return model if compute is None else compute.forward(model)


def _check(attack: Attack) -> None:
    if attack.early_stop:
        raise InputError("early_stop: images that barely fool their source fool no other model; set early_stop=False")
