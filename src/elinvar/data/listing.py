"""Which files of a folder are its images, and which of them train and which test."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from jaxtyping import Int64
from torch import Tensor

from ..check import InputError
from ..rng import fold
from .crop import Crop
from .dataset import DataSet
from .decode import EXTENSIONS
from .folder import FolderSplit

SIZE = 224
TEST_NAMES = ("test", "val")
TEST_SHARE = 0.2
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def _refuse(error: OSError) -> NoReturn:
    raise InputError(f"{error.filename}: {error.strerror}; expected one readable folder of images for each class")


def _folders(root: Path) -> list[str]:
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        _refuse(error)


def _images(folder: Path) -> Iterator[str]:
    """Paths below `folder`, at any depth, of what has an image's extension (in any case) and is not hidden."""
    for where, _, files in os.walk(folder, onerror=_refuse):
        below = os.path.relpath(where, folder)
        for file in files:
            if not file.startswith(".") and Path(file).suffix.lower() in EXTENSIONS:
                yield os.path.normpath(f"{below}/{file}")


@dataclass(frozen=True)
class Listing:
    """The images of each class below `root`, as sorted paths relative to it."""

    root: Path
    files: dict[str, list[str]]

    @classmethod
    def of(cls, root: Path) -> "Listing":
        """Every folder directly below `root` is a class."""
        return cls(root, {name: sorted(f"{name}/{file}" for file in _images(root / name)) for name in _folders(root)})

    def split(self, classes: Sequence[str], crop: Crop) -> FolderSplit:
        """The files as examples, class after class."""
        names = [name for group in classes for name in self.files.get(group, [])]
        counts = torch.tensor([len(self.files.get(group, [])) for group in classes])
        targets: Int64[Tensor, " n"] = torch.arange(len(classes)).repeat_interleave(counts)
        return FolderSplit(self.root, names, targets, crop)


def _train_and_test(listing: Listing) -> tuple[Listing, Listing]:
    """Of each class the fifth (at least one) of its files whose hashed names are smallest goes to the test part."""
    train: dict[str, list[str]] = {}
    test: dict[str, list[str]] = {}
    for group, names in listing.files.items():
        if len(names) == 1:
            raise InputError(f"{listing.root / group}: holds one image, expected two or more to train and test with")
        hashed = sorted(names, key=lambda name: fold("folder test", os.fsencode(name).decode("latin-1")))
        cut = max(1, round(TEST_SHARE * len(names)))
        test[group], train[group] = sorted(hashed[:cut]), sorted(hashed[cut:])
    return Listing(listing.root, train), Listing(listing.root, test)


def _require_images(listing: Listing) -> None:
    if not listing.files:
        raise InputError(f"{listing.root}: holds no folders, expected one folder of images for each class")
    for group, names in listing.files.items():
        if not names:
            kinds = " ".join(sorted(EXTENSIONS))
            raise InputError(f"{listing.root / group}: holds no images ({kinds}); add some or remove this class")


def read_folder(root: Path, *, size: int = SIZE) -> DataSet:
    """The images below `root`, one folder for each class, classes in the order of their names.

    root/train and root/test (or root/val) hold the classes of the two parts; a class may lack test images. If there is
    none of these folders, root itself holds the classes, and a fifth of each class is set apart for tests by a hash of
    the files' names: the same files always, on every machine. Images become `size` x `size` as `Crop` says.
    Standardizing constants are ImageNet's.

    Raises `InputError` for a part or a class without images, and for test classes that training lacks.
    """
    crop = Crop(size)
    found = _folders(root)
    tests = [name for name in TEST_NAMES if name in found]
    if "train" not in found and not tests:
        whole = Listing.of(root)
        _require_images(whole)
        train, test = _train_and_test(whole)
    elif "train" in found and tests:
        train, test = Listing.of(root / "train"), Listing.of(root / tests[0])
        _require_images(train)
        if unknown := sorted(set(test.files) - set(train.files)):
            raise InputError(f"{test.root / unknown[0]}: this class has no folder in {train.root}")
    else:
        have, lack = ("train", "test or val") if "train" in found else (tests[0], "train")
        raise InputError(f"{root}: has {have} but not {lack}; add it, or keep the class folders directly in {root}")
    classes = tuple(train.files)
    held_out = test.split(classes, crop)
    if not len(held_out):
        raise InputError(f"{test.root}: holds no images to test with")
    return DataSet(root.resolve().name, train.split(classes, crop), held_out, classes, IMAGENET_MEAN, IMAGENET_STD)
