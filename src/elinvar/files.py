"""Writing that never leaves half a file: a temporary neighbour, flushed to the disk, then renamed into place.

What is written has the permissions of any fresh file there (the process' umask, or the folder's default access list),
whoever wrote it: safetensors 0.8 makes files for their owner alone. That also holds for a file that replaces another.
"""

import json
import math
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .check import InputError


def _explain(path: Path, error: OSError) -> InputError:
    reason = error.strerror or str(error)
    return InputError(f"cannot write {path}: {reason}; free space or choose a place that can be written")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _permissions(path: Path) -> int:
    """Of a fresh file at `path`, which must not exist. There is no way to ask for a umask that is safe with threads."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)
        path.unlink()


def _allow(path: Path, mode: int) -> None:
    """Give a file these permissions, or a folder and all below it, which can be entered where a file could be read."""
    for below in path.iterdir() if path.is_dir() and not path.is_symlink() else ():
        _allow(below, mode)
    before = path.lstat().st_mode
    wanted = mode | (mode & 0o444) >> 2 if stat.S_ISDIR(before) else mode
    if not stat.S_ISLNK(before) and before & 0o777 != wanted:
        path.chmod(stat.S_IMODE(before) & ~0o777 | wanted)  # a folder stays setgid


def _neighbour(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def make_directory(path: Path) -> None:
    """Create `path` and its parents; raises `InputError` where that cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _explain(path, error) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; what was written there takes its place, or nothing changes.

    Raises `InputError` when the disk refuses (full, read-only, not permitted).
    """
    make_directory(path.parent)
    temporary = _neighbour(path)
    try:
        temporary.unlink(missing_ok=True)
        mode = _permissions(temporary)
        yield temporary
        _allow(temporary, mode)
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise _explain(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text`, as a whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def to_json(value: Any, *, indent: int | None = None) -> str:
    """`value` as JSON that every reader takes: numbers that are not finite, which JSON does not have, become null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary folder whose files become the new folder `path` in one rename, or nothing does."""
    make_directory(path.parent)
    temporary = _neighbour(path)
    try:
        temporary.mkdir()
        mode = _permissions(temporary / ".permissions")
        yield temporary
        _allow(temporary, mode)
        for file in temporary.iterdir():
            _sync(file)
        _sync(temporary)
        temporary.rename(path)
        _sync(path.parent)
    except OSError as error:
        raise _explain(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
