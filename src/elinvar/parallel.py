"""Run a compiled kernel over pieces of a batch on all cores.

Kernels release the interpreter lock. Where torch computes with GNU OpenMP, pieces run on torch's own team of threads:
for a while after each operation of torch its workers keep their cores busy, waiting for the next one, and threads of
our own would have to share them. Elsewhere, and in a process that was forked from another (which GNU OpenMP does not
survive), a pool of plain threads serves. Inside a `DataLoader` worker everything runs on the calling thread: the
workers are the parallelism there.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import torch
from torch.utils.data import get_worker_info

_pool: ThreadPoolExecutor | None = None
_threads = 0
_Body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _gomp() -> Callable[..., object] | None:
    """The function that runs a body on every thread of torch's team, if GNU OpenMP is what torch has loaded."""
    try:
        library = ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except (OSError, AttributeError):
        return None
    run = library.GOMP_parallel
    run.argtypes, run.restype = (_Body, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint), None
    return cast(Callable[..., object], run)


_team = _gomp() if torch.backends.openmp.is_available() else None  # type: ignore[no-untyped-call]


def _forget() -> None:
    global _pool, _team
    _pool, _team = None, None


os.register_at_fork(after_in_child=_forget)


def _executor(threads: int) -> ThreadPoolExecutor:
    global _pool, _threads
    if _pool is None or _threads < threads:
        _pool, _threads = ThreadPoolExecutor(threads, thread_name_prefix="elinvar"), threads
    return _pool


def for_pieces(work: Callable[[int, int], object], total: int, piece: int) -> None:
    """Call `work(start, stop)` for consecutive pieces of at most `piece` items that cover `range(total)`.

    Pieces run on up to `torch.get_num_threads()` threads, the calling one included; the first error is raised. `work`
    must release the interpreter lock to gain from it, and pieces must write to disjoint places.
    """
    spans = [(start, min(start + piece, total)) for start in range(0, total, piece)]
    threads = 1 if get_worker_info() is not None else min(torch.get_num_threads(), len(spans))
    if threads <= 1:
        for span in spans:
            work(*span)
        return
    queue = iter(spans)  # shared: list iterators hand out each item once, also between threads

    def drain() -> None:
        for span in queue:
            work(*span)

    if _team is not None:
        _on_team(_team, drain, threads)
        return
    others = [_executor(threads - 1).submit(drain) for _ in range(threads - 1)]
    try:
        drain()
    finally:
        for other in others:
            other.result()


def _on_team(team: Callable[..., object], work: Callable[[], None], threads: int) -> None:
    errors: list[BaseException] = []

    def body(_: object) -> None:
        try:
            work()
        except BaseException as error:  # nothing may pass through a foreign thread's frames
            errors.append(error)

    team(_Body(body), None, threads, 0)
    if errors:
        raise errors[0]
