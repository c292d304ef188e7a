"""Writes are whole or do not happen."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from elinvar import data
from elinvar.check import InputError
from elinvar.data.corrupting import write_corrupted
from elinvar.files import make_directory, new_directory, replacing, write_text
from elinvar.precision import Compute
from elinvar.recipe import Model
from elinvar.recipes import standard
from elinvar.rng import Seeds
from elinvar.train import Run, evaluate, fit


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


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


MASKS = {0o022: ("0o644", "0o755"), 0o002: ("0o664", "0o775"), 0o077: ("0o600", "0o700"), 0o027: ("0o640", "0o750")}


def owners_alone(path: Path) -> None:
    """As safetensors 0.8 writes: a file of its own, for the owner, moved into place."""
    other = path.with_name(f"{path.name}.other")
    other.touch(0o600)
    other.chmod(0o600)
    other.replace(path)


@pytest.mark.parametrize("mask", MASKS, ids=oct)
def test_what_is_written_has_the_permissions_of_a_fresh_file(mask: int, tmp_path: Path) -> None:
    """Tried: text, tensors, a writer for the owner alone, folders in folders, a file that replaces a closed one."""
    file, folder = MASKS[mask]
    with umask(mask):
        write_text(tmp_path / "in" / "text", "a")
        with replacing(tmp_path / "in" / "tensors") as temporary:
            save_file({"a": torch.zeros(1)}, temporary)
        with replacing(tmp_path / "in" / "own") as temporary:
            owners_alone(temporary)
        (tmp_path / "in" / "closed").touch(0o600)
        (tmp_path / "in" / "closed").chmod(0o400)
        write_text(tmp_path / "in" / "closed", "a")
        with new_directory(tmp_path / "made") as place:
            owners_alone(place / "own")
            (place / "inner").mkdir(0o700)
            owners_alone(place / "inner" / "own")
            with new_directory(place / "whole") as inner:
                owners_alone(inner / "own")
    for name in ("text", "tensors", "own", "closed"):
        assert mode(tmp_path / "in" / name) == file
    for name in ("own", "inner/own", "whole/own"):
        assert mode(tmp_path / "made" / name) == file
    for name in ("in", "made", "made/inner", "made/whole"):
        assert mode(tmp_path / name) == folder
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["inner", "own", "whole"]


def test_the_group_of_a_shared_folder_is_kept(tmp_path: Path) -> None:
    tmp_path.chmod(0o2775)
    with umask(0o002):
        with new_directory(tmp_path / "made") as place:
            owners_alone(place / "own")
        write_text(tmp_path / "text", "a")
    assert mode(tmp_path / "made") == "0o2775"
    assert mode(tmp_path / "made" / "own") == mode(tmp_path / "text") == "0o664"


def test_the_umask_of_other_threads_stays(tmp_path: Path) -> None:
    """Asking by os.umask would set it for a moment, for every thread."""
    with umask(0o022), ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: write_text(tmp_path / f"{number}", ""), range(200)))
        for number in range(200):
            assert mode(tmp_path / f"{number}") == "0o644"


def test_a_folder_may_hold_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch(0o600)
    outside.chmod(0o600)
    with umask(0o022), new_directory(tmp_path / "made") as place:
        (place / "link").symlink_to(outside)
    assert mode(outside) == "0o600"


def test_a_run_and_its_evaluation_can_be_read_by_all(tmp_path: Path) -> None:
    """Every file of a run with averaged weights, of its evaluation, and of a written test set."""
    digits, run = data.subset(data.load("digits"), train=50, test=20), Run(tmp_path / "run")
    recipe = standard(epochs=1)
    recipe = replace(recipe, model=Model(name="wrn-10-1"), train=replace(recipe.train, ema=0.9))
    compute = Compute.choose(torch.device("cpu"))
    with umask(0o022):
        fit(recipe, digits, run, seeds=Seeds(0), compute=compute)
        evaluate(run, recipe, digits, compute, suites=("clean",))
        write_corrupted(digits.test, tmp_path / "set", classes=digits.classes, names=("fog",), severities=(1,))
    assert {path.suffix for path in tmp_path.rglob("*")} >= {".safetensors", ".pt", ".json", ".npy", ".yaml", ".jsonl"}
    assert {mode(path) for path in tmp_path.rglob("*") if path.is_file()} == {"0o644"}
    assert {mode(path) for path in tmp_path.rglob("*") if path.is_dir()} == {"0o755"}
