"""Which files of a folder are its images, class by class, and in which order the classes come."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from ..check import InputError, warn
from .crop import Crop
from .decode import EXTENSIONS
from .folder import FolderSplit
from .matching import few
from .walking import around, contents, walk


def by_number(names: Sequence[str]) -> bool:
    """Whether all names are whole numbers."""
    return bool(names) and all(re.fullmatch(r"-?[0-9]+", name, re.ASCII) for name in names)


def ordered(names: Sequence[str], root: Path) -> list[str]:
    """Names of classes as numbers if all are whole numbers, else as text.

    Raises `InputError` for two names of one number.
    """
    if not by_number(names):
        return sorted(names)
    found = sorted(names, key=lambda name: (int(name), name))
    for one, other in pairwise(found):
        if int(one) == int(other):
            raise InputError(f"{root}: the folders {one} and {other} are the same number; rename one of them")
    return found


@dataclass(frozen=True)
class Listing:
    """The images of each class below `root`, as sorted paths relative to it.

    stray   images directly in `root`, which belong to no class
    unread  extension -> number of images of kinds that are not read
    """

    root: Path
    files: dict[str, list[str]]
    stray: int = 0
    unread: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, root: Path) -> "Listing":
        """Every folder directly below `root` is a class, with its images at any depth; see `ordered`."""
        top, above = contents(root), around(root)
        files: dict[str, list[str]] = {}
        unread = Counter(top.unread)
        for name in ordered(top.folders, root):
            names = list[str]()
            for place, found in walk(root / name, above):
                below = place.relative_to(root).as_posix()
                names += [f"{below}/{file}" for file in found.images]
                unread.update(found.unread)
            files[name] = sorted(names)
        return cls(root, files, len(top.images), unread)

    def split(self, classes: Sequence[str], crop: Crop) -> FolderSplit:
        """The files as examples, class after class."""
        names = [name for group in classes for name in self.files.get(group, [])]
        counts = torch.tensor([len(self.files.get(group, [])) for group in classes])
        targets: Int64[Tensor, " n"] = torch.arange(len(classes)).repeat_interleave(counts)
        return FolderSplit(self.root, names, targets, crop)

    def inner(self, group: str) -> set[str]:
        """Folders directly below the one of a class, if all of its images lie in such folders; else none."""
        parts = [name[len(group) + 1 :].partition("/") for name in self.files[group]]
        return {first for first, _, _ in parts} if all(slash for _, slash, _ in parts) else set()


def require_classes(listing: Listing) -> None:
    """Raise `InputError` unless there are two classes or more, all with images; warn of what may not be meant."""
    root, files = listing.root, listing.files
    if not files:
        hint = f"; it holds images itself: name the folder around it, {root.resolve().parent}" if listing.stray else ""
        raise InputError(f"{root}: holds no folders, expected one folder of images for each class{hint}")
    for group, names in files.items():
        if not names:
            kinds = " ".join(sorted(EXTENSIONS))
            others = Counter[str]()
            for _, found in walk(root / group, around(root)):
                others.update(found.unread)
            hint = f", but {_counted(others)}, which are not read" if others else ""
            raise InputError(f"{root / group}: holds no images ({kinds}){hint}; add some or remove this class")
    if len(files) == 1:
        (name,) = files
        hint = f"; did you mean {root / name}?" if len(listing.inner(name)) > 1 else ""
        raise InputError(f"{root}: holds one folder, {name}, expected one for each of two or more classes{hint}")
    warn_of(listing)


def warn_of(listing: Listing) -> None:
    """Warn of images that are left out and of classes that may be one, or none."""
    root = listing.root
    if listing.stray:
        warn(f"{root}: {listing.stray:,} images beside the class folders belong to no class and are left out")
    if listing.unread:
        warn(f"{root}: images of kinds that are not read are left out ({_counted(listing.unread)}); convert them")
    alike = defaultdict[str, list[str]](list)
    for name in listing.files:
        alike[name.casefold()].append(name)
    if twice := [" and ".join(names) for names in alike.values() if len(names) > 1]:
        warn(f"{root}: {few(twice)} differ in case alone and are classes of their own; if they are one, join them")
    inner = {name: listing.inner(name) for name in listing.files}
    nested = [name for name, folders in inner.items() if len(folders) > 1]
    alone = len(nested) < len(inner)
    if nested and (alone or (len(inner) > 1 and len({frozenset(folders) for folders in inner.values()}) == 1)):
        same, sets, each = few(sorted(inner[nested[0]])), few(nested), "each of " if len(nested) > 1 else ""
        text = f"{root}: {each}{sets} holds folders ({same}) and no images beside them"
        warn(f"{text}; if those are the classes, name {'one of ' if each else ''}{sets}")


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))


def notes_of(root: Path, classes: Iterable[str]) -> tuple[str, ...]:
    """The order of the classes, where it is that of numbers."""
    names = list(classes)
    if not by_number(names):
        return ()
    return (f"{root}: the class folders are whole numbers and are ordered as numbers: {few(names)}",)
