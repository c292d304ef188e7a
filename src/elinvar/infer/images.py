"""Which corrupted images a model is judged on: made from a test set on the way, or read from published files."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from ..check import InputError
from ..data import CorruptedFiles, Split
from ..data.generating import Generator, corrupt, frost_digest, told
from ..shift import CORRUPTIONS, EXTRA
from ..views import Batch

SEVERITIES = (1, 2, 3, 4, 5)


class CorruptedImages(ABC):
    """Corrupted copies of one test set, by corruption and severity."""

    @property
    @abstractmethod
    def about(self) -> str:
        """How the images were made, with everything that differs from the published files: for people."""

    @abstractmethod
    def identity(self, name: str) -> dict[str, Any]:
        """What determines the images of the corruption `name`: for machines."""

    @abstractmethod
    def check(self, names: tuple[str, ...]) -> None:
        """Raise `InputError` unless every corruption in `names` can be had, before minutes are spent."""

    @abstractmethod
    def batches(
        self, name: str, severity: int, batch_size: int, device: torch.device, order: Int64[Tensor, " m"] | None = None
    ) -> Iterator[Batch]:
        """The test set under one corruption, in its own order, or the images at the places `order`."""


@dataclass(frozen=True)
class Generated(CorruptedImages):
    """Corruptions made from `split`, batch by batch, as `generator` says."""

    split: Split
    generator: Generator = field(default_factory=Generator)

    @cached_property
    def _fingerprint(self) -> str:
        return self.split.fingerprint()

    @property
    def about(self) -> str:
        return told(self.split, self.generator)

    def identity(self, name: str) -> dict[str, Any]:
        frost = frost_digest(self.generator.frost) if name == "frost" else None
        how = self.generator.identity(self.split)
        return {"images": "generated", "corruption": name, "of": self._fingerprint, "frost": frost, **how}

    def check(self, names: tuple[str, ...]) -> None:
        known = {**CORRUPTIONS, **EXTRA}
        try:
            first = next(iter(self.split.batches(torch.arange(1), 1, workers=0)))
            for name in {names[0], *(name for name in names if not known[name].grey)}:
                corrupt(first, name, SEVERITIES[0], generator=self.generator)
        except InputError as error:
            raise InputError(f"these images cannot be corrupted ({error}); judge them with --suites clean") from error

    def batches(
        self, name: str, severity: int, batch_size: int, device: torch.device, order: Int64[Tensor, " m"] | None = None
    ) -> Iterator[Batch]:
        places = torch.arange(len(self.split)) if order is None else order
        plain = self.split.batches(places, batch_size, device=device)
        return (corrupt(batch, name, severity, generator=self.generator) for batch in plain)


@dataclass(frozen=True)
class Published(CorruptedImages):
    """Corruptions as files hold them; see `data.read_corrupted`."""

    files: CorruptedFiles

    @property
    def about(self) -> str:
        return self.files.about

    def identity(self, name: str) -> dict[str, Any]:
        return {"images": "files", "corruption": name, "files": self.files.fingerprint(name)}

    def check(self, names: tuple[str, ...]) -> None:
        self.files.require(names, SEVERITIES)

    def batches(
        self, name: str, severity: int, batch_size: int, device: torch.device, order: Int64[Tensor, " m"] | None = None
    ) -> Iterator[Batch]:
        split = self.files.split(name, severity)
        return split.batches(torch.arange(len(split)) if order is None else order, batch_size, device=device)
