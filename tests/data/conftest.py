"""Small data sets of every kind, as their official files, and the programs that write them."""

import pickle
import struct
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from elinvar.data.archive import Archive
from elinvar.data.cifar import CIFAR10, CIFAR100, Cifar
from elinvar.data.cifar_files import PIXELS, Binary, Layout, Pickled
from elinvar.data.svhn import read_svhn

NAMES = {"cifar10": [f"class{n}" for n in range(10)], "cifar100": [f"fine{n:02}" for n in range(100)]}


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 wrote: text and bytes are one kind of string, and numpy has its old module names."""

    dispatch: ClassVar[Any] = dict(pickle._Pickler.dispatch)

    def save_string(self, text: bytes | str) -> None:
        data = text.encode("latin-1") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)  # type: ignore[attr-defined]
        self.memoize(text)  # type: ignore[attr-defined]

    dispatch[bytes] = dispatch[str] = save_string

    def save_global(self, thing: Any, name: str | None = None) -> None:
        module = thing.__module__.replace("numpy._core", "numpy.core")
        self.write(f"c{module}\n{name or thing.__qualname__}\n".encode())  # type: ignore[attr-defined]
        self.memoize(thing)  # type: ignore[attr-defined]

    dispatch[type] = save_global


def python2(path: Path, content: object) -> None:
    with path.open("wb") as file:
        Python2Pickler(file, protocol=2).dump(content)


def python3(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


def python3_new(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps(content, protocol=4))


@dataclass(frozen=True)
class Official:
    """A small CIFAR with known pixels, and how its files are written."""

    cifar: Cifar
    images: np.ndarray
    labels: np.ndarray

    def parts(self, layout: Layout) -> Iterable[tuple[str, np.ndarray, np.ndarray]]:
        files = (*layout.train, *layout.test)
        sizes = [self.cifar.train // len(layout.train)] * len(layout.train) + [self.cifar.test]
        cuts = np.cumsum(sizes)[:-1]
        return zip(files, np.split(self.images, cuts), np.split(self.labels, cuts), strict=True)

    def write(self, layout: Layout, folder: Path, dump: Callable[[Path, object], None] = python2) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        names = NAMES[self.cifar.name]
        if isinstance(layout, Binary):
            (folder / layout.meta).write_text("\n".join(names) + "\n\n")
        elif isinstance(layout, Pickled):
            dump(folder / layout.meta, {layout.names_key: names, "num_vis": PIXELS})
        for name, images, labels in self.parts(layout):
            if isinstance(layout, Binary):
                before = [labels[:, None]] if layout.label_bytes == 1 else [labels[:, None] // 5, labels[:, None]]
                np.concatenate([*before, images], axis=1).astype(np.uint8).tofile(folder / name)
            elif isinstance(layout, Pickled):
                content = {
                    "batch_label": name,
                    layout.label_key: labels.tolist(),
                    "data": images,
                    "filenames": ["a.png"],
                }
                dump(folder / name, content)
        return folder

    def pack(self, layout: Layout, path: Path, scratch: Path) -> Path:
        self.write(layout, scratch / layout.folder)
        with tarfile.open(path, "w:gz") as archive:
            archive.add(scratch / layout.folder, layout.folder)
        return path


def _small(cifar: Cifar, train: int, test: int) -> Official:
    generator = np.random.default_rng(0)
    nowhere = tuple(
        replace(layout, archive=Archive(layout.archive.name, layout.archive.md5, ())) for layout in cifar.layouts
    )
    images = generator.integers(0, 256, (train + test, PIXELS), dtype=np.uint8)
    labels = np.arange(train + test) * 7 % cifar.classes
    return Official(replace(cifar, train=train, test=test, layouts=nowhere), images, labels)


@pytest.fixture
def cifar10() -> Official:
    return _small(CIFAR10, 100, 20)


@pytest.fixture
def cifar100() -> Official:
    return _small(CIFAR100, 200, 100)


def draw(path: Path, number: int, *, width: int = 40, height: int = 30) -> None:
    """A picture of colour gradients that no other number has."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 6, y * 8, np.full_like(x, number * 9 % 256)], axis=-1).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """train/ and test/ with three classes of five and two pictures."""
    root = tmp_path / "pictures"
    number = 0
    for part, count in (("train", 5), ("test", 2)):
        for group in ("ant", "bee", "cow"):
            for _ in range(count):
                draw(root / part / group / f"{number}.png", number, width=40 + number)
                number += 1
    return root


SVHN = {"train": 100, "extra": 30, "test": 20}


def svhn_files(where: Path, counts: Mapping[str, int]) -> Mapping[str, dict[str, np.ndarray]]:
    """Small files as SVHN's are published; what is in them."""
    draw_pixels, made = np.random.default_rng(0), {}
    where.mkdir(parents=True, exist_ok=True)
    for name, count in counts.items():
        pixels = draw_pixels.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        made[name] = {"X": pixels, "y": (np.arange(count, dtype=np.uint8) % 10 + 1)[:, None]}
        savemat(where / f"{name}_32x32.mat", made[name], do_compression=True)
    return made


Make = Callable[[str], str]


@pytest.fixture
def spec_of(
    tmp_path: Path, pictures: Path, cifar10: Official, cifar100: Official, monkeypatch: pytest.MonkeyPatch
) -> Make:
    """A spec that `load` understands, for every kind of data."""

    def make(kind: str) -> str:
        if kind == "digits":
            return kind
        if kind == "folder":
            return f"folder:{pictures}"
        if kind.startswith("svhn"):
            svhn_files(tmp_path / "svhn", SVHN)
            monkeypatch.setattr("elinvar.data.table.read_svhn", partial(read_svhn, counts=SVHN))
            return f"{kind}:{tmp_path / 'svhn'}"
        official = {"cifar10": cifar10, "cifar100": cifar100}[kind]
        monkeypatch.setattr(f"elinvar.data.table.{kind.upper()}", official.cifar)
        layout = official.cifar.layouts[0]
        return f"{kind}:{official.write(layout, tmp_path / kind / layout.folder).parent}"

    return make
