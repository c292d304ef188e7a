"""Corrupted test sets as they are published: arrays (CIFAR-10-C, CIFAR-100-C) or folders of images (ImageNet-C).

    DIR/labels.npy, DIR/NAME.npy              uint8 (5 n, H, W, 3): n images at severity 1, the same at 2, ...
    DIR/NAME/SEVERITY/CLASS/IMAGE.JPEG

`elinvar corrupt` writes both, with a manifest.json that says how. Source: Hendrycks and Dietterich, ICLR 2019.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ..check import InputError
from .checksums import PUBLISHED
from .class_folders import Listing
from .contents import forget
from .crop import Crop
from .dataset import Split
from .mapped import AGAIN, MappedSplit, open_array
from .matching import places
from .walking import contents

LABELS = "labels"
MANIFEST = "manifest.json"
SEVERITIES = (1, 2, 3, 4, 5)


class CorruptedFiles(ABC):
    """The files of one corrupted test set; `names` are the corruptions that are there."""

    names: tuple[str, ...]

    @property
    @abstractmethod
    def about(self) -> str:
        """Where the images come from, in a phrase for reports."""

    @abstractmethod
    def require(self, names: Sequence[str], severities: Sequence[int]) -> None:
        """Raise `InputError` unless all of these are there and look as they should; pixels are not read."""

    @abstractmethod
    def split(self, name: str, severity: int) -> Split:
        """One corruption at one severity, in the order of the test set."""

    @abstractmethod
    def fingerprint(self, name: str) -> str:
        """A checksum of the files of a corruption; raises `InputError` where it is known to be wrong."""


def _manifest(root: Path) -> dict[str, Any]:
    try:
        found = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{root / MANIFEST}: cannot be read ({error}); write the set again") from error
    if not isinstance(found, dict):
        raise InputError(f"{root / MANIFEST}: got a {type(found).__name__}, expected a JSON object")
    return found


def _severities(manifest: dict[str, Any]) -> tuple[int, ...]:
    return tuple(manifest.get("severities", SEVERITIES))


def _require(root: Path, names: Sequence[str], known: Sequence[str], wanted: Sequence[int], has: Sequence[int]) -> None:
    if missing := [name for name in names if name not in known]:
        raise InputError(f"{root}: {', '.join(missing)} missing, there are {', '.join(known)}; a partial download?")
    if lacking := [severity for severity in wanted if severity not in has]:
        raise InputError(f"{root}: has severities {', '.join(map(str, has))}, lacks {', '.join(map(str, lacking))}")


def _class_names(root: Path, manifest: dict[str, Any]) -> tuple[str, ...]:
    """The names of the classes that a manifest has, in the order of the files' numbers; none if it has none."""
    found = manifest.get("classes", [])
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise InputError(f"{root / MANIFEST}: its classes are no list of names; write the set again")
    return tuple(found)


