"""Run a compiled kernel over pieces of a batch on all cores.

Kernels release the interpreter lock, so plain threads serve; there is no OpenMP region that a later fork could break.
A process forked from one that used the pool starts a pool of its own. Inside a `DataLoader` worker everything runs on
the calling thread: the workers are the parallelism there.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch.utils.data import get_worker_info

_pool: ThreadPoolExecutor | None = None
_threads = 0


def _forget() -> None:
    global _pool
    _pool = None


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

    others = [_executor(threads - 1).submit(drain) for _ in range(threads - 1)]
    try:
        drain()
    finally:
        for other in others:
            other.result()
