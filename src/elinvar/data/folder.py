"""Folders of images, one folder for each class, decoded on the way by worker processes."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..check import InputError
from ..rng import check_seed
from ..views import Batch
from .contents import digests
from .crop import Crop, to_tensor
from .decode import DECODING, decode
from .order import cut_batches

MOST_WORKERS = 16


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class _Decoder(Dataset[Tensor | InputError]):
    """Whole batches by the places of their examples. An error is handed over as a value, to be raised by the reader."""

    split: "FolderSplit"
    key: int | None

    def __getitem__(self, index: list[int]) -> UInt8[Tensor, "n 3 h w"] | InputError:
        crop = self.split.crop
        images = torch.empty(len(index), *self.split.shape, dtype=torch.uint8)
        draws = None if self.key is None else crop.draws(self.key, torch.tensor(index))
        try:
            for row, place in enumerate(index):
                image = decode(self.split.path(place))
                image = crop.centre(image) if draws is None else crop.random(image, draws[row])
                images[row] = to_tensor(image)
        except InputError as error:
            return error
        return images


class FolderSplit:
    """The image files `names` below `root`, read anew in every epoch, in batches of uint8 (N, 3, size, size).

    Without a key the centre of each image is taken; with one, a random crop that depends on the key and the example
    alone. A broken file raises `InputError` when its batch is due. Whatever ends the iteration also ends the workers.
    """

    def __init__(self, root: Path, names: Sequence[str], targets: Int64[Tensor, " n"], crop: Crop) -> None:
        # One block of bytes: a list of strings would be copied into every worker as its reference counts change.
        self._names = np.array([os.fsencode(name) for name in names], dtype=np.bytes_)
        self.root, self.targets, self.crop = root, targets, crop

    def __len__(self) -> int:
        return len(self._names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        return 3, self.crop.size, self.crop.size

    def path(self, place: int) -> Path:
        """The file of the example at `place`."""
        return self.root / os.fsdecode(self._names[place])

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
        """See `Split.batches`."""
        pieces = cut_batches(order.cpu(), len(self), batch_size, drop_last=drop_last, start=start)
        if workers is None:
            workers = min(MOST_WORKERS, _cores())
        if workers < 0:
            raise InputError(f"workers: got {workers}, expected 0 or more")
        key = None if key is None else check_seed(key, name="key")
        where = torch.device("cpu" if device is None else device)
        return self._stream(pieces, where, min(workers, len(pieces)), key)

    def _stream(
        self, pieces: Sequence[Int64[Tensor, " _"]], device: torch.device, workers: int, key: int | None
    ) -> Iterator[Batch]:
        loader = DataLoader(
            _Decoder(self, key),
            batch_size=None,
            sampler=[piece.tolist() for piece in pieces],
            num_workers=workers,
            collate_fn=_unchanged,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # else the loader would draw a number from the global one
        )
        for index, images in zip(pieces, loader, strict=True):
            if isinstance(images, InputError):
                raise images
            yield Batch(
                images.to(device, non_blocking=True),
                self.targets[index].to(device, non_blocking=True),
                index.to(device, non_blocking=True),
            )

    def take(self, index: Int64[Tensor, " m"]) -> "FolderSplit":
        """See `Split.take`."""
        names = [os.fsdecode(name) for name in self._names[index.numpy()]]
        return FolderSplit(self.root, names, self.targets[index], self.crop)

    @cached_property
    def _digest(self) -> str:
        digest = sha256(f"folder, decoded by rule {DECODING}\n{self.crop!r}\n".encode())
        contents = digests([self.path(place) for place in range(len(self))])
        for name, held in zip(self._names, contents, strict=True):
            digest.update(bytes(name) + b"\0" + held)
        digest.update(self.targets.numpy().astype("<i8").tobytes())
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """SHA-256 of the rule of decoding, the crop, and path, contents and target of every file, in order.

        Contents are hashed once and remembered, see `contents`. Raises `InputError` for a file that is gone.
        """
        return self._digest


def _unchanged(item: object) -> object:
    return item
