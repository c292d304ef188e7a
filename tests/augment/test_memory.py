"""Memory of results is used again when they are gone, and never before."""

import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from elinvar.augment.compiled import memory

SHAPE = (7, memory.SMALLEST // 4)


@pytest.fixture(autouse=True)
def _forget() -> None:
    memory._forget()


def place() -> int:
    return memory.empty(SHAPE, torch.float32).data_ptr()


def test_memory_of_the_dead_is_used_again() -> None:
    first = memory.empty(SHAPE, torch.float32)
    assert first.data_ptr() % memory.ALIGNED == 0
    assert (first.shape, first.dtype) == (SHAPE, torch.float32)
    was = first.data_ptr()
    del first
    assert place() == place() == was


def test_memory_of_the_living_is_not() -> None:
    """A view, an array, a storage, a graph: each of them keeps the memory of a result."""
    weight = torch.ones((), requires_grad=True)
    keepers: tuple[Callable[[Tensor], object], ...] = (
        lambda result: result[3:, ::2],
        lambda result: result.numpy(),
        lambda result: result.untyped_storage(),
        lambda result: (result * weight).sum(),
        lambda result: result.view(torch.uint8),
    )
    for keep in keepers:
        memory._forget()
        result = memory.empty(SHAPE, torch.float32).fill_(1)
        was, kept = result.data_ptr(), keep(result)
        del result
        assert place() != was
        del kept
        assert place() == was


def test_few_buffers_are_kept() -> None:
    alive = [memory.empty(SHAPE, torch.float32) for _ in range(memory.BUFFERS + 3)]
    assert len({result.data_ptr() for result in alive}) == len(alive)
    assert len(memory._buffers) == memory.BUFFERS
    del alive
    other = [memory.empty((n, *SHAPE), torch.float32) for n in range(1, memory.BUFFERS + 3)]
    assert len(memory._buffers) == memory.BUFFERS
    assert len({result.data_ptr() for result in other}) == len(other)


def test_small_results_are_left_to_torch() -> None:
    memory.empty((3, 4), torch.uint8)
    assert not memory._buffers


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_starts_afresh() -> None:
    alive = memory.empty(SHAPE, torch.float32).fill_(1)
    child = os.fork()
    if child == 0:
        fresh = not memory._buffers
        memory.empty(SHAPE, torch.float32).fill_(2)
        os._exit(0 if fresh and bool((alive == 1).all()) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
