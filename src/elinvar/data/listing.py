"""Which folders of a data set train and which test, and what is meant where neither is clear."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..check import InputError
from ..rng import fold
from .class_folders import Listing, notes_of, require_classes, warn_of
from .crop import Crop
from .dataset import DataSet
from .decode import warn_of_depth
from .matching import few
from .walking import contents

SIZE = 224
TRAIN, TEST, VAL = "train", "test", "val"
WORDS = {
    TRAIN: ("train", "training"),
    TEST: ("test", "testing", "eval", "evaluation"),
    VAL: ("val", "valid", "validation", "dev"),
}
"""What parts are called, in any case, also with one of `AFTER` behind it: train_images, Validation-Set"""
AFTER = ("set", "images", "imgs", "data", "dataset", "split", "part")
TEST_SHARE = 0.2
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
PEEK = 3  # images of each class that are looked at when a folder is opened


def part_of(name: str) -> tuple[str, str] | None:
    """Which part a folder's name means, and by which word; None for any other name.

    >>> part_of("Training_Set"), part_of("cat")
    (('train', 'training'), None)
    """
    for part, words in WORDS.items():
        found = re.fullmatch(rf"({'|'.join(words)})(?:[ _.-]?(?:{'|'.join(AFTER)}))?", name.casefold())
        if found:
            return part, found[1]
    return None


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
    return replace(listing, files=train), replace(listing, files=test)


def _refuse_data_sets(listing: Listing) -> None:
    """Raise `InputError` where folders that are taken for classes are data sets, with parts of their own."""
    sets = [name for name in listing.files if len(_kinds(contents(listing.root / name).folders)) > 1]
    if sets:
        meant = f"{listing.root / sets[0]}" if len(sets) == 1 else f"one of {few(sets)} in {listing.root}"
        parts = few([name for name in contents(listing.root / sets[0]).folders if part_of(name)])
        raise InputError(f"{listing.root}: one folder too high, {sets[0]} holds {parts}; name {meant}")


def _refuse_parts_in_other_words(listing: Listing) -> None:
    """Raise `InputError` for folders as pets_train and pets_test: the same name but for the word of a part."""
    rests: dict[tuple[str, ...], dict[str, str]] = {}
    for name in listing.files:
        words = re.split(r"[ _.-]+", name.casefold())
        for place, word in enumerate(words):
            if (part := part_of(word)) is not None:
                kind = TRAIN if part[0] == TRAIN else TEST
                rests.setdefault((*words[:place], *words[place + 1 :]), {})[kind] = name
    for kinds in rests.values():
        if len(kinds) > 1:
            train, test = kinds[TRAIN], kinds[TEST]
            raise InputError(
                f"{listing.root}: {train} and {test} look like parts, not like classes; call them {TRAIN} and {TEST}, "
                "each with one folder for each class"
            )


def _kinds(names: Sequence[str]) -> set[str]:
    """Which parts names stand for, test and val as one."""
    found = {part_of(name) for name in names}
    return {TRAIN if item[0] == TRAIN else TEST for item in found if item is not None}


def _whole(root: Path) -> tuple[Listing, Listing, tuple[str, ...]]:
    """All classes in one folder: a fifth of each is set apart."""
    listing = Listing.of(root)
    _refuse_data_sets(listing)
    _refuse_parts_in_other_words(listing)
    require_classes(listing)
    train, test = _train_and_test(listing)
    total, apart = (sum(map(len, part.files.values())) for part in (listing, test))
    said = [
        f"{root}: no test part: {apart:,} of {total:,} images, a fifth of each class, are set apart by a hash of the "
        "files' names"
    ]
    own = part_of(root.resolve().name)
    around = contents(root.resolve().parent).folders if own else []
    if beside := [name for name in around if name != root.resolve().name and part_of(name) is not None]:
        said.append(f"{root}: {few(beside)} beside it is not read; name {root.resolve().parent} to read both")
    return train, test, tuple(said)


def _one(root: Path, names: Sequence[str]) -> str:
    if len(names) > 1:
        raise InputError(f"{root}: {' and '.join(names)} are two folders for the same part; keep one of them there")
    return names[0]


def _candidates(root: Path, parts: dict[str, tuple[str, str]], holding: set[str]) -> list[str]:
    """Folders to test with, those of the first words first; of one word those with class folders in them."""
    found = []
    for part in (TEST, VAL):
        for word in WORDS[part]:
            names = [name for name, of in parts.items() if of == (part, word)]
            if names := [name for name in names if name in holding] or names:
                found.append(_one(root, names))
    return found


def _lacking(train: Listing, test: Listing) -> str | None:
    """Why a part cannot test what another trains; None if it can."""
    images = sum(map(len, test.files.values()))
    if not test.files and test.stray:
        return (
            f"{test.root}: has no class folders, but {test.stray:,} images that belong to no class; "
            "expected one folder for each class, as in the training part"
        )
    if not images:
        return f"{test.root}: holds no images to test with"
    if strange := [name for name in test.files if name not in train.files]:
        rest = f", nor have {few(strange[1:])}" if len(strange) > 1 else ""
        return f"{test.root / strange[0]}: this class has no folder in {train.root}{rest}"
    return None


def _apart(root: Path, parts: dict[str, tuple[str, str]], holding: set[str]) -> tuple[Listing, Listing, list[str]]:
    """The parts in folders of their own."""
    trains = [name for name, (part, _) in parts.items() if part == TRAIN]
    trains = [name for name in trains if name in holding] or trains
    tests = _candidates(root, parts, holding)
    if not trains or not tests:
        have, lack = (trains[0], (TEST, VAL)) if trains else (tests[0], (TRAIN,))
        others = ", ".join(word for part in lack for word in WORDS[part][1:])
        raise InputError(
            f"{root}: has {have} but not {' or '.join(lack)} (or {others}); add it, or keep the class folders directly "
            f"in {root}"
        )
    train = Listing.of(root / _one(root, trains))
    _refuse_data_sets(train)
    require_classes(train)
    passed = list[str]()
    for name in tests:
        test = Listing.of(root / name)
        reason = _lacking(train, test)
        if reason is None or set(test.files) & set(train.files):
            break
        passed.append(reason)
    else:
        hint = "" if test.files and len(passed) == 1 else f"; label it, or put a labelled part into {root / VAL}"
        raise InputError(f"{passed[0]}{hint}")
    if reason is not None:
        raise InputError(reason)
    warn_of(test)
    said = [f"{reason}; it is left out, and {test.root} is judged" for reason in passed]
    if left := [name for name in contents(root).folders if name not in (train.root.name, *tests[: len(passed) + 1])]:
        said.append(f"{root}: {few(left)} is not read; {test.root.name} is judged")
    if lacks := [name for name in train.files if not test.files.get(name)]:
        said.append(f"{test.root}: no images of {len(lacks):,} of {len(train.files):,} classes: {few(lacks)}")
    return train, test, said


def read_folder(root: Path, *, size: int = SIZE) -> DataSet:
    """The images below `root`, one folder for each class.

    Folders that are all called by whole numbers are ordered as numbers, any others as text. root/train and root/test
    (or root/val, where test is missing or not labelled) hold the classes of the two parts; a class may lack test
    images. `WORDS` has the other names of parts. If there is none of these folders, root itself holds the classes, and
    a fifth of each class is set apart for tests by a hash of the files' names: the same files always, on every machine.
    Images become `size` x `size` as `Crop` says. Standardizing constants are ImageNet's.

    Hidden folders and files are left out, links are followed. `DataSet.notes` has what was decided.

    Raises `InputError` for a part or a class without images, for one class alone, for test classes that training
    lacks, for a folder above or below the one that is meant, and for links that lead nowhere.
    """
    top = contents(root).folders
    parts = {name: found for name in top if (found := part_of(name)) is not None}
    holding = {name for name in parts if contents(root / name).folders}
    if parts and (holding or len(parts) == len(top)):
        train, test, said = _apart(root, parts, holding)
        notes = tuple(said)
    else:
        train, test, notes = _whole(root)
    classes, crop = tuple(train.files), Crop(size)
    data = DataSet(
        root.resolve().name, train.split(classes, crop), test.split(classes, crop), classes,
        IMAGENET_MEAN, IMAGENET_STD, notes=(*notes, *notes_of(root, classes)),
    )  # fmt: skip
    warn_of_depth([*_some(train, name), *_some(test, name)] for name in classes)
    return data


def _some(listing: Listing, group: str) -> list[Path]:
    """A few files of a class, evenly over their names."""
    names = listing.files.get(group, [])
    return [listing.root / name for name in names[:: max(1, -(-len(names) // PEEK))]]
