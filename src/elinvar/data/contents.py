"""SHA-256 sums of what files hold, computed once and remembered.

A sum is remembered with the file's path, size, inode and times of change in nanoseconds, and believed while all of them
are the same. A file that changed less than two seconds before it was hashed is not remembered: clocks of file systems
are coarse, so a second change in the same tick would not show. What is remembered can be forgotten: `--verify`.

The memory is one SQLite file, $ELINVAR_CACHE or ~/.cache/elinvar/contents.sqlite; where it cannot be written, files are
hashed each time.
"""

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ..check import InputError

TICK = 2_000_000_000  # nanoseconds within which two changes may carry the same time
TABLE = (
    "CREATE TABLE IF NOT EXISTS contents (path BLOB PRIMARY KEY, size, inode, modified, changed, sum BLOB) "
    "WITHOUT ROWID"
)
GONE = "the data changed while in use, or a download is incomplete"

State = tuple[int, int, int, int]
"""size, inode, time of modification, time of change of the inode (which nobody can set back)"""


def cache_folder() -> Path:
    """Where elinvar keeps what it need not compute twice."""
    own = os.environ.get("ELINVAR_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "elinvar"


def digests(paths: Sequence[Path]) -> list[bytes]:
    """The SHA-256 sum of each file's bytes, from memory where the file is surely the same.

    Raises `InputError` for a file that is gone or cannot be read.
    """
    states = [_state(path) for path in paths]
    keys = [os.fsencode(path.absolute()) for path in paths]
    with _memory() as memory:
        known = {} if memory is None else _recall(memory, keys)
        found = [row[1] if (row := known.get(key)) and row[0] == state else None
                 for key, state in zip(keys, states, strict=True)]  # fmt: skip
        missing = [place for place, digest in enumerate(found) if digest is None]
        began = time.time_ns()
        with ThreadPoolExecutor() as pool:
            made = dict(zip(missing, pool.map(lambda place: _hash(paths[place]), missing), strict=True))
        if memory is not None:
            _remember(memory, [(keys[p], *states[p], made[p]) for p in missing if _settled(states[p], began)])
    return [made[place] if digest is None else digest for place, digest in enumerate(found)]


def forget(folder: Path) -> None:
    """Forget what is remembered about the files below `folder`: they are hashed anew when they are asked for."""
    prefix = os.fsencode(folder.absolute()) + os.sep.encode()
    with _memory() as memory:
        if memory is not None:
            with memory:
                memory.execute("DELETE FROM contents WHERE path > ? AND path < ?", (prefix, prefix + b"\xff"))


def _settled(state: State, now: int) -> bool:
    return max(state[2], state[3]) < now - TICK


def _state(path: Path) -> State:
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {GONE}") from error
    return found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _hash(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {GONE}") from error


@contextmanager
def _memory() -> Iterator[sqlite3.Connection | None]:
    """The open memory, or None where there cannot be one."""
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        memory = sqlite3.connect(folder / "contents.sqlite", timeout=10)
    except (OSError, RuntimeError, sqlite3.Error):  # RuntimeError: no home
        yield None
        return
    with closing(memory):
        try:
            memory.execute(TABLE)
        except sqlite3.Error:  # damaged, or on a disk that is read-only
            yield None
            return
        yield memory


def _recall(memory: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, tuple[State, bytes]]:
    found = dict[bytes, tuple[State, bytes]]()
    with suppress(sqlite3.Error):
        for key in keys:
            row = memory.execute("SELECT size, inode, modified, changed, sum FROM contents WHERE path = ?", (key,))
            for size, inode, modified, changed, digest in row:
                found[key] = ((size, inode, modified, changed), digest)
    return found


def _remember(memory: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    with suppress(sqlite3.Error), memory:
        memory.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?, ?)", rows)