class CorruptedArrays(CorruptedFiles):
    """The layout of CIFAR-10-C: one array for each corruption, opened as memory maps and checked when asked for.

    classes   names of the classes in the order of their numbers
    clean     the test set that they were made from, to hold labels and shapes against; None takes them as they are
    stored    names of the classes in the order of the files' numbers, where no manifest has them; None: `classes`
    """

    def __init__(
        self, root: Path, classes: Sequence[str], clean: Split | None = None, stored: Sequence[str] | None = None
    ) -> None:
        self.root, self.classes, self.clean = root, tuple(classes), clean
        self.manifest = _manifest(root)
        self.severities = _severities(self.manifest)
        self.names = tuple(sorted(path.stem for path in root.glob("[!.]*.npy") if path.stem != LABELS))
        self.stored = _class_names(root, self.manifest) or tuple(classes if stored is None else stored)

    @cached_property
    def official(self) -> str | None:
        """Which published set this is, by its labels."""
        if (self.root / MANIFEST).exists():
            return None
        found = self._sum(LABELS, "md5")
        return next((name for name, sums in PUBLISHED.items() if sums[LABELS] == found), None)

    @property
    def about(self) -> str:
        if self.official:
            return f"the published files of {self.official}"
        return str(self.manifest.get("about", f"files from {self.root.resolve().name}, of unknown origin"))

    @cached_property
    def targets(self) -> Int64[Tensor, " n"]:
        """Class numbers of the test set; the file repeats them for each severity."""
        path, count = self.root / f"{LABELS}.npy", len(self.severities)
        labels = open_array(path)
        if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels) or len(labels) % count:
            raise InputError(
                f"{path}: got {labels.dtype} of shape {labels.shape}, expected {count} blocks of integers; {AGAIN}"
            )
        blocks = torch.from_numpy(labels.astype(np.int64)).view(count, -1)
        if (blocks != blocks[0]).any():
            raise InputError(f"{path}: the {count} blocks of labels differ, expected the same for each severity")
        low, high = (int(value) for value in torch.aminmax(blocks[0]))
        if low < 0 or high >= len(self.stored):
            raise InputError(f"{path}: labels {low} to {high}, expected 0 to {len(self.stored) - 1}; another data set?")
        numbers = self._numbers[blocks[0]]
        if self.clean is not None and not torch.equal(numbers, self.clean.targets):
            raise InputError(
                f"{path}: labels of {len(blocks[0])} images that are not those of the test set "
                f"({len(self.clean)} images); name the data that these were made from with --data"
            )
        return numbers

    @cached_property
    def _numbers(self) -> Int64[Tensor, " k"]:
        """For each class number of the files the place of its name in `classes`."""
        return places(self.stored, self.classes, f"{self.root / MANIFEST}")

    def _array(self, name: str) -> Any:
        path = self.root / f"{name}.npy"
        found = open_array(path)
        total = len(self.severities) * len(self.targets)
        if found.dtype != np.uint8 or found.ndim != 4 or len(found) != total:
            raise InputError(
                f"{path}: got {found.dtype} of shape {found.shape}, expected uint8 of shape ({total}, H, W, C); {AGAIN}"
            )
        if self.clean is not None and found.shape[1:] != (*self.clean.shape[1:], self.clean.shape[0]):
            channels, height, width = self.clean.shape
            raise InputError(f"{path}: images {found.shape[1:]}, those of the test set are {(height, width, channels)}")
        return found

    def require(self, names: Sequence[str], severities: Sequence[int]) -> None:
        _require(self.root, names, self.names, severities, self.severities)
        for name in names:
            self._array(name)

    def split(self, name: str, severity: int) -> MappedSplit:
        _require(self.root, (name,), self.names, (severity,), self.severities)
        n, block = len(self.targets), self.severities.index(severity)
        return MappedSplit(self._array(name)[block * n : (block + 1) * n], self.targets)

    def fingerprint(self, name: str) -> str:
        """MD5 of a published file, held against what is known; SHA-256 of any other, held against the manifest."""
        if self.official:
            found, expected = self._sum(name, "md5"), PUBLISHED[self.official].get(name)
            hint = f"if you made these files yourself, put {{}} into a {MANIFEST} beside them"
        else:
            found, expected = self._sum(name, "sha256"), self.manifest.get("files", {}).get(f"{name}.npy")
            hint = "write the set again"
        if expected is not None and found != expected:
            raise InputError(
                f"{self.root / name}.npy: its checksum is {found}, expected {expected}; get it again, or {hint}"
            )
        return found if self.stored == self.classes else f"{found}, classes {self._numbers.tolist()}"

    def _sum(self, name: str, kind: str) -> str:
        return checksum(self.root / f"{name}.npy", kind)


