"""Whole-batch augmentation inside the workers of a `DataLoader`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from ..check import InputError
from ..rng import Seeds, Source, streams
from .base import Augmentation

Place = int | str


@dataclass(frozen=True, eq=False)
class Collate:
    """A `collate_fn`: samples become a batch, whose images are augmented together.

    augmentation  any augmentation of this package
    images        where the images are in a batch: a place in the tuple, or a key of the mapping; of a batch that is
                  one tensor it is all of it
    base          what makes a batch of the list of samples
    index         where the places of the examples in their data set are (int64); None: nowhere
    seeds         for exactness, together with `index`

    Without `seeds` each worker draws from torch's generator, which the `DataLoader` seeds anew for every worker and
    epoch from the generator of the process that made it: `torch.manual_seed` there fixes it all, and the draws change
    with the number of workers. With `seeds` and `index`, draws are a function of (seed, epoch, example) alone, whatever
    the workers, the batches and the order; `set_epoch` before each epoch, as for a distributed sampler.

    Safe in workers that are forked or spawned. Raises `InputError` for a batch without images at that place, and as
    the augmentation does.

    >>> from elinvar.augment import Flip
    >>> samples = [(torch.zeros(3, 8, 8), label) for label in range(4)]
    >>> images, labels = Collate(Flip())(samples)
    >>> images.shape, labels
    (torch.Size([4, 3, 8, 8]), tensor([0, 1, 2, 3]))
    """

    augmentation: Augmentation
    images: Place = 0
    base: Callable[[Any], Any] = default_collate
    index: Place | None = None
    seeds: Seeds | None = None
    _epoch: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64), init=False, repr=False)

    def __post_init__(self) -> None:
        if (self.index is None) != (self.seeds is None):
            raise InputError("collate: expected both index and seeds (exact draws) or neither (torch's generator)")
        if self.seeds is not None:
            # So that workers which live longer than an epoch learn of the next one.
            self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """Sets what exact draws are keyed by beside seed and example; call it before an epoch's first batch.

        Raises `InputError` without seeds: torch's generator moves on by itself.
        """
        if self.seeds is None:
            raise InputError("collate: set_epoch is for exact draws; give seeds and index, or leave it away")
        self._epoch.fill_(epoch)

    def __call__(self, samples: list[Any]) -> Any:
        batch = self.base(samples)
        images = _at(batch, self.images, "images")
        keys = None
        if self.seeds is not None and self.index is not None:
            index = _at(batch, self.index, "index")
            keys = streams(self.seeds.key(Source.AUGMENT, int(self._epoch)), index)
        made = self.augmentation(images, keys=keys)
        if isinstance(batch, Tensor):
            return made
        if isinstance(batch, dict):
            return {**batch, self.images: made}
        parts = list(batch)
        parts[int(self.images)] = made
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)


def collate(
    augmentation: Augmentation,
    *,
    images: Place = 0,
    base: Callable[[Any], Any] = default_collate,
    index: Place | None = None,
    seeds: Seeds | None = None,
) -> Collate:
    """A `collate_fn` whose batches come out augmented, for `DataLoader` workers: see `Collate`."""
    return Collate(augmentation, images, base, index, seeds)


def _at(batch: Any, place: Place, name: str) -> Tensor:
    """The tensor at a place of a batch."""
    try:
        found = batch if isinstance(batch, Tensor) and name == "images" else batch[place]
    except (LookupError, TypeError) as error:
        what = f"a mapping of {', '.join(map(str, batch))}" if isinstance(batch, dict) else f"a {type(batch).__name__}"
        raise InputError(f"collate: {name}={place!r} is not a place in the batch, which is {what}") from error
    if not isinstance(found, Tensor):
        raise InputError(f"collate: {name}={place!r} is a {type(found).__name__} in the batch, expected a tensor")
    return found
