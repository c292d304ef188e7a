"""CIFAR from all four official layouts, and one clear line for everything that can be wrong with them."""

import codecs
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elinvar.check import InputError
from elinvar.data import load
from elinvar.data.array import ArraySplit
from elinvar.data.cifar import CIFAR10, read_cifar
from elinvar.data.cifar_files import PIXELS

from .conftest import NAMES, Official, python2, python3, python3_new

KINDS = ("cifar10", "cifar100")
LAYOUTS = {"binary": 0, "pickled": 1}


@pytest.fixture(params=KINDS)
def official(request: pytest.FixtureRequest) -> Official:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Official)
    return found


def check(official: Official, where: Path) -> None:
    data = read_cifar(official.cifar, where)
    assert (data.name, data.classes) == (official.cifar.name, tuple(NAMES[official.cifar.name]))
    assert (data.mean, data.std) == (official.cifar.mean, official.cifar.std)
    count = official.cifar.train
    for split, part in ((data.train, slice(count)), (data.test, slice(count, None))):
        assert isinstance(split, ArraySplit)
        expected = official.images[part].reshape(-1, 3, 32, 32)
        assert np.array_equal(split.images.numpy(), expected)
        assert split.targets.tolist() == official.labels[part].tolist()


@pytest.mark.parametrize("place", LAYOUTS.values(), ids=LAYOUTS)
def test_the_folder_and_the_folder_around_it_are_read(official: Official, place: int, tmp_path: Path) -> None:
    layout = official.cifar.layouts[place]
    folder = official.write(layout, tmp_path / layout.folder)
    check(official, tmp_path)
    check(official, folder)
    check(official, folder.rename(tmp_path / "renamed"))


@pytest.mark.parametrize("dump", [python2, python3, python3_new])
def test_pickles_of_every_age_are_read(
    official: Official, dump: Callable[[Path, object], None], tmp_path: Path
) -> None:
    official.write(official.cifar.layouts[1], tmp_path, dump)
    check(official, tmp_path)


def test_python2_pickles_in_tests_are_what_python2_wrote(tmp_path: Path) -> None:
    path = tmp_path / "old"
    python2(path, {"data": np.zeros((2, 3), dtype=np.uint8)})
    content = path.read_bytes()
    assert b"numpy.core.multiarray\n_reconstruct" in content
    assert set(pickle.loads(content, encoding="bytes")) == {b"data"}


@pytest.mark.parametrize("place", LAYOUTS.values(), ids=LAYOUTS)
def test_an_archive_is_unpacked_and_read(official: Official, place: int, tmp_path: Path) -> None:
    layout = official.cifar.layouts[place]
    where = tmp_path / "where"
    where.mkdir()
    official.pack(layout, where / layout.archive.name, tmp_path / "scratch")
    check(official, where)
    assert sorted(path.name for path in where.iterdir()) == sorted([layout.folder, layout.archive.name])
    check(official, where)


def test_the_official_sizes_are_expected(tmp_path: Path) -> None:
    layout = CIFAR10.layouts[0]
    (tmp_path / layout.meta).write_text("\n".join(NAMES["cifar10"]))
    for name in (*layout.train, *layout.test):
        with (tmp_path / name).open("wb") as file:
            file.truncate(30_730_000)
    data = load(f"cifar10:{tmp_path}")
    assert (len(data.train), len(data.test), data.train.shape) == (50_000, 10_000, (3, 32, 32))
    os.truncate(tmp_path / layout.train[2], 30_730_000 - 3073)
    with pytest.raises(InputError, match=r"data_batch_3\.bin: got 30726927 bytes, expected 10000 records of 3073"):
        load(f"cifar10:{tmp_path}")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1000)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def label_10(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3073 * 4] = 10
    path.write_bytes(content)


def one_name_less(path: Path) -> None:
    path.write_text("\n".join(path.read_text().split()[1:]))


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 10)


Fault = Callable[[Path], None]

BINARY_FAULTS: dict[str, tuple[str, Fault, str]] = {
    "missing": ("data_batch_4.bin", Path.unlink, "missing, expected all of data_batch_1.bin.*download=True"),
    "missing test": ("test_batch.bin", Path.unlink, "missing, expected all of"),
    "missing names": ("batches.meta.txt", Path.unlink, "missing, expected all of"),
    "cut": ("data_batch_1.bin", cut, "got 60460 bytes, expected 20 records of 3073 = 61460; get the official"),
    "longer": ("test_batch.bin", lengthen, "got 61461 bytes, expected 20 records"),
    "empty": ("data_batch_5.bin", empty, "got 0 bytes"),
    "label": ("data_batch_2.bin", label_10, "label 10 of record 4, expected 0 to 9"),
    "unreadable": ("data_batch_2.bin", become_folder, "bytes, expected 20 records|Is a directory"),
    "unreadable names": ("batches.meta.txt", become_folder, "Is a directory; expected a readable file"),
    "few names": ("batches.meta.txt", one_name_less, "got 9 class names, expected 10"),
    "names not text": ("batches.meta.txt", garbage, "not text"),
}


