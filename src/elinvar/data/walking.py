"""What a folder of images holds: hidden things left out, links followed, loops of links cut."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from ..check import InputError, warn
from .decode import EXTENSIONS

# What systems leave in folders besides names that begin with a dot.
LITTER = frozenset({"__macosx", "__pycache__", "@eadir", "$recycle.bin", "system volume information", "lost+found"})
UNREAD = frozenset(
    {".apng", ".arw", ".avif", ".cr2", ".dcm", ".dng", ".eps", ".exr", ".hdr", ".heic", ".heif", ".ico", ".j2k", ".jp2"}
    | {".jpf", ".jpx", ".jxl", ".nef", ".npy", ".npz", ".orf", ".pcx", ".psd", ".raw", ".svg", ".tga"}
)


@dataclass
class Contents:
    """Names directly in one folder, sorted: folders, images, and how often an image's extension that is not read."""

    folders: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)


def _refuse(error: OSError) -> NoReturn:
    raise InputError(f"{error.filename}: {error.strerror}; expected one readable folder of images for each class")


def contents(folder: Path) -> Contents:
    """What `folder` holds, without hidden things and without what systems leave behind; links count as what they mean.

    Raises `InputError` for a folder that cannot be read and for a link that leads nowhere.
    """
    found = Contents()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.name.lower() not in LITTER:
                    _count(entry, found)
    except OSError as error:
        _refuse(error)
    found.folders.sort()
    found.images.sort()
    return found


def _count(entry: os.DirEntry[str], found: Contents) -> None:
    if entry.is_symlink() and not Path(entry.path).exists():
        raise InputError(f"{entry.path}: a link that leads nowhere; repair or remove it")
    if entry.is_dir():
        found.folders.append(entry.name)
    elif entry.is_file():
        kind = "." + entry.name.rpartition(".")[2].lower()
        if kind in EXTENSIONS:
            found.images.append(entry.name)
        elif kind in UNREAD:
            found.unread[kind] += 1


Identity = tuple[int, int]


def _identity(folder: Path) -> Identity:
    try:
        state = folder.stat()
    except OSError as error:
        _refuse(error)
    return state.st_dev, state.st_ino


def around(folder: Path) -> frozenset[Identity]:
    """The folder and all folders around it: what a link below it must not lead to."""
    real = folder.resolve()
    return frozenset(_identity(place) for place in (real, *real.parents))


def walk(folder: Path, above: frozenset[Identity]) -> Iterator[tuple[Path, Contents]]:
    """`folder` and every folder below it; a link to one of those `above` is left out, with a warning."""
    own = _identity(folder)
    if own in above:
        warn(f"{folder}: a link to a folder around it; it is left out")
        return
    found = contents(folder)
    yield folder, found
    for name in found.folders:
        yield from walk(folder / name, above | {own})
