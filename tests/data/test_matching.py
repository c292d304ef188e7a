"""Classes of data and of a model are the same by name, whatever their order; any other is refused or told.

The kind: class number is compared with class number. Tried: the same names in another order, one renamed, one more,
one fewer, none in common, a subset that is allowed, matched twice and for two models, names with accents in one piece
and in two, one name twice, corrupted and perturbed files with an order of their own, and folders called by numbers as
they were once ordered.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from elinvar.check import InputError
from elinvar.data import DataSet, Split, load, match_classes, read_corrupted, read_perturbed, subset, write_corrupted
from elinvar.data.listing import read_folder
from elinvar.data.matching import Relabelled, few, in_text_order

from .conftest import draw

DIGITS = subset(load("digits", size=8), train=40, test=30)
TURNED = DIGITS.classes[::-1]


def pixels(split: Split) -> torch.Tensor:
    return next(split.batches(torch.arange(len(split)), len(split), workers=0)).images


def named(data: DataSet, split: Split) -> list[str]:
    """The class of each example, by name; by its batches."""
    (batch,) = split.batches(torch.arange(len(split)), len(split), workers=0)
    assert torch.equal(batch.targets, split.targets)
    return [data.classes[target] for target in batch.targets.tolist()]


def test_another_order_is_matched_by_name() -> None:
    found = match_classes(DIGITS, TURNED, whose="it")
    assert found.classes == TURNED
    assert found.outputs is None
    for before, after in ((DIGITS.train, found.train), (DIGITS.test, found.test)):
        assert named(found, after) == named(DIGITS, before)
        assert torch.equal(pixels(after), pixels(before))
        assert torch.equal(after.targets, 9 - before.targets)
    assert len({DIGITS.fingerprint(), found.fingerprint()}) == 2
    assert DIGITS.test.fingerprint() != found.test.fingerprint()
    assert found.notes == ("digits: the classes of it are in another order; they are matched by name",)
    assert isinstance(found.test, Split)


def test_what_fits_comes_back_as_it_is() -> None:
    assert match_classes(DIGITS, DIGITS.classes, whose="it") is DIGITS
    found = match_classes(DIGITS, TURNED, whose="it")
    assert match_classes(found, TURNED, whose="it") is found
    back = match_classes(found, DIGITS.classes, whose="another")
    assert torch.equal(back.test.targets, DIGITS.test.targets)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([*DIGITS.classes[:9], "nine"], "10 classes, those of it are 10; not among those of it: 9; missing: nine"),
        (DIGITS.classes[:8], "10 classes, those of it are 8; not among those of it: 8, 9;"),
        ([f"x{n}" for n in range(10)], r"not among those of it: 0, 1, 2 and 7 more; missing: x0, x1, x2 and 7 more"),
        ([*DIGITS.classes, "10"], "missing: 10; 'elinvar evaluate' .* with --subset-of-classes"),
        ([*DIGITS.classes, "3"], "two classes are called '3'"),
    ],
)
def test_other_classes_are_refused_with_what_differs(names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        match_classes(DIGITS, names, whose="it")


def test_extra_classes_are_refused_also_where_a_subset_is_allowed() -> None:
    with pytest.raises(InputError, match="not among those of it: 9; missing: nine"):
        match_classes(DIGITS, [*DIGITS.classes[:9], "nine"], whose="it", subset=True)


def test_some_classes_are_those_outputs_of_the_model() -> None:
    names = ("x", *TURNED[:4], "y", *TURNED[4:])
    found = match_classes(DIGITS, names, whose="it", subset=True)
    assert found.classes == TURNED
    assert found.outputs == (1, 2, 3, 4, 6, 7, 8, 9, 10, 11)
    assert found.model_classes == names
    assert found.name == "digits (10 of 12 classes)"
    assert named(found, found.test) == named(DIGITS, DIGITS.test)
    assert match_classes(found, names, whose="it") is found


def test_letters_with_accents_are_the_same_in_one_piece_and_in_two() -> None:
    one, two = replace(DIGITS, classes=("\u00e9", *"123456789")), ("1", "e\u0301", *"23456789")
    found = match_classes(one, two, whose="it")
    assert found.classes == ("1", "\u00e9", *"23456789")
    assert named(found, found.test) == named(one, one.test)


def test_taken_examples_keep_their_classes() -> None:
    found = match_classes(DIGITS, TURNED, whose="it").test
    assert isinstance(found, Relabelled)
    part = found.take(torch.tensor([4, 2]))
    assert part.targets.tolist() == (9 - DIGITS.test.targets[[4, 2]]).tolist()
    assert found.take(torch.arange(len(found))).fingerprint() == found.fingerprint()


@pytest.mark.parametrize("layout", ["npy", "folder"])
def test_corrupted_files_have_the_classes_of_matched_data(layout: str, tmp_path: Path) -> None:
    write_corrupted(DIGITS.test, tmp_path, classes=DIGITS.classes, names=("fog",), severities=(1,), layout=layout)
    found = match_classes(DIGITS, TURNED, whose="it")
    before = read_corrupted(tmp_path, classes=DIGITS.classes, clean=DIGITS.test).split("fog", 1)
    files = read_corrupted(tmp_path, classes=TURNED, clean=found.test)
    after = files.split("fog", 1)
    if layout == "npy":
        assert torch.equal(after.targets, found.test.targets)
    images = {
        tuple(image.flatten().tolist()): TURNED[of] for image, of in zip(pixels(after), after.targets, strict=True)
    }
    for image, of in zip(pixels(before), before.targets.tolist(), strict=True):
        assert images[tuple(image.flatten().tolist())] == DIGITS.classes[of]
    plain = read_corrupted(tmp_path, classes=DIGITS.classes, clean=DIGITS.test)
    assert files.fingerprint("fog") != plain.fingerprint("fog")


def test_published_arrays_have_the_order_of_the_data_as_they_were_read(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.tile(DIGITS.test.targets.numpy().astype(np.uint8), 5))
    np.save(tmp_path / "fog.npy", np.zeros((150, 8, 8, 3), np.uint8))
    found = match_classes(DIGITS, TURNED, whose="it")
    assert found.match is not None
    files = read_corrupted(tmp_path, classes=TURNED, clean=found.test, stored=found.match.stored)
    assert torch.equal(files.split("fog", 1).targets, found.test.targets)
    with pytest.raises(InputError, match="labels of 30 images that are not those of the test set"):
        read_corrupted(tmp_path, classes=TURNED, clean=found.test).split("fog", 1)


def test_corrupted_arrays_of_other_classes_are_refused(tmp_path: Path) -> None:
    write_corrupted(DIGITS.test, tmp_path, classes=DIGITS.classes, names=("fog",), severities=(1,))
    others = [*DIGITS.classes[:9], "nine"]
    with pytest.raises(InputError, match="classes 9 are none of the 10 of the test set"):
        read_corrupted(tmp_path, classes=others).split("fog", 1)
    content = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**content, "classes": [1]}))
    with pytest.raises(InputError, match="its classes are no list of names"):
        read_corrupted(tmp_path, classes=others)


def test_corrupted_folders_leave_out_hidden_things_and_say_where_they_are(tmp_path: Path) -> None:
    root = tmp_path / "blur"
    write_corrupted(DIGITS.test, root, classes=DIGITS.classes, names=("fog",), severities=(1,), layout="folder")
    (root / "fog" / "1" / ".cache").mkdir()
    (root / "__MACOSX" / "1").mkdir(parents=True)
    files = read_corrupted(root, classes=DIGITS.classes, clean=DIGITS.test)
    assert files.names == ("fog",)
    assert len(files.split("fog", 1)) == 30
    with pytest.raises(InputError, match=rf"did you mean {root}\?"):
        read_corrupted(tmp_path, classes=DIGITS.classes)


def test_videos_of_other_classes_are_refused(tmp_path: Path) -> None:
    for label in (*DIGITS.classes, "ten"):
        for number in range(3):
            path = tmp_path / "snow" / label / f"{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (tmp_path / "snow" / "0" / "._0.mp4").touch()
    files = read_perturbed(tmp_path, classes=DIGITS.classes, clean=DIGITS.test)
    with pytest.raises(InputError, match="snow/ten: not a class of the test set"):
        files.fingerprint("snow")
    for path in (tmp_path / "snow" / "ten").iterdir():
        path.unlink()
    (tmp_path / "snow" / "ten").rmdir()
    assert len(files.fingerprint("snow")) == 64


def test_folders_called_by_numbers_can_be_had_as_they_once_were_ordered(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for number in range(12):
            for copy in range(2):
                draw(tmp_path / part / str(number) / f"{copy}.png", number)
    data = read_folder(tmp_path, size=8)
    before = in_text_order(data)
    assert before is not None
    assert before.classes == ("0", "1", "10", "11", *"23456789")
    assert before.test.targets.tolist() == [place for place in range(12) for _ in range(2)]
    assert torch.equal(pixels(before.test)[4], pixels(data.test)[20])
    assert in_text_order(DIGITS) is None


def test_few_names_stand_for_many() -> None:
    assert few("abcde") == "a, b, c and 2 more"
    assert few("abc") == "a, b, c"
