"""Writes are whole or do not happen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from elinvar.check import InputError
from elinvar.files import make_directory, new_directory, replacing, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old")
    with pytest.raises(RuntimeError, match="stop"), replacing(file) as temporary:
        temporary.write_text("half")
        raise RuntimeError("stop")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"), new_directory(tmp_path / "b") as place:
        (place / "one").write_text("1")
        raise RuntimeError("stop")
    assert not list(tmp_path.iterdir())
    with new_directory(tmp_path / "b") as place:
        (place / "one").write_text("1")
        assert not (tmp_path / "b").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_file_in_the_way_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for write in (
        lambda: make_directory(tmp_path / "file" / "x"),
        lambda: write_text(tmp_path / "file" / "x.txt", ""),
        lambda: new_directory(tmp_path / "file" / "x").__enter__(),
    ):
        with pytest.raises(InputError, match="cannot write"):
            write()


def test_a_disk_that_refuses_leaves_nothing_half_written(tmp_path: Path) -> None:
    # A limit on the size of files makes the system refuse as a full disk does, whoever runs the test.
    code = f"""
import resource, signal, sys
from pathlib import Path
from elinvar.check import InputError
from elinvar.files import write_text
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
write_text(Path({str(tmp_path / "a")!r}), "old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_text(Path({str(tmp_path / "a")!r}), "x" * 100_000)
except InputError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert "cannot write" in done.stdout
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
