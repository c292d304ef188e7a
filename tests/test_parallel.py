"""Pieces of a batch on all cores: each item once, errors raised, alive after a fork and inside of threads."""

import multiprocessing
import threading

import numpy as np
import pytest
import torch

from elinvar import parallel
from elinvar.parallel import for_pieces


def covered(total: int = 1000, piece: int = 7) -> bool:
    seen: list[int] = []
    for_pieces(lambda start, stop: seen.extend(range(start, stop)), total, piece)
    return sorted(seen) == list(range(total))


@pytest.fixture(params=["torch's team", "pool"], autouse=True)
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "pool":
        monkeypatch.setattr(parallel, "_team", parallel._address(parallel._pool_team))


def test_each_item_once() -> None:
    for _ in range(50):
        torch.ones(1000, 1000).sum()  # wakes torch's workers
        assert covered()
    assert covered(0)
    assert covered(1)


def test_an_error_is_raised_and_the_next_call_works() -> None:
    def fails(start: int, stop: int) -> None:
        raise KeyError(start)

    for _ in range(20):
        with pytest.raises(KeyError):
            for_pieces(fails, 100, 1)
    assert covered()


def test_inside_of_threads() -> None:
    results: list[bool] = []
    several = [threading.Thread(target=lambda: results.append(covered())) for _ in range(4)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join(60)
    assert results == [True] * 4


def _in_child(queue: "multiprocessing.Queue[bool]") -> None:
    queue.put(covered() and spread_evenly())


@pytest.mark.filterwarnings("ignore:This process")
def test_after_a_fork() -> None:
    assert covered()
    assert spread_evenly()
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[bool] = context.Queue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0


def spread_evenly(total: int = 1000, piece: int = 7) -> bool:
    """Whether a compiled kernel sees each item once."""
    from spread_kernels import count

    seen = np.zeros(total, np.int64)
    count(seen, 3, piece, parallel.team())
    return bool((seen == 3).all())


def test_a_kernel_sees_each_item_once() -> None:
    for total in (0, 1, 7, 1000):
        for piece in (1, 7, 2000):
            assert spread_evenly(total, piece)


def test_a_kernel_inside_of_threads() -> None:
    results: list[bool] = []
    several = [threading.Thread(target=lambda: results.append(spread_evenly())) for _ in range(4)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join(60)
    assert results == [True] * 4