def checksum(path: Path, kind: str = "sha256") -> str:
    """The checksum of a file, in hexadecimal."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {AGAIN}") from error


class CorruptedFolders(CorruptedFiles):
    """The layout of ImageNet-C: folders of images, one for each corruption, severity and class.

    classes   names of the class folders in the order of their numbers
    size      images become size x size, by a centre crop if they are larger; published ones are 224 x 224
    """

    def __init__(self, root: Path, classes: Sequence[str], size: int, clean: Split | None = None) -> None:
        self.root, self.classes, self.clean = root, tuple(classes), clean
        self.crop = Crop(size, fraction=1.0)
        self.manifest = _manifest(root)
        self.severities = _severities(self.manifest)
        first = str(self.severities[0])
        self.names = tuple(name for name in contents(root).folders if (root / name / first).is_dir())

    @property
    def about(self) -> str:
        return str(self.manifest.get("about", f"files from {self.root.resolve().name}, which carry no checksum"))

    def require(self, names: Sequence[str], severities: Sequence[int]) -> None:
        _require(self.root, names, self.names, severities, self.severities)
        for name in names:
            for severity in severities:
                self.split(name, severity)

    def split(self, name: str, severity: int) -> Split:
        _require(self.root, (name,), self.names, (severity,), self.severities)
        listing = Listing.of(self.root / name / str(severity))
        if strange := sorted(set(listing.files) - set(self.classes)):
            raise InputError(f"{listing.root / strange[0]}: not a class of the test set; name its data with --data")
        found = listing.split(self.classes, self.crop)
        expected = None if self.clean is None else torch.bincount(self.clean.targets, minlength=len(self.classes))
        counts = torch.bincount(found.targets, minlength=len(self.classes))
        if expected is not None and not torch.equal(counts, expected):
            wrong = int((counts != expected).nonzero()[0])
            raise InputError(
                f"{listing.root / self.classes[wrong]}: holds {counts[wrong]} images, the test set has "
                f"{expected[wrong]}; a partial download? get it again"
            )
        return found

    def fingerprint(self, name: str) -> str:
        """SHA-256 over the classes and the images of all severities, see `FolderSplit.fingerprint`."""
        parts = [self.split(name, severity).fingerprint() for severity in self.severities]
        return hashlib.sha256("\n".join((*self.classes, *parts)).encode(errors="surrogateescape")).hexdigest()


def read_corrupted(
    root: Path,
    *,
    classes: Sequence[str],
    clean: Split | None = None,
    stored: Sequence[str] | None = None,
    verify: bool = False,
) -> CorruptedFiles:
    """The corrupted test set in `root`, in either layout.

    classes   names of the classes, in the order of their numbers
    clean     the test set that it was made from, to check labels, counts and sizes against
    stored    names of the classes in the order of the files' numbers, where arrays have no manifest that says it: for
              data that were matched with a model (`DataSet.match`); None: `classes`
    verify    hash the files anew, whatever is remembered about them

    Class numbers are those of `classes`, by name. Raises `InputError` for a folder that holds no such set; single files
    are checked when they are asked for.
    """
    if not root.is_dir():
        raise InputError(f"{root}: {'is a file' if root.exists() else 'does not exist'}, expected a folder")
    if verify:
        forget(root)
    if (root / f"{LABELS}.npy").exists() or any(root.glob("[!.]*.npy")):
        return CorruptedArrays(root, classes, clean, stored)
    folders = CorruptedFolders(root, classes, 224 if clean is None else clean.shape[1], clean)
    if not folders.names:
        packed = sorted(path.name for path in root.glob("*.tar*"))
        hint = f"; unpack {packed[0]} first" if packed else ""
        if inner := [name for name in contents(root).folders if _holds_severities(root / name)]:
            hint = f"; did you mean {root / inner[0]}?"
        raise InputError(f"{root}: holds neither NAME.npy files nor folders NAME/SEVERITY/CLASS{hint}")
    return folders


def _holds_severities(folder: Path) -> bool:
    return any((folder / name / str(SEVERITIES[0])).is_dir() for name in contents(folder).folders)
