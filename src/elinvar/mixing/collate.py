"""A collate function for `DataLoader`s whose batches come out mixed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float32, Shaped
from torch import Tensor
from torch.utils.data import default_collate

from .batch import Mix


@dataclass(frozen=True)
class Collate:
    """Samples to a batch, then mixed. Pickles with its mix, so that workers can be started in any way."""

    mix: Mix
    base: Callable[[Any], Any] = default_collate

    def __call__(self, samples: Sequence[Any]) -> tuple[Shaped[Tensor, "m c h w"], Float32[Tensor, "m classes"]]:
        images, targets = self.base(samples)
        return self.mix(images, targets)


def collate(mix: Mix, base: Callable[[Any], Any] = default_collate) -> Collate:
    """A collate function that mixes what `base` makes of the samples: images and targets.

    Draws are those of torch's default generator, which a `DataLoader` seeds in every worker.

    >>> import torch
    >>> from elinvar import mixing
    >>> make = collate(mixing.Mix("mixup", classes=10))
    >>> images, targets = make([(torch.rand(3, 8, 8), label) for label in range(4)])
    >>> images.shape, targets.shape
    (torch.Size([4, 3, 8, 8]), torch.Size([4, 10]))
    """
    return Collate(mix, base)
