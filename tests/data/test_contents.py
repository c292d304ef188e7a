"""Sums of file contents: remembered while the file is surely the same, and never longer."""

import os
import sqlite3
import time
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from elinvar.check import InputError
from elinvar.data import contents
from elinvar.data.contents import cache_folder, digests, forget

OLD = time.time_ns() - 10**12


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ELINVAR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as settled the moment it is written."""
    monkeypatch.setattr(contents, "TICK", -(10**12))
    path = tmp_path / "x.bin"
    path.write_bytes(b"one")
    return path


def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which files are read from now on."""
    read, plain = list[Path](), contents._hash

    def note(path: Path) -> bytes:
        read.append(path)
        return plain(path)

    monkeypatch.setattr(contents, "_hash", note)
    return read


def test_a_file_is_read_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert digests([file, file]) == [sha256(b"one").digest()] * 2
    read = hashed(monkeypatch)
    assert digests([file]) == [sha256(b"one").digest()]
    assert not read


def same_size(path: Path) -> None:
    path.write_bytes(b"two")


def same_size_and_time(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"two")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def older(path: Path) -> None:
    path.write_bytes(b"two")
    os.utime(path, ns=(OLD, OLD))


def linked(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"two")
    path.unlink()
    path.symlink_to(other)


@pytest.mark.parametrize("change", [same_size, same_size_and_time, replaced, older, linked])
def test_changed_contents_are_seen(change: object, file: Path) -> None:
    digests([file])
    change(file)  # type: ignore[operator]
    assert digests([file]) == [sha256(b"two").digest()]


def test_what_changed_just_now_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"one")
    digests([path])
    read = hashed(monkeypatch)
    digests([path])
    assert read == [path], "a second change within the clock's tick would not show"


def test_what_is_forgotten_is_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    near = file.with_name("x.bin2")
    near.write_bytes(b"near")
    digests([file, near])
    read = hashed(monkeypatch)
    forget(file.parent / "elsewhere")
    digests([file, near])
    assert not read
    forget(file.parent)
    digests([file, near])
    assert sorted(read) == [file, near]


def test_a_wrong_memory_is_forgotten_on_request(file: Path) -> None:
    digests([file])
    with sqlite3.connect(cache_folder() / "contents.sqlite") as memory:
        memory.execute("UPDATE contents SET sum = ?", (b"wrong",))
    assert digests([file]) == [b"wrong"]
    forget(file.parent)
    assert digests([file]) == [sha256(b"one").digest()]


@pytest.mark.parametrize("how", ["a damaged file", "a file for a folder"])
def test_without_a_memory_files_are_read_each_time(how: str, file: Path, cache: Path) -> None:
    if how == "a damaged file":
        cache.mkdir()
        (cache / "contents.sqlite").write_bytes(b"no database" * 100)
    else:
        cache.write_bytes(b"")
    for content in (b"one", b"two"):
        file.write_bytes(content)
        assert digests([file]) == [sha256(content).digest()]
    forget(file.parent)


def _in_a_process(paths: list[Path]) -> list[bytes]:
    return digests(paths)


def test_processes_share_the_memory(tmp_path: Path, file: Path) -> None:
    paths = [tmp_path / f"{number}.bin" for number in range(50)]
    for number, path in enumerate(paths):
        path.write_bytes(b"%d" % number)
        os.utime(path, ns=(OLD, OLD))
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(_in_a_process, [paths] * 4))
    assert found == [[sha256(b"%d" % number).digest() for number in range(50)]] * 4


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.bin: No such file"):
        digests([tmp_path / "gone.bin"])
