"""A split that lies in memory as one uint8 tensor: a batch is one gather."""

from collections.abc import Iterator
from functools import cached_property
from hashlib import sha256

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from ..check import InputError, check_images
from ..views import Batch
from .order import cut_batches


class ArraySplit:
    """Images (N, C, H, W) in uint8 and their targets (N,).

    The first use on another device copies all images there, once. Nothing is read ahead and nothing is drawn, so
    `workers` and `key` change nothing. Raises `InputError` for images and targets that do not belong together.

    >>> split = ArraySplit(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 1]))
    >>> [batch.targets for batch in split.batches(torch.tensor([2, 0, 1]), 2)]
    [tensor([1, 0]), tensor([1])]
    """

    def __init__(self, images: UInt8[Tensor, "n c h w"], targets: Int64[Tensor, " _"]) -> None:
        check_images(images)
        if images.dtype != torch.uint8:
            raise InputError(f"images: got dtype {images.dtype}, expected uint8")
        if targets.dtype != torch.int64 or targets.shape != images.shape[:1]:
            raise InputError(
                f"targets: got {targets.dtype} of shape {tuple(targets.shape)}, "
                f"expected int64, one for each of {len(images)} images"
            )
        self.images = images.contiguous()
        self.targets = targets.cpu()
        self._placed: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def _on(self, device: torch.device) -> tuple[UInt8[Tensor, "n c h w"], Int64[Tensor, " n"]]:
        if device not in self._placed:
            self._placed[device] = self.images.to(device), self.targets.to(device)
        return self._placed[device]

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
        del workers, key
        pieces = cut_batches(order, len(self), batch_size, drop_last=drop_last, start=start)
        images, targets = self._on(self.images.device if device is None else torch.device(device))
        here = (piece.to(images.device) for piece in pieces)
        return (Batch(images.index_select(0, index), targets[index], index) for index in here)

    def take(self, index: Int64[Tensor, " m"]) -> "ArraySplit":
        """See `Split.take`."""
        return ArraySplit(self.images[index.to(self.images.device)], self.targets[index.cpu()])

    @cached_property
    def _digest(self) -> str:
        digest = sha256(f"uint8 {tuple(self.images.shape)}\n".encode())
        digest.update(self.images.cpu().numpy().data)
        digest.update(self.targets.numpy().astype("<i8").tobytes())
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """SHA-256 of the shape, the pixels and the targets (as little-endian 64-bit numbers)."""
        return self._digest
