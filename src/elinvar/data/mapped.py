"""A split that stays in its file: a memory map of uint8 images, of which a batch reads just its own."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ..check import InputError
from ..views import Batch
from .order import cut_batches

AGAIN = "a partial or damaged download? get it again"


def open_array(path: Path) -> NDArray[np.generic]:
    """The array in a .npy file as a read-only memory map. Pickled objects are refused, and nothing of them runs.

    Raises `InputError` that names the file if it is missing, cut short, or no plain array.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing; {AGAIN}") from error
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise InputError(
            f"{path}: cannot be read as a plain array ({' '.join(str(error).split())}); {AGAIN}"
        ) from error
    if not isinstance(found, np.ndarray):
        found.close()
        raise InputError(f"{path}: is a zip archive, expected one array; {AGAIN}")
    return found


class MappedSplit:
    """Images (N, H, W, C) of a memory map and their targets (N,); batches are (N, C, H, W) in memory.

    Nothing is read ahead and nothing is drawn, so `workers` and `key` change nothing. `index` counts from 0 within
    the split: image i of a corrupted copy has the index of the image that it was made from.
    """

    def __init__(self, images: UInt8[np.ndarray, "n h w c"], targets: Int64[Tensor, " n"]) -> None:
        self.images, self.targets = images, targets

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        height, width, channels = self.images.shape[1:]
        return channels, height, width

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
        where = torch.device("cpu" if device is None else device)
        for index in cut_batches(order.cpu(), len(self), batch_size, drop_last=drop_last, start=start):
            rows = torch.from_numpy(self.images[index.numpy()])
            images = rows.to(where).permute(0, 3, 1, 2).contiguous()
            yield Batch(images, self.targets[index].to(where), index.to(where))

    def take(self, index: Int64[Tensor, " m"]) -> "MappedSplit":
        """See `Split.take`; the images taken are read into memory."""
        return MappedSplit(self.images[index.cpu().numpy()], self.targets[index.cpu()])

    def fingerprint(self) -> str:
        """SHA-256 of the shape, the pixels and the targets; read anew at each call, as the file may have changed."""
        digest = sha256(f"uint8 {self.images.shape}\n".encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(self.targets.numpy().astype("<i8").tobytes())
        return digest.hexdigest()
