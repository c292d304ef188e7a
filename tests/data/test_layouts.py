"""Folders as people have them: read as they are meant, or refused with the way out.

The kind: a class, a part or an image is taken for something else, and nothing is said. Tried: whole numbers as names,
with zeros before them, with a sign, mixed with words, one number twice; every spelling of a part; two folders for one
part; a test part without labels beside a validation part and without one, in a folder of its own, with classes that
training lacks; one level too high, several levels, several data sets, one level too low; one class; classes called as
parts; hidden folders at any depth and what systems leave; links to folders and images, loops, links to nowhere; images
beside the classes, of kinds that are not read, with the names JPEG files have; names that differ in case alone.
"""

import shutil
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image

from elinvar.check import InputError, InputWarning
from elinvar.data import DataSet, FolderSplit
from elinvar.data.class_folders import ordered
from elinvar.data.listing import AFTER, WORDS, part_of, read_folder

from .conftest import draw


def fill(root: Path, *folders: str, count: int = 3) -> Path:
    for place, folder in enumerate(folders):
        for number in range(count):
            draw(root / folder / f"{number}.png", 10 * place + number)
    return root


def names(split: object) -> list[str]:
    assert isinstance(split, FolderSplit)
    return [split.path(place).relative_to(split.root).as_posix() for place in range(len(split))]


def told(data: DataSet) -> str:
    return "\n".join(data.notes)


NUMBERS = [
    [str(number) for number in range(12)],
    [f"{number:03}" for number in range(12)],
    ["-1", "0", "1", "2", "10"],
    ["9", "010", "0011"],
]


@pytest.mark.parametrize("labels", NUMBERS, ids=["plain", "zeros", "sign", "some zeros"])
def test_whole_numbers_are_ordered_as_numbers_and_it_is_said(labels: list[str], tmp_path: Path) -> None:
    data = read_folder(fill(tmp_path, *(f"{part}/{label}" for part in ("train", "test") for label in labels), count=1))
    assert data.classes == tuple(labels)
    assert [names(data.test)[place] for place in range(len(labels))] == [f"{label}/0.png" for label in labels]
    assert data.test.targets.tolist() == list(range(len(labels)))
    assert "are ordered as numbers" in told(data)


def test_names_that_are_not_all_numbers_are_text(tmp_path: Path) -> None:
    data = read_folder(fill(tmp_path, *(f"{part}/{label}" for part in ("train", "test") for label in ("2", "10", "x"))))
    assert data.classes == ("10", "2", "x")
    assert data.notes == ()
    assert ordered(["\N{ARABIC-INDIC DIGIT TWO}", "10"], tmp_path) == ["10", "\N{ARABIC-INDIC DIGIT TWO}"]


def test_one_number_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the folders 01 and 1 are the same number; rename one of them"):
        read_folder(fill(tmp_path, "train/1", "train/01", "test/1", "test/01"))


@pytest.mark.parametrize("train", ["train", "TRAIN", "training", "Training_Set", "train_images", "trainset"])
@pytest.mark.parametrize("test", ["Test", "testing", "eval", "Val", "valid", "validation", "dev", "validation-images"])
def test_usual_names_of_parts_are_parts(train: str, test: str, tmp_path: Path) -> None:
    data = read_folder(fill(tmp_path, *(f"{part}/{label}" for part in (train, test) for label in ("a", "b")), count=1))
    assert (data.classes, len(data.train), len(data.test)) == (("a", "b"), 2, 2)
    assert data.notes == ()


def test_part_names_are_words_alone() -> None:
    found = {part_of(word + after) for words in WORDS.values() for word in words for after in ("", *AFTER)}
    assert {item and item[1] for item in found} == {word for words in WORDS.values() for word in words}
    assert [part_of(name) for name in ("trains", "tester", "contest", "value", "device", "trainee")] == [None] * 6


def test_two_folders_for_one_part_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Test and test are two folders for the same part"):
        read_folder(fill(tmp_path, *(f"{part}/{label}" for part in ("train", "test", "Test") for label in "ab")))
    shutil.rmtree(tmp_path / "Test")
    with pytest.raises(InputError, match=r"train and training_set are two folders for the same part"):
        read_folder(fill(tmp_path, "training_set/a", "training_set/b"))


def test_test_comes_before_other_names_and_what_is_not_read_is_said(tmp_path: Path) -> None:
    parts = {"train": 3, "test": 1, "eval": 2, "val": 2}
    for part, count in parts.items():
        fill(tmp_path, f"{part}/a", f"{part}/b", count=count)
    data = read_folder(tmp_path)
    assert len(data.test) == 2
    assert "eval, val is not read; test is judged" in told(data)


