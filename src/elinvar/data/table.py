"""Data sets by name, as a command line gives them. A new kind is one row."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..check import InputError, unknown
from .cifar import CIFAR10, CIFAR100, read_cifar
from .contents import forget
from .dataset import DataSet
from .digits import SIZE as DIGITS_SIZE
from .digits import digits
from .download import Progress
from .listing import SIZE as FOLDER_SIZE
from .listing import read_folder
from .svhn import read_svhn


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of a reader; see `load`."""

    where: Path
    size: int | None
    download: bool
    progress: Progress | None


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One kind of data: how its spec is written, what it is, and what can be asked of it."""

    form: str
    about: str
    read: Callable[[Request], DataSet]
    sized: bool = False
    downloads: bool = False

    @property
    def needs_folder(self) -> bool:
        """Whether a spec of this kind names a folder."""
        return ":" in self.form


DATASETS: dict[str, Reader] = {
    "digits": Reader(
        form="digits",
        about="1,797 handwritten digits from scikit-learn, enlarged to 32x32: 10 classes, no files needed",
        read=lambda request: digits(size=DIGITS_SIZE if request.size is None else request.size),
        sized=True,
    ),
    "cifar10": Reader(
        form="cifar10:DIR",
        about="CIFAR-10 from its official files: 50,000 + 10,000 images of 32x32, 10 classes",
        read=lambda request: read_cifar(CIFAR10, request.where, download=request.download, progress=request.progress),
        downloads=True,
    ),
    "cifar100": Reader(
        form="cifar100:DIR",
        about="CIFAR-100 from its official files: 50,000 + 10,000 images of 32x32, 100 classes",
        read=lambda request: read_cifar(CIFAR100, request.where, download=request.download, progress=request.progress),
        downloads=True,
    ),
    "svhn": Reader(
        form="svhn:DIR",
        about="SVHN's cropped digits from the official files, with the extra ones: 604,388 + 26,032 images of 32x32",
        read=lambda request: read_svhn(request.where),
    ),
    "svhn-core": Reader(
        form="svhn-core:DIR",
        about="SVHN's cropped digits without the extra ones: 73,257 + 26,032 images of 32x32, 10 classes",
        read=lambda request: read_svhn(request.where, extra=False),
    ),
    "folder": Reader(
        form="folder:DIR",
        about="your images, one folder for each class, below DIR/train and DIR/test (or val), or directly in DIR",
        read=lambda request: read_folder(request.where, size=FOLDER_SIZE if request.size is None else request.size),
        sized=True,
    ),
}


def _able(ability: str) -> str:
    return ", ".join(reader.form for reader in DATASETS.values() if getattr(reader, ability))


def load(
    spec: str,
    *,
    size: int | None = None,
    download: bool = False,
    verify: bool = False,
    progress: Progress | None = None,
) -> DataSet:
    """The data set that `spec` names: a kind of `DATASETS`, and for most a folder behind a colon.

    size      side of the images in pixels, for kinds that are resized (default: digits 32, folder 224)
    download  whether the kinds that have an official archive may fetch it into the folder
    verify    hash files anew for `DataSet.fingerprint`, whatever is remembered about them
    progress  called during a download with the bytes so far and, if known, the bytes in all

    Raises `InputError` for an unknown kind, a missing folder, a request that the kind cannot meet, and faulty files.

    >>> data = load("digits")
    >>> len(data.train), len(data.test), data.train.shape
    (1297, 500, (3, 32, 32))
    """
    kind, colon, where = spec.partition(":")
    if kind not in DATASETS:
        raise unknown("data set", kind, DATASETS)
    reader = DATASETS[kind]
    if reader.needs_folder and not where:
        raise InputError(f"data set {spec!r}: names no folder, expected {reader.form}")
    if colon and not reader.needs_folder:
        raise InputError(f"data set {spec!r}: takes no folder, expected {reader.form}")
    if size is not None and not reader.sized:
        raise InputError(f"data set {kind!r}: its images have one size; a size is for {_able('sized')}")
    if download and not reader.downloads:
        raise InputError(f"data set {kind!r}: has no download; those that have: {_able('downloads')}")
    if verify and where:
        forget(Path(where).expanduser())
    return reader.read(Request(where=Path(where).expanduser(), size=size, download=download, progress=progress))
