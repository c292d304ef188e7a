"""Folders of images: which files count, how they are split, and the same batches from any number of workers."""

import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
import torch

from elinvar.check import InputError
from elinvar.data import epoch_order
from elinvar.data.crop import to_tensor
from elinvar.data.decode import decode
from elinvar.data.folder import FolderSplit
from elinvar.data.listing import read_folder
from elinvar.rng import Seeds
from elinvar.views import Batch

from .conftest import draw

# A machine with one core would be warned of two workers.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


def train_of(root: Path, size: int = 16) -> FolderSplit:
    split = read_folder(root, size=size).train
    assert isinstance(split, FolderSplit)
    return split


def names(split: object) -> list[str]:
    assert isinstance(split, FolderSplit)
    return [split.path(place).relative_to(split.root).as_posix() for place in range(len(split))]


def read(split: FolderSplit, workers: int, key: int | None = None, start: int = 0) -> list[Batch]:
    order = epoch_order(len(split), Seeds(1), 0)
    return list(split.batches(order, 4, workers=workers, key=key, start=start))


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x.images, y.images) and torch.equal(x.targets, y.targets) and torch.equal(x.index, y.index)
        for x, y in zip(a, b, strict=True)
    )


def test_classes_are_the_folders_in_the_order_of_their_names(pictures: Path) -> None:
    data = read_folder(pictures)
    assert data.classes == ("ant", "bee", "cow")
    assert data.train.targets.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert data.test.targets.tolist() == [0, 0, 1, 1, 2, 2]
    assert names(data.train)[:3] == ["ant/0.png", "ant/1.png", "ant/2.png"]
    assert (data.name, data.train.shape) == ("pictures", (3, 224, 224))
    assert data.mean == (0.485, 0.456, 0.406)


def test_batches_are_the_decoded_files(pictures: Path) -> None:
    split = train_of(pictures)
    for batch in read(split, workers=0):
        for image, place in zip(batch.images, batch.index.tolist(), strict=True):
            assert torch.equal(image, to_tensor(split.crop.centre(decode(split.path(place)))))


@pytest.mark.parametrize("key", [None, 12345])
def test_any_number_of_workers_gives_the_same_batches(pictures: Path, key: int | None) -> None:
    split = train_of(pictures)
    alone = read(split, workers=0, key=key)
    for workers in (1, 2):
        assert same(alone, read(split, workers=workers, key=key))
        assert same(alone[2:], read(split, workers=workers, key=key, start=2))
    assert multiprocessing.active_children() == []


def test_random_crops_belong_to_the_key_and_the_example(pictures: Path) -> None:
    split = train_of(pictures)
    batch, other, centre = (read(split, workers=0, key=key)[0] for key in (1, 2, None))
    alone = next(split.batches(batch.index[2:3], 1, workers=0, key=1))
    assert torch.equal(alone.images[0], batch.images[2])
    assert not torch.equal(batch.images, other.images)
    assert not torch.equal(batch.images, centre.images)


def test_the_default_number_of_workers_reads_everything(pictures: Path) -> None:
    found = list(train_of(pictures).batches(torch.arange(15), 4))
    assert torch.equal(torch.cat([batch.index for batch in found]), torch.arange(15))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_file_is_one_clear_line_and_ends_the_workers(pictures: Path, workers: int) -> None:
    broken = pictures / "train" / "bee" / "7.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(InputError, match=f"{broken}: cannot be read as an image") as caught:
        read(train_of(pictures), workers=workers)
    assert "\n" not in str(caught.value)
    assert multiprocessing.active_children() == []


def test_leaving_early_ends_the_workers(pictures: Path) -> None:
    batches = train_of(pictures).batches(torch.arange(15), 2, workers=2)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    del batches
    assert multiprocessing.active_children() == []


def test_workers_leave_the_global_generator_alone(pictures: Path) -> None:
    before = torch.get_rng_state()
    read(train_of(pictures), workers=1, key=3)
    assert torch.equal(before, torch.get_rng_state())


def test_fewer_than_no_workers_are_refused(pictures: Path) -> None:
    with pytest.raises(InputError, match="workers: got -1"):
        read(train_of(pictures), workers=-1)


