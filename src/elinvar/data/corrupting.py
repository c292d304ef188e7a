"""Write a corrupted copy of a test set in the layout of the published ones: resumable, parallel, keyed."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from .. import __version__, files, parallel, shift
from ..check import InputError, unknown
from ..rng import check_seed
from .corrupted import LABELS, MANIFEST, SEVERITIES, checksum
from .dataset import Split
from .folder import FolderSplit
from .generating import Generator, frost_digest, told
from .generating import corrupt as corrupt

BATCH = 1000
QUALITY = 85  # of the JPEG files of ImageNet-C
SMALL = 64  # images up to this side are stored as arrays
LAYOUTS = ("npy", "folder")
# What of the manifest must not change half-way.
IDENTITY = ("of", "classes", "seed", "severities", "layout", "frost", "constants", "flavour", "about", "elinvar")

WORDS = {"of": "images", "about": "ways to make them"}

Done = Callable[[str], object]
"""Called with the name of every finished piece."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is written: corruptions of `split` below `target`; see `write_corrupted`."""

    split: Split
    target: Path
    classes: Sequence[str]
    names: Sequence[str]
    severities: Sequence[int]
    seed: int
    generator: Generator
    layout: str

    def __post_init__(self) -> None:
        known = {**shift.CORRUPTIONS, **shift.EXTRA}
        for name in self.names:
            if name not in known:
                raise unknown("corruption", name, known)
        if self.layout not in LAYOUTS:
            raise unknown("layout", self.layout, LAYOUTS)
        if not self.names or not self.severities or not len(self.split):
            raise InputError("there is nothing to write: no corruptions, no severities, or no images")
        if list(self.severities) != sorted(set(self.severities)) or not set(self.severities) <= set(SEVERITIES):
            raise InputError(f"severities: got {list(self.severities)}, expected some of 1 to 5, each once, in order")
        corrupt(
            next(iter(self.split.batches(torch.arange(1), 1, workers=0))),
            self.names[0],
            self.severities[0],
            generator=self.generator,
        )

    def manifest(self) -> dict[str, Any]:
        """What the set is and how it was made."""
        return {
            "about": told(self.split, self.generator, self.seed),
            "elinvar": __version__,
            "layout": self.layout,
            "severities": list(self.severities),
            "classes": list(self.classes),
            "of": self.split.fingerprint(),
            "seed": self.seed,
            "frost": frost_digest(self.generator.frost),
            **self.generator.identity(self.split),
            "files": {},
        }


def write_corrupted(
    split: Split,
    target: Path,
    *,
    classes: Sequence[str],
    names: Sequence[str] = tuple(shift.CORRUPTIONS),
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    generator: Generator | None = None,
    layout: str | None = None,
    begin: Callable[[int], object] | None = None,
    done: Done | None = None,
) -> dict[str, Any]:
    """Write the corruptions `names` of a test set below `target`, and return the manifest that stands beside them.

    generator  how they are made; None: `Generator()`
    layout   "npy": NAME.npy, uint8 (severities * n, H, W, C), and labels.npy, as CIFAR-10-C. "folder":
             NAME/SEVERITY/CLASS/*.JPEG at quality 85, as ImageNet-C. None: arrays up to 64 pixels, folders above
    begin    called with the number of pieces that there are; `done` with the name of each when it stands

    A piece (an array, or the folder of a class) appears whole or not at all. The same call again continues an
    interrupted one and touches no finished piece; one for other images, another seed, other severities, frost,
    constants or flavour is refused. Pixels are those that an evaluation generates by itself, a pure function of the
    seed and the example.

    Raises `InputError` for unknown names, images that cannot be corrupted, a folder that holds something else, and a
    place that cannot be written.
    """
    chosen = layout or ("npy" if max(split.shape[1:]) <= SMALL else "folder")
    plan = Plan(
        split=split, target=target, classes=classes, names=names, severities=severities, seed=check_seed(seed),
        generator=generator or Generator(), layout=chosen,
    )  # fmt: skip
    with _owned(target):
        manifest = _adopt(plan)
        for pattern in (".*.tmp", "*/*/.*.tmp"):  # of processes that were killed
            for leftover in target.glob(pattern):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        pieces = _arrays(plan, manifest) if chosen == "npy" else _folders(plan)
        if begin is not None:
            begin(len(names) if chosen == "npy" else len(classes))
        for piece in pieces:
            if done is not None:
                done(piece)
    return manifest


