"""Large outputs in memory that was used before.

The C library hands the memory of a large tensor back to the system as soon as the tensor dies, and every page of the
next one is fetched anew: at 224 x 224 that takes longer than the augmentation itself. So a few buffers are kept, and
one whose tensors (with all their views) are gone becomes the memory of the next output of its size.
"""

import os
import threading
import weakref
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SMALLEST = 1 << 20  # bytes: below, the C library keeps memory itself
BUFFERS = 4
ALIGNED = 64


@dataclass(eq=False)
class _Buffer:
    """Memory, and the array through which the tensors that live in it hold it; dead when they all are."""

    memory: NDArray[np.uint8]
    holder: weakref.ref[NDArray[np.uint8]]

    @property
    def idle(self) -> bool:
        return self.holder() is None


_buffers: list[_Buffer] = []
_lock = threading.Lock()


def _forget() -> None:
    global _lock
    _lock = threading.Lock()
    _buffers.clear()


os.register_at_fork(after_in_child=_forget)


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """As `torch.empty` on the CPU; a large one may live in memory that an earlier result, now gone, has left."""
    size = int(np.prod(shape)) * dtype.itemsize
    if size < SMALLEST:
        return torch.empty(shape, dtype=dtype)
    with _lock:
        buffer = next((buffer for buffer in _buffers if buffer.idle and len(buffer.memory) == size + ALIGNED), None)
        if buffer is None:
            if len(_buffers) == BUFFERS:
                unused = next((buffer for buffer in _buffers if buffer.idle), None)
                if unused is None:
                    return torch.empty(shape, dtype=dtype)
                _buffers.remove(unused)
            memory = np.empty(size + ALIGNED, np.uint8)
            buffer = _Buffer(memory, weakref.ref(memory))
            _buffers.append(buffer)
        start = -buffer.memory.ctypes.data % ALIGNED
        holder = buffer.memory[start : start + size]
        buffer.holder = weakref.ref(holder)
    return torch.from_numpy(holder).view(dtype).view(shape)