@pytest.mark.parametrize("fault", BINARY_FAULTS)
def test_faults_of_binary_files_are_named(cifar10: Official, fault: str, tmp_path: Path) -> None:
    name, damage, message = BINARY_FAULTS[fault]
    cifar10.write(cifar10.cifar.layouts[0], tmp_path)
    damage(tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: .*({message})") as caught:
        read_cifar(cifar10.cifar, tmp_path)
    assert "\n" not in str(caught.value)


def test_labels_of_cifar100_are_the_fine_ones_and_are_checked(cifar100: Official, tmp_path: Path) -> None:
    cifar100.write(cifar100.cifar.layouts[0], tmp_path)
    content = bytearray((tmp_path / "train.bin").read_bytes())
    content[1] = 100
    (tmp_path / "train.bin").write_bytes(content)
    with pytest.raises(InputError, match=r"train\.bin: label 100 of record 0, expected 0 to 99"):
        read_cifar(cifar100.cifar, tmp_path)


def content(**changes: object) -> dict[str, object]:
    right: dict[str, object] = {"data": np.zeros((20, PIXELS), dtype=np.uint8), "labels": [1] * 20}
    return right | changes


PICKLE_FAULTS: dict[str, tuple[object, str]] = {
    "no dictionary": ([1, 2], "holds a list, expected a dictionary"),
    "no data": ({"labels": [1] * 20}, "got no array under 'data'"),
    "data of text": (content(data="text"), "got no array under 'data'"),
    "data too short": (content(data=np.zeros((19, PIXELS), dtype=np.uint8)), r"shape \(19, 3072\)"),
    "data flat": (content(data=np.zeros(20 * PIXELS, dtype=np.uint8)), r"shape \(61440,\)"),
    "data of floats": (content(data=np.zeros((20, PIXELS))), r"damaged pickle \(array of f8, expected bytes"),
    "data of objects": (content(data=np.zeros(3, dtype=object)), r"array of O8?, expected bytes"),
    "no labels": ({"data": np.zeros((20, PIXELS), dtype=np.uint8)}, "a list of 20 whole numbers under 'labels'"),
    "too few labels": (content(labels=[1] * 19), "a list of 20 whole numbers"),
    "labels of text": (content(labels=["1"] * 20), "a list of 20 whole numbers"),
    "label 10": (content(labels=[0] * 3 + [10] + [0] * 16), "label 10 of record 3, expected 0 to 9"),
    "label -1": (content(labels=[-1] * 20), "labels span -1 to -1"),
    "label 266": (content(labels=[266] * 20), "labels span 266 to 266"),
}


@pytest.mark.parametrize("dump", [python2, python3, python3_new])
@pytest.mark.parametrize("fault", PICKLE_FAULTS)
def test_faults_of_pickles_are_named(
    cifar10: Official, fault: str, dump: Callable[[Path, object], None], tmp_path: Path
) -> None:
    wrong, message = PICKLE_FAULTS[fault]
    cifar10.write(cifar10.cifar.layouts[1], tmp_path)
    dump(tmp_path / "data_batch_3", wrong)
    with pytest.raises(InputError, match=f"data_batch_3: .*{message}"):
        read_cifar(cifar10.cifar, tmp_path)


@pytest.mark.parametrize("damage", [cut, empty, garbage, become_folder])
def test_damaged_pickles_are_named(cifar10: Official, damage: Fault, tmp_path: Path) -> None:
    cifar10.write(cifar10.cifar.layouts[1], tmp_path)
    damage(tmp_path / "test_batch")
    with pytest.raises(InputError, match=r"test_batch: (damaged pickle|Is a directory)") as caught:
        read_cifar(cifar10.cifar, tmp_path)
    assert "\n" not in str(caught.value)


def test_names_in_pickles_are_checked(cifar10: Official, tmp_path: Path) -> None:
    cifar10.write(cifar10.cifar.layouts[1], tmp_path)
    python2(tmp_path / "batches.meta", {"label_names": "text"})
    with pytest.raises(InputError, match=r"batches\.meta: expected a list of class names under 'label_names'"):
        read_cifar(cifar10.cifar, tmp_path)


class Call:
    """Pickles as the call of a function: what a pickle from a stranger may do."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.parts = function, arguments

    def __reduce__(self) -> Any:
        return self.parts


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("function", [os.system, eval, np.load, pickle.loads, shutil.rmtree])
def test_pickles_that_would_run_code_are_refused(
    cifar10: Official, function: Callable[..., object], wrapped: bool, protocol: int, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    arguments = {os.system: f"touch {marker}", eval: f"open({str(marker)!r}, 'w').close()"}
    call = Call(function, arguments.get(function, str(marker)))
    cifar10.write(cifar10.cifar.layouts[1], tmp_path)
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(content(x=call) if wrapped else call, protocol=protocol))
    with pytest.raises(InputError, match="data_batch_1: refuses to load this pickle, which asks for") as caught:
        read_cifar(cifar10.cifar, tmp_path)
    assert function.__name__ in str(caught.value)
    assert not marker.exists()


def test_the_refused_call_is_one_that_works(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(Call(os.system, f"touch {marker}")))
    assert marker.exists()


def test_codecs_other_than_that_of_old_pickles_are_refused(cifar10: Official, tmp_path: Path) -> None:
    cifar10.write(cifar10.cifar.layouts[1], tmp_path)
    python3(tmp_path / "data_batch_1", content(data=Call(codecs.encode, "x", "rot13")))
    with pytest.raises(InputError, match=r"data_batch_1: damaged pickle \(text in rot13"):
        read_cifar(cifar10.cifar, tmp_path)


def test_what_was_looked_for_is_listed(cifar10: Official, tmp_path: Path) -> None:
    looked = (
        "looked there for cifar-10-batches-bin/, cifar-10-binary.tar.gz, cifar-10-batches-py/, cifar-10-python.tar.gz"
    )
    for where, state in (
        (tmp_path, "holds no such data"),
        (tmp_path / "none", "does not exist"),
        (Path(__file__), "is a file"),
    ):
        with pytest.raises(InputError, match=f"{where} {state}; {looked}.*download=True"):
            read_cifar(cifar10.cifar, where)


def test_a_folder_of_pictures_is_not_taken_for_cifar100(cifar100: Official, pictures: Path) -> None:
    with pytest.raises(InputError, match="holds no such data"):
        read_cifar(cifar100.cifar, pictures)