@contextmanager
def _owned(target: Path) -> Iterator[None]:
    """Hold the folder's lock; the system frees it when we die."""
    files.make_directory(target)
    try:
        handle = os.open(target / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}; choose another folder") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{target}: another process is writing there; wait for it, or stop it") from error
        yield
    finally:
        os.close(handle)


def _adopt(plan: Plan) -> dict[str, Any]:
    """The manifest of the set that stands in the target or begins there."""
    path, wanted = plan.target / MANIFEST, plan.manifest()
    if not path.exists():
        if strange := next(iter(sorted(plan.target.glob("[!.]*"))), None):
            raise InputError(f"{plan.target}: holds {strange.name} but no {MANIFEST}; choose an empty folder")
        _write(path, wanted)
        return wanted
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        differing = [key for key in IDENTITY if before.get(key) != wanted[key]]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); choose another folder") from error
    if differing:
        told = [(WORDS.get(key, key), _few(before.get(key)), _few(wanted[key])) for key in differing]
        what = ", ".join(f"{word} ({old}, not {new})" for word, old, new in told)
        raise InputError(f"{plan.target}: holds a set with other {what}; choose another folder")
    return {**wanted, "files": before.get("files", {})}


def _few(value: object) -> str:
    return text if len(text := str(value)) <= 60 else f"{text[:56]} ..."


def _write(path: Path, manifest: dict[str, Any]) -> None:
    files.write_text(path, json.dumps(manifest, indent=1) + "\n")


def _arrays(plan: Plan, manifest: dict[str, Any]) -> Iterator[str]:
    n, (channels, height, width) = len(plan.split), plan.split.shape
    dtype = np.uint8 if len(plan.classes) <= 256 else np.int64  # as the published labels
    labels = np.tile(plan.split.targets.numpy().astype(dtype), len(plan.severities))
    _array(plan, manifest, LABELS, lambda path: _save(path, labels))
    shape = (len(plan.severities) * n, height, width, channels)
    for name in plan.names:

        def fill(path: Path, name: str = name) -> None:
            pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
            for block, severity in enumerate(plan.severities):
                for batch in plan.split.batches(torch.arange(n), BATCH):
                    found = corrupt(batch, name, severity, seed=plan.seed, generator=plan.generator)
                    start = block * n + int(batch.index[0])
                    pixels[start : start + len(batch)] = found.images.cpu().permute(0, 2, 3, 1).numpy()
            pixels.flush()

        _array(plan, manifest, name, fill)
        yield name


def _save(path: Path, array: Any) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def _array(plan: Plan, manifest: dict[str, Any], name: str, fill: Callable[[Path], None]) -> None:
    path = plan.target / f"{name}.npy"
    if not path.exists():
        with files.replacing(path) as temporary:
            fill(temporary)
    if path.name not in manifest["files"]:
        manifest["files"][path.name] = checksum(path)
        _write(plan.target / MANIFEST, manifest)


def _folders(plan: Plan) -> Iterator[str]:
    """Class after class: its images are read once, and corrupted in every way that is still to do."""
    with ThreadPoolExecutor(parallel.threads()) as pool:
        for number, label in enumerate(plan.classes):
            places = (plan.split.targets == number).nonzero().flatten()
            missing = [
                (folder, name, severity)
                for name in plan.names
                for severity in plan.severities
                if not (folder := plan.target / name / str(severity) / label).exists()
            ]
            if missing and len(places):
                batches = list(plan.split.batches(places, BATCH, workers=0))
                names = _file_names(plan.split, places.tolist())
                for folder, name, severity in missing:
                    with files.new_directory(folder) as place:
                        for batch in batches:
                            found = corrupt(batch, name, severity, seed=plan.seed, generator=plan.generator)
                            pixels = found.images.cpu().permute(0, 2, 3, 1).numpy()
                            paths = [place / names[index] for index in batch.index.tolist()]
                            list(pool.map(_jpeg, pixels, paths))
            yield label


def _file_names(split: Split, places: Sequence[int]) -> dict[int, str]:
    """Files are called as those that they are made from, or by their numbers where that is not unique."""
    if isinstance(split, FolderSplit):
        stems = {place: split.path(place).stem for place in places}
        if len(set(stems.values())) == len(stems):
            return {place: f"{stem}.JPEG" for place, stem in stems.items()}
    return {place: f"{place:08d}.JPEG" for place in places}


def _jpeg(pixels: Any, path: Path) -> None:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.save(path, format="JPEG", quality=QUALITY, optimize=True)