@pytest.mark.parametrize("unlabelled", ["test", "test/unknown", "test/images"])
def test_a_test_part_without_labels_leaves_the_test_to_val(unlabelled: str, tmp_path: Path) -> None:
    root = fill(tmp_path, "train/cat", "train/dog", "val/cat", "val/dog", unlabelled)
    data = read_folder(root)
    assert names(data.test) == [f"{label}/{number}.png" for label in ("cat", "dog") for number in range(3)]
    assert isinstance(data.test, FolderSplit)
    assert data.test.root == root / "val"
    assert f"it is left out, and {root / 'val'} is judged" in told(data)
    shutil.rmtree(root / "val")
    (root / "val").mkdir()
    with pytest.raises(InputError, match=rf"; label it, or put a labelled part into {root / 'val'}"):
        read_folder(root)
    (root / "val").rmdir()
    message = "has no class folders, but 3 images" if unlabelled == "test" else "this class has no folder in"
    with pytest.raises(InputError, match=message):
        read_folder(root)


def test_a_test_part_with_some_other_classes_is_refused_also_beside_val(tmp_path: Path) -> None:
    root = fill(tmp_path, *(f"{part}/{label}" for part in ("train", "val", "test") for label in ("cat", "dog")))
    with pytest.raises(InputError, match=r"test/cow: this class has no folder in .*train, nor have pig"):
        read_folder(fill(root, "test/cow", "test/pig"))


@pytest.mark.parametrize("inside", [("train/cat", "train/dog", "val/cat", "val/dog"), ("Training/a", "Testing/a")])
def test_one_level_too_high_names_the_folder_that_is_meant(inside: tuple[str, ...], tmp_path: Path) -> None:
    fill(tmp_path, *(f"pets/{folder}" for folder in inside))
    with pytest.raises(InputError, match=rf"one folder too high, pets holds .*; name {tmp_path / 'pets'}"):
        read_folder(tmp_path)
    fill(tmp_path, *(f"more/{folder}" for folder in inside))
    with pytest.raises(InputError, match="name one of more, pets in "):
        read_folder(tmp_path)


def test_class_folders_one_level_down_are_found(tmp_path: Path) -> None:
    fill(tmp_path, "flat/pets/cat", "flat/pets/dog", *(f"{part}/data/{c}" for part in ("train", "val") for c in "ab"))
    with pytest.raises(InputError, match=rf"holds one folder, pets, .*; did you mean {tmp_path / 'flat/pets'}\?"):
        read_folder(tmp_path / "flat")
    with pytest.raises(InputError, match=r"train: holds one folder, data, .*; did you mean .*train/data\?"):
        read_folder(tmp_path)
    with pytest.warns(InputWarning, match=r"each of p, q holds folders \(a, b\) .*, name one of p, q"):
        read_folder(fill(tmp_path / "twice", "p/a", "p/b", "q/a", "q/b"))


def test_one_folder_of_folders_among_classes_is_told(tmp_path: Path) -> None:
    with pytest.warns(InputWarning, match=r"images holds folders \(cat, dog\) .* the classes, name images"):
        read_folder(fill(tmp_path, "images/cat", "images/dog", "annotations"))


@pytest.mark.parametrize("pair", [("seg_train", "seg_test"), ("Train-pets", "Valid-pets"), ("cub.training", "cub.val")])
def test_parts_with_another_word_in_their_names_are_no_classes(pair: tuple[str, str], tmp_path: Path) -> None:
    root = fill(tmp_path, *(f"{part}/{part}/{label}" for part in pair for label in "ab"), "seg_pred")
    with pytest.raises(InputError, match=f"{pair[0]} and {pair[1]} look like parts, not like classes; call them train"):
        read_folder(root)
    assert read_folder(fill(tmp_path / "fine", "train_station", "test_tube")).classes == ("test_tube", "train_station")


def test_one_level_too_low_names_the_folder_around_it(tmp_path: Path) -> None:
    fill(tmp_path, "cat", "dog")
    with pytest.raises(InputError, match=rf"holds images itself: name the folder around it, {tmp_path}"):
        read_folder(tmp_path / "cat")


def test_one_class_is_refused(tmp_path: Path) -> None:
    for folders in (("cat",), ("train/cat", "test/cat")):
        root = fill(tmp_path / str(len(folders)), *folders)
        with pytest.raises(InputError, match="holds one folder, cat, expected one for each of two or more classes"):
            read_folder(root)


def test_classes_may_be_called_as_parts(tmp_path: Path) -> None:
    assert read_folder(fill(tmp_path, "bus", "train", "plane")).classes == ("bus", "plane", "train")


def test_parts_that_hold_images_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train: holds no folders, expected one folder of images for each class"):
        read_folder(fill(tmp_path, "train", "test"))


def test_a_split_that_was_made_is_said_with_its_numbers(tmp_path: Path) -> None:
    data = read_folder(fill(tmp_path, "a", "b", count=10))
    assert (len(data.train), len(data.test)) == (16, 4)
    assert "no test part: 4 of 20 images, a fifth of each class, are set apart" in told(data)
    fill(tmp_path / "whole", *(f"{part}/{label}" for part in ("train", "val") for label in "ab"), count=2)
    data = read_folder(fill(tmp_path / "val_alone" / "val", "a", "b"))
    assert "beside" not in told(data)
    assert f"val beside it is not read; name {tmp_path / 'whole'}" in told(read_folder(tmp_path / "whole" / "train"))


