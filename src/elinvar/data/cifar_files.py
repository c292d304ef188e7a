"""The two official ways of storing CIFAR images: records of bytes, and pickled dictionaries."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ..check import InputError
from .archive import Archive
from .pickles import read_pickle

PIXELS = 3 * 32 * 32
AGAIN = "get the official archive again"

Records = tuple[UInt8[np.ndarray, "n 3072"], UInt8[np.ndarray, " n"]]


def _read_error(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: {error.strerror}; expected a readable file")


@dataclass(frozen=True, kw_only=True)
class Layout(ABC):
    """Names of the files of one layout, in the order of their records, and the archive that they come in."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    archive: Archive

    @property
    def files(self) -> tuple[str, ...]:
        """Every file of the layout."""
        return (*self.train, *self.test, self.meta)

    @abstractmethod
    def records(self, path: Path, count: int) -> Records:
        """Pixels (red, green and blue plane, row by row) and class numbers of the `count` images in `path`."""

    @abstractmethod
    def classes(self, path: Path) -> tuple[str, ...]:
        """Names of the classes, from the file `meta`."""


@dataclass(frozen=True, kw_only=True)
class Binary(Layout):
    """Each record is `label_bytes` bytes, of which the last is the class, and 3,072 bytes of pixels."""

    label_bytes: int

    def records(self, path: Path, count: int) -> Records:
        width = self.label_bytes + PIXELS
        try:
            size = path.stat().st_size
            if size != count * width:
                raise InputError(
                    f"{path}: got {size} bytes, expected {count} records of {width} = {count * width}; {AGAIN}"
                )
            found = np.fromfile(path, dtype=np.uint8).reshape(count, width)
        except OSError as error:
            raise _read_error(path, error) from error
        return found[:, self.label_bytes :], found[:, self.label_bytes - 1]

    def classes(self, path: Path) -> tuple[str, ...]:
        try:
            return tuple(path.read_text(encoding="utf-8").split())
        except OSError as error:
            raise _read_error(path, error) from error
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not text, expected one class name on each line; {AGAIN}") from error


@dataclass(frozen=True, kw_only=True)
class Pickled(Layout):
    """Dictionaries with the pixels under `data`, the classes under `label_key` and their names under `names_key`."""

    label_key: str
    names_key: str

    def records(self, path: Path, count: int) -> Records:
        found = read_pickle(path)
        pixels, labels = found.get("data"), found.get(self.label_key)
        if not isinstance(pixels, np.ndarray) or pixels.shape != (count, PIXELS):
            got = f"an array of shape {pixels.shape}" if isinstance(pixels, np.ndarray) else "no array"
            raise InputError(f"{path}: got {got} under 'data', expected shape ({count}, {PIXELS}); {AGAIN}")
        if not isinstance(labels, list) or len(labels) != count or not all(type(label) is int for label in labels):
            raise InputError(f"{path}: expected a list of {count} whole numbers under {self.label_key!r}; {AGAIN}")
        if not all(0 <= label < 256 for label in labels):
            raise InputError(f"{path}: labels span {min(labels)} to {max(labels)}, expected one byte; {AGAIN}")
        return pixels, np.array(labels, dtype=np.uint8)

    def classes(self, path: Path) -> tuple[str, ...]:
        names = read_pickle(path).get(self.names_key)
        if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
            raise InputError(f"{path}: expected a list of class names under {self.names_key!r}; {AGAIN}")
        return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in names)
