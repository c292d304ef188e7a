"""numba's cache on disk, for processes that fill it at the same moment.

numba looks which files of a function are taken, writes into the index which file will hold the new code, then the code.
Two processes that compile one function for different types at once choose the same file, and whoever loads it later may
get code for other types than it asked for. So one of them at a time: two training runs may start on a new machine.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock


def share(dispatcher: Any) -> None:
    """Let a compiled function's cache be read and written by one process at a time."""
    file = getattr(dispatcher._cache, "_cache_file", None)
    if file is None:  # there is nowhere to write
        return
    lock = Path(file._cache_path) / "kernels.lock"
    file.load, file.save = _alone(file.load, lock), _alone(file.save, lock)


def _alone(work: Callable[..., Any], lock: Path) -> Callable[..., Any]:
    def locked(*arguments: Any) -> Any:
        held = FileLock(lock)
        with suppress(OSError):  # what cannot be locked cannot be written either
            held.acquire()
        try:
            return work(*arguments)
        finally:
            held.release()

    return locked
