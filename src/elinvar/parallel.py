"""Who runs the pieces of a batch: torch's own team of threads, or a pool.

Compiled kernels (`elinvar.jit.spread`) run on a team: threads that all call one native function. Where torch computes
with GNU OpenMP that is torch's own team: for a while after each operation of torch its workers keep their cores busy,
waiting for the next one, and threads of our own would have to share them. Elsewhere, and in a process that was forked
from another (which GNU OpenMP does not survive), a pool of plain threads serves. Inside a `DataLoader` worker
everything runs on the calling thread: the workers are the parallelism there.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch.utils.data import get_worker_info

_pool: ThreadPoolExecutor | None = None
_threads = 0
_Body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_Team = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)


def _submit(work: Callable[[], object], threads: int) -> "list[Future[object]]":
    """Have `work` called by other threads; by none while the interpreter shuts down."""
    global _pool, _threads
    if _pool is None or _threads < threads:
        _pool, _threads = ThreadPoolExecutor(threads, thread_name_prefix="elinvar"), threads
    try:
        return [_pool.submit(work) for _ in range(threads)]
    except RuntimeError:
        return []


@_Team  # type: ignore[untyped-decorator]
def _pool_team(body: int, data: int | None, threads: int, _: int) -> None:
    run = _Body(body)  # calling it releases the interpreter lock
    others = _submit(lambda: run(data), threads - 1)
    run(data)
    for other in others:
        other.result()


def _address(function: object) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]


def _team_address() -> int:
    """Where the function is that runs a body on every thread: GNU OpenMP's, if that is what torch has loaded."""
    if torch.backends.openmp.is_available():  # type: ignore[no-untyped-call]
        try:
            return _address(ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOLOAD | os.RTLD_NOW).GOMP_parallel)
        except (OSError, AttributeError):
            pass
    return _address(_pool_team)


_team = _team_address()


def _forget() -> None:
    global _pool, _team
    _pool, _team = None, _address(_pool_team)


os.register_at_fork(after_in_child=_forget)


def threads() -> int:
    """How many threads work on a batch here."""
    return 1 if get_worker_info() is not None else torch.get_num_threads()


def team() -> tuple[int, int]:
    """The number of threads, and the address of the function that runs a body on each: for `elinvar.jit.spread`."""
    return threads(), _team


def for_pieces(work: Callable[[int, int], object], total: int, piece: int) -> None:
    """Call `work(start, stop)` for consecutive pieces of at most `piece` items that cover `range(total)`.

    For work that is more than one kernel, and releases the interpreter lock for most of its time. Pieces run on up to
    `torch.get_num_threads()` threads, the calling one included, and must write to disjoint places; the first error is
    raised.
    """
    spans = [(start, min(start + piece, total)) for start in range(0, total, piece)]
    several = min(threads(), len(spans))
    if several <= 1:
        for span in spans:
            work(*span)
        return
    queue = iter(spans)  # shared: list iterators hand out each item once, also between threads
    errors: list[BaseException] = []

    def drain(_: object) -> None:
        try:
            for span in queue:
                work(*span)
        except BaseException as error:  # nothing may pass through a foreign thread's frames
            errors.append(error)

    body = _Body(drain)
    _Team(_team)(_address(body), None, several, 0)
    if errors:
        raise errors[0]