def test_hidden_things_are_left_out_at_any_depth(tmp_path: Path) -> None:
    root = fill(tmp_path, "a", "b/deep/deeper")
    litter = (".hidden", "__MACOSX", "a/.ipynb_checkpoints", "b/deep/deeper/.cache/more", "a/@eaDir", "b/__MACOSX/b")
    fill(root, *litter)
    draw(root / "a" / "._0.png", 1)
    (root / "a" / "Thumbs.db").touch()
    (root / "b" / "desktop.ini").touch()
    data = read_folder(root)
    assert data.classes == ("a", "b")
    assert sorted([*names(data.train), *names(data.test)]) == [
        f"{label}/{number}.png" for label in ("a", "b/deep/deeper") for number in range(3)
    ]


def test_links_to_folders_and_images_are_followed(tmp_path: Path) -> None:
    fill(tmp_path, "store/cats/more", "store/dog")
    root = tmp_path / "root"
    (root / "dog").mkdir(parents=True)
    (root / "cat").symlink_to(tmp_path / "store" / "cats")
    for name in ("x.png", "y.png"):
        (root / "dog" / name).symlink_to(tmp_path / "store" / "dog" / "0.png")
    (root / "dog" / "inner").symlink_to(tmp_path / "store" / "dog")
    data = read_folder(root)
    assert len(data.train) + len(data.test) == 3 + 5
    assert sum(len(batch) for batch in data.train.batches(torch.arange(len(data.train)), 4, workers=0)) == 6
    (tmp_path / "linked").symlink_to(root)
    assert read_folder(tmp_path / "linked").train.fingerprint() == data.train.fingerprint()


@pytest.mark.parametrize("target", [".", "..", "../..", "../dog"])
def test_loops_of_links_end(target: str, tmp_path: Path) -> None:
    root = fill(tmp_path / "root", "cat", "dog")
    (root / "cat" / "again").symlink_to(target)
    (root / "dog" / "other").symlink_to("../cat")
    with pytest.warns(InputWarning, match="a link to a folder around it; it is left out"):
        data = read_folder(root)
    whole = [*names(data.train), *names(data.test)]
    assert len(whole) == len(set(whole)) == (6 + 6 if target == "../dog" else 6 + 3)


@pytest.mark.parametrize("place", ["cat/lost.png", "lost", "cat/deep/lost", "cat/self"])
def test_links_to_nowhere_are_named(place: str, tmp_path: Path) -> None:
    root = fill(tmp_path, "cat/deep", "dog")
    (root / place).symlink_to(root / place if place.endswith("self") else tmp_path / "gone")
    with pytest.raises(InputError, match=rf"{root / place}: a link that leads nowhere; repair or remove it"):
        read_folder(root)


def test_images_that_are_left_out_are_told(tmp_path: Path) -> None:
    root = fill(tmp_path, "cat", "dog")
    draw(root / "stray.png", 1)
    with pytest.warns(InputWarning, match="1 images beside the class folders belong to no class"):
        read_folder(root)
    (root / "stray.png").unlink()
    for name in ("1.heic", "2.HEIC", "3.avif", "4.npy", "notes.txt"):
        (root / "dog" / name).touch()
    with pytest.warns(InputWarning, match=r"left out \(1 \.avif, 2 \.heic, 1 \.npy\); convert them"):
        read_folder(root)
    (root / "emu").mkdir()
    (root / "emu" / "1.jp2").touch()
    with pytest.raises(InputError, match=r"emu: holds no images \(.*\), but 1 \.jp2, which are not read; add some"):
        read_folder(root)


def test_jpeg_files_are_read_under_all_their_names(tmp_path: Path) -> None:
    root = fill(tmp_path, "cat", "dog")
    for name in ("x.jfif", "y.JPE"):
        Image.new("RGB", (8, 8), (9, 9, 9)).save(root / "cat" / name, format="JPEG")
    data = read_folder(root)
    assert {"cat/x.jfif", "cat/y.JPE"} < {*names(data.train), *names(data.test)}


def test_names_that_differ_in_case_alone_are_told(tmp_path: Path) -> None:
    with pytest.warns(InputWarning, match="Cat and cat differ in case alone"):
        assert read_folder(fill(tmp_path, "Cat", "cat")).classes == ("Cat", "cat")


def test_test_classes_that_are_missing_are_said(tmp_path: Path) -> None:
    root = fill(tmp_path, "train/a", "train/b", "train/c", "test/a")
    assert "no images of 2 of 3 classes: b, c" in told(read_folder(root))


def test_a_plain_folder_has_nothing_to_tell(pictures: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_folder(pictures).notes == ()
