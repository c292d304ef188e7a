"""Pieces of a batch on all cores: each item once, errors raised, alive after a fork and inside of threads."""

import multiprocessing
import threading

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
        monkeypatch.setattr(parallel, "_team", None)


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
    queue.put(covered())


@pytest.mark.filterwarnings("ignore:This process")
def test_after_a_fork() -> None:
    assert covered()
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[bool] = context.Queue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0