def test_images_are_found_by_extension_in_any_case_and_at_any_depth(pictures: Path) -> None:
    ant = pictures / "train" / "ant"
    for name in ("NEW.PNG", "deep/er/x.JpG", "ü.webp"):
        draw(ant / name, 1)
    for name in ("notes.txt", ".hidden.png", "Thumbs.db", "noextension"):
        (ant / name).write_text("not counted")
    (pictures / "train" / ".cache").mkdir()
    expected = ["ant/0.png", "ant/1.png", "ant/2.png", "ant/3.png", "ant/4.png"]
    expected += ["ant/NEW.PNG", "ant/deep/er/x.JpG", "ant/ü.webp"]
    split = train_of(pictures)
    assert names(split)[:8] == sorted(expected)
    assert len(split) == 18
    assert len(read(split, workers=0)) == 5


def test_file_names_need_not_be_text(pictures: Path) -> None:
    path = os.fsdecode(os.fsencode(pictures / "train" / "ant") + b"/\xff.png")
    shutil.copy(pictures / "train" / "ant" / "0.png", path)
    split = train_of(pictures)
    assert str(split.path(5)) == path
    assert len(split.fingerprint()) == 64
    assert len(train_of(pictures / "train")) == 13


def test_val_serves_where_there_is_no_test(pictures: Path) -> None:
    (pictures / "test").rename(pictures / "val")
    assert len(read_folder(pictures).test) == 6
    draw(pictures / "test" / "ant" / "x.png", 3)
    assert len(read_folder(pictures).test) == 1


def test_classes_may_lack_test_images_but_not_training_images(pictures: Path) -> None:
    shutil.rmtree(pictures / "test" / "bee")
    assert read_folder(pictures).test.targets.tolist() == [0, 0, 2, 2]
    (pictures / "train" / "dog").mkdir()
    with pytest.raises(InputError, match=r"train/dog: holds no images \(\.bmp .*\); add some or remove this class"):
        read_folder(pictures)


def test_test_classes_must_be_training_classes(pictures: Path) -> None:
    draw(pictures / "test" / "dog" / "x.png", 3)
    with pytest.raises(InputError, match=r"test/dog: this class has no folder in .*train"):
        read_folder(pictures)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (["train"], "has test but not train"),
        (["test"], "has train but not test or val"),
        (["train", "test"], "holds no folders, expected one folder of images for each class"),
        (["test/ant", "test/bee", "test/cow"], "test: holds no images to test with"),
        (["train/ant", "train/bee", "train/cow", "test/ant", "test/bee", "test/cow"], "train: holds no folders"),
    ],
)
def test_folders_that_lack_a_part_are_refused(pictures: Path, gone: list[str], message: str) -> None:
    for name in gone:
        shutil.rmtree(pictures / name)
    with pytest.raises(InputError, match=message):
        read_folder(pictures)


def test_a_missing_folder_and_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none: No such file or directory; expected"):
        read_folder(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: Not a directory; expected"):
        read_folder(tmp_path / "file")


def test_without_parts_a_fifth_of_each_class_is_set_apart_by_file_names(pictures: Path, tmp_path: Path) -> None:
    root = tmp_path / "flat"
    for number in range(29):
        draw(root / "ant" / f"{number}.png", number)
    for number in range(3):
        draw(root / "bee" / f"{number}.png", number)
    data = read_folder(root)
    assert data.test.targets.bincount().tolist() == [6, 1]
    assert data.train.targets.bincount().tolist() == [23, 2]
    train, test = set(names(data.train)), set(names(data.test))
    assert not train & test
    assert len(train | test) == 32
    assert test == {*(f"ant/{number}.png" for number in (1, 3, 5, 6, 16, 22)), "bee/0.png"}
    before = data.train.fingerprint(), data.test.fingerprint()
    again = read_folder(root.rename(tmp_path / "elsewhere"))
    assert set(names(again.test)) == test
    assert (again.train.fingerprint(), again.test.fingerprint()) == before


def test_one_image_cannot_be_split(pictures: Path) -> None:
    draw(pictures / "train" / "dog" / "x.png", 3)
    with pytest.raises(InputError, match="dog: holds one image, expected two or more"):
        read_folder(pictures / "train")


def test_fingerprints_see_names_contents_and_crops(pictures: Path) -> None:
    split = train_of(pictures)
    before = split.fingerprint()
    assert before == train_of(pictures).fingerprint()
    assert before != train_of(pictures, size=24).fingerprint()
    path = split.path(3)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert train_of(pictures).fingerprint() != before
    unread = train_of(pictures)
    renamed = path.rename(path.with_name("x.png"))
    with pytest.raises(InputError, match=r"3\.png: No such file or directory; the data changed while in use"):
        unread.fingerprint()
    assert renamed in [train_of(pictures).path(place) for place in range(5)]
