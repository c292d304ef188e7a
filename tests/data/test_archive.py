"""Archives give the files that are asked for and touch nothing else."""

import io
import tarfile
from pathlib import Path

import pytest

from elinvar.check import InputError
from elinvar.data.archive import MIRRORS, Archive, unpack

WANTED = {"official/a.bin": b"first" * 1000, "official/b.bin": b"second"}


def pack(path: Path, files: dict[str, bytes], *links: tuple[str, str, bytes]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name, target, kind in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    return path


def everything(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


@pytest.mark.parametrize("before", ["", "./"])
def test_wanted_files_appear_beside_the_archive(tmp_path: Path, before: str) -> None:
    path = pack(tmp_path / "x.tar.gz", {before + name: data for name, data in WANTED.items()})
    folder = unpack(path, "official", ["a.bin", "b.bin"])
    assert folder == tmp_path / "official"
    assert {f"official/{file.name}": file.read_bytes() for file in folder.iterdir()} == WANTED


def test_nothing_else_is_written(tmp_path: Path) -> None:
    where = tmp_path / "where"
    evil = {"../outside": b"x", f"{tmp_path}/absolute": b"x", "official/../../outside": b"x", "official/extra": b"x"}
    links = ("official/link", "/etc", tarfile.SYMTYPE), ("other", "official/a.bin", tarfile.LNKTYPE)
    path = pack(where / "x.tar.gz", {**evil, **WANTED}, *links)
    unpack(path, "official", ["a.bin", "b.bin"])
    assert everything(tmp_path) == {
        "where",
        "where/x.tar.gz",
        "where/official",
        "where/official/a.bin",
        "where/official/b.bin",
    }


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_not_taken_for_files(tmp_path: Path, kind: bytes) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    path = pack(tmp_path / "x.tar.gz", {"official/a.bin": b"x"}, ("official/b.bin", str(secret), kind))
    with pytest.raises(InputError, match=r"x\.tar\.gz: lacks official/b\.bin; remove it and get the official archive"):
        unpack(path, "official", ["a.bin", "b.bin"])
    assert everything(tmp_path) == {"secret", "x.tar.gz"}


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.95])
def test_damaged_archives_leave_nothing_behind(tmp_path: Path, keep: float) -> None:
    path = pack(tmp_path / "x.tar.gz", {**WANTED, "official/c.bin": bytes(range(256)) * 40})
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(InputError, match=r"x\.tar\.gz: (damaged archive|lacks)"):
        unpack(path, "official", ["a.bin", "b.bin", "c.bin"])
    assert everything(tmp_path) == {"x.tar.gz"}


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_text("<html>sorry</html>")
    with pytest.raises(InputError, match=r"x\.tar\.gz: damaged archive .*; remove it and get it again"):
        unpack(path, "official", ["a.bin"])


def test_another_process_may_be_faster(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar.gz", WANTED)
    folder = unpack(path, "official", ["a.bin", "b.bin"])
    (folder / "mark").touch()
    assert unpack(path, "official", ["a.bin", "b.bin"]) == folder
    assert {file.name for file in folder.iterdir()} == {"a.bin", "b.bin", "mark"}


def test_mirrors_of_the_user_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive("x.tar.gz", "0", ("https://official/x.tar.gz",))
    monkeypatch.delenv(MIRRORS, raising=False)
    assert archive.candidates() == ("https://official/x.tar.gz",)
    monkeypatch.setenv(MIRRORS, " http://a/b/  file:///c ")
    assert archive.candidates() == ("http://a/b/x.tar.gz", "file:///c/x.tar.gz", "https://official/x.tar.gz")
