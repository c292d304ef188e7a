"""What a data set is: two splits, the names of its classes, and the constants that standardize its images."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol, runtime_checkable
from unicodedata import normalize

import torch
from jaxtyping import Int64
from torch import Tensor

from ..check import InputError
from ..views import Batch


def plain(name: str) -> str:
    """A name as it is compared: file systems write letters with accents in one piece or in two."""
    return normalize("NFC", name)


@runtime_checkable
class Split(Protocol):
    """Examples in a fixed order; their places in it are what `Batch.index` holds and random draws are keyed by."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""

    @property
    def targets(self) -> Int64[Tensor, " n"]:
        """The class number of every example, on the CPU."""

    def __len__(self) -> int: ...

    def batches(
        self,
        order: Int64[Tensor, " m"],
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        drop_last: bool = False,
        start: int = 0,
        workers: int | None = None,
        key: int | None = None,
    ) -> Iterator[Batch]:
        """The examples of `order` in batches of uint8 images.

        device     where the batches go; None leaves them where the split keeps its images
        drop_last  leave out a last batch that is not full
        start      number of the first batch to give: a resumed epoch gives the tail of the whole one
        workers    at most this many processes read ahead, 0 for none, None for one a core (at most 16)
        key        key of what a split draws while it reads, such as random crops; None draws nothing

        Raises `InputError` for an order that names no example, and for a file that cannot be read.
        """

    def take(self, index: Int64[Tensor, " m"]) -> "Split":
        """The split of the examples `index`, in that order; their places count anew from 0."""

    def fingerprint(self) -> str:
        """SHA-256 of what the split holds, in hexadecimal: for a run's manifest."""


@dataclass(frozen=True)
class Match:
    """What `match_classes` did to a data set.

    model   names of all classes of the model, in the order of its outputs
    stored  names of the classes of the data set, in the order of the data set as it was read
    """

    model: tuple[str, ...]
    stored: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class DataSet:
    """Two splits of the same classes.

    classes  their names; a target is a place in this tuple
    mean     of each channel over the training images, in [0, 1]
    std      of each channel over the training images, in [0, 1]
    notes    what was found and decided while the data set was read, a line each, for people
    match    how the classes stand to those of a model, where they are not the same in the same order

    Raises `InputError` when these do not belong together.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = ()
    match: Match | None = None

    def __post_init__(self) -> None:
        if self.train.shape != self.test.shape:
            raise InputError(f"{self.name}: training images are {self.train.shape}, test images {self.test.shape}")
        channels = self.train.shape[0]
        if not len(self.mean) == len(self.std) == channels:
            raise InputError(
                f"{self.name}: got {len(self.mean)} means and {len(self.std)} standard deviations, "
                f"expected one of each for the {channels} channels"
            )
        for part, split in (("training", self.train), ("test", self.test)):
            wrong = (split.targets < 0) | (split.targets >= len(self.classes))
            if wrong.any():
                raise InputError(
                    f"{self.name}: a {part} target is {split.targets[wrong][0].item()}, "
                    f"expected 0 to {len(self.classes) - 1} for {len(self.classes)} classes"
                )

    @property
    def model_classes(self) -> tuple[str, ...]:
        """The classes of a model for these data: those of the data, or all that the model was matched with."""
        return self.classes if self.match is None else self.match.model

    @property
    def outputs(self) -> tuple[int, ...] | None:
        """The places of the classes among a model's outputs, None for all of them in order."""
        if len(self.classes) == len(self.model_classes):
            return None
        places = {plain(name): place for place, name in enumerate(self.model_classes)}
        return tuple(places[plain(name)] for name in self.classes)

    def fingerprint(self) -> str:
        """SHA-256 over both splits and the names of the classes, in hexadecimal."""
        parts = (self.train.fingerprint(), self.test.fingerprint(), *self.classes)
        return sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()
