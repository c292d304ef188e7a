"""Perturbation sequences as they are published: arrays (CIFAR-10-P), or videos (ImageNet-P).

    DIR/NAME.npy                uint8 (n, frames, H, W, 3), in the order of the test set; NAME_2, NAME_3: harder noise
    DIR/NAME/CLASS/IMAGE.mp4    H.264, decoded by PyAV where it is installed

Source: Hendrycks and Dietterich, ICLR 2019; hendrycks/robustness.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from ..check import InputError
from .contents import digests, forget
from .corrupted import LABELS
from .dataset import Split
from .mapped import AGAIN, open_array
from .walking import contents

VIDEO = ".mp4"


class PerturbedFiles(ABC):
    """The files of one set of sequences; `names` are the perturbations that are there."""

    names: tuple[str, ...]
    root: Path

    @property
    def about(self) -> str:
        """Where the frames come from, in a phrase for reports."""
        return f"sequences from files in {self.root.resolve().name}"

    @abstractmethod
    def require(self, names: Sequence[str]) -> None:
        """Raise `InputError` unless all of these are there and look as they should; pixels are not read."""

    @abstractmethod
    def frames(self, name: str, index: Int64[Tensor, " n"]) -> Iterator[UInt8[Tensor, "n c h w"]]:
        """The frames of the sequences of some test images, one after the other."""

    @abstractmethod
    def fingerprint(self, name: str) -> str:
        """A checksum of the files of a perturbation."""

    def _known(self, names: Sequence[str]) -> None:
        if missing := [name for name in names if name not in self.names]:
            raise InputError(
                f"{self.root}: {', '.join(missing)} missing, there are {', '.join(self.names)}; a partial download?"
            )


class PerturbedArrays(PerturbedFiles):
    """The layout of CIFAR-10-P, as memory maps. `clean` is the test set that the sequences were made from."""

    def __init__(self, root: Path, clean: Split) -> None:
        self.root, self.clean = root, clean
        self.names = tuple(sorted(path.stem for path in root.glob("[!.]*.npy") if path.stem != LABELS))

    def _array(self, name: str) -> Any:
        path, (channels, height, width) = self.root / f"{name}.npy", self.clean.shape
        found = open_array(path)
        sides = (height, width, channels)
        if found.dtype != np.uint8 or found.ndim != 5 or found.shape[1] < 2 or found.shape[2:] != sides:
            raise InputError(
                f"{path}: got {found.dtype} of shape {found.shape}, expected uint8 of shape "
                f"({len(self.clean)}, frames, {height}, {width}, {channels}); {AGAIN}"
            )
        if len(found) != len(self.clean):
            raise InputError(f"{path}: holds {len(found)} sequences, the test set has {len(self.clean)} images")
        return found

    def require(self, names: Sequence[str]) -> None:
        self._known(names)
        for name in names:
            self._array(name)

    def frames(self, name: str, index: Int64[Tensor, " n"]) -> Iterator[UInt8[Tensor, "n c h w"]]:
        sequences = torch.from_numpy(self._array(name)[index.cpu().numpy()])
        return (sequences[:, place].permute(0, 3, 1, 2).contiguous() for place in range(sequences.shape[1]))

    def fingerprint(self, name: str) -> str:
        return digests([self.root / f"{name}.npy"])[0].hex()


class PerturbedVideos(PerturbedFiles):
    """The layout of ImageNet-P: for each perturbation and class a folder of videos, in the order of the test set."""

    def __init__(self, root: Path, classes: Sequence[str], clean: Split) -> None:
        self.root, self.classes, self.clean = root, tuple(classes), clean
        self.names = tuple(name for name in contents(root).folders if any((root / name).glob(f"*/*{VIDEO}")))
        self._files = lru_cache(maxsize=1)(self._list)

    def _list(self, name: str) -> list[Path]:
        """The videos of a perturbation, one for each test image."""
        if strange := sorted(set(contents(self.root / name).folders) - set(self.classes)):
            raise InputError(f"{self.root / name / strange[0]}: not a class of the test set; name its data with --data")
        groups = [sorted((self.root / name / label).glob(f"[!.]*{VIDEO}")) for label in self.classes]
        counts = torch.bincount(self.clean.targets, minlength=len(self.classes)).tolist()
        for label, videos, expected in zip(self.classes, groups, counts, strict=True):
            if len(videos) != expected:
                where = self.root / name / label
                raise InputError(f"{where}: holds {len(videos)} videos, the test set has {expected} images; {AGAIN}")
        order, found = self.clean.targets.argsort(stable=True), [Path()] * len(self.clean)
        for place, path in zip(order.tolist(), (path for group in groups for path in group), strict=True):
            found[place] = path
        return found

    def require(self, names: Sequence[str]) -> None:
        self._known(names)
        _av()
        for name in names:
            self._files(name)

    def frames(self, name: str, index: Int64[Tensor, " n"]) -> Iterator[UInt8[Tensor, "n c h w"]]:
        videos = [decode_video(self._files(name)[place]) for place in index.tolist()]
        if len({video.shape for video in videos}) != 1:
            raise InputError(f"{self.root / name}: videos of several lengths or sizes, {_few(videos)}; {AGAIN}")
        return iter(torch.stack(videos, 1))

    def fingerprint(self, name: str) -> str:
        digest, paths = sha256(), self._files(name)
        for path, held in zip(paths, digests(paths), strict=True):
            digest.update(os.fsencode(path.relative_to(self.root)) + b"\0" + held)
        return digest.hexdigest()


def _few(videos: Sequence[Tensor]) -> str:
    return ", ".join(sorted({str(tuple(video.shape)) for video in videos})[:3])


def _av() -> Any:
    try:
        return import_module("av")
    except ImportError as error:
        raise InputError("ImageNet-P is stored as videos, and decoding them needs PyAV: pip install av") from error


def decode_video(path: Path) -> UInt8[Tensor, "t 3 h w"]:
    """All frames of a video in R, G, B. Raises `InputError` for a file that is missing, damaged or no video."""
    av = _av()
    try:
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    except (OSError, ValueError, IndexError, av.error.FFmpegError) as error:
        raise InputError(f"{path}: cannot be read as a video ({' '.join(str(error).split())}); {AGAIN}") from error
    if len(frames) < 2:
        raise InputError(f"{path}: holds {len(frames)} frames, expected a sequence; {AGAIN}")
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)


def read_perturbed(root: Path, *, classes: Sequence[str], clean: Split, verify: bool = False) -> PerturbedFiles:
    """The perturbation sequences in `root`, in either layout.

    classes   names of the classes, in the order of their numbers
    clean     the test set that they were made from: sequence i belongs to its image i
    verify    hash the files anew, whatever is remembered about them

    Raises `InputError` for a folder that holds no such set; single files are checked when they are asked for.
    """
    if not root.is_dir():
        raise InputError(f"{root}: {'is a file' if root.exists() else 'does not exist'}, expected a folder")
    if verify:
        forget(root)
    if any(root.glob("[!.]*.npy")):
        return PerturbedArrays(root, clean)
    videos = PerturbedVideos(root, classes, clean)
    if not videos.names:
        raise InputError(f"{root}: holds neither NAME.npy files nor videos NAME/CLASS/IMAGE{VIDEO}")
    return videos
