"""A batch as the compiled passes see it, and how they are spread over the cores."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...parallel import team

Array = npt.NDArray[Any]
_PIECE = 1 << 20  # bytes of a batch that a thread takes at once: about what a core's own cache holds


def numpy_dtype(x: Tensor) -> type:
    """What kernels compute in."""
    return np.float64 if x.dtype is torch.float64 else np.float32


def _stored_last(x: Tensor) -> bool:
    """Whether neighbours in memory are channels of one place, as far as strides tell: also in a part of such images."""
    places = [stride for size, stride in zip(x.shape[2:], x.stride()[2:], strict=True) if size > 1]
    return x.shape[1] > 1 and x.stride(1) <= min(places, default=0) and x.stride(1) > 0


class Images:
    """A batch as the kernels see it: (N, C, L), or (N, L, C) where channels are stored last."""

    def __init__(self, x: Tensor) -> None:
        self.length = math.prod(x.shape[2:])
        # With one value per channel both layouts are the same, and the loop over channels is then the long one.
        self.channels_last = self.length == 1 or (not x.is_contiguous() and _stored_last(x))
        self.x = x.movedim(1, -1).contiguous().movedim(-1, 1) if self.channels_last else x.contiguous()
        self.wide, self.dtype = numpy_dtype(x), torch.promote_types(x.dtype, torch.float32)

    def sums(self) -> Array:
        """Room for one sum for each row and channel."""
        return np.empty(self.x.shape[:2])

    def tables(self, *tables: Tensor) -> list[Array]:
        """Tables, or single lines of them, as arrays of the type that kernels compute in."""
        return [np.atleast_2d(np.ascontiguousarray(table.detach().to(self.dtype).numpy())) for table in tables]

    def beside(self, other: Tensor) -> Array:
        """Another tensor of the batch's shape, in its layout; a view wherever `other` has it already."""
        other = other.detach()
        rows, channels = self.x.shape[:2]
        if self.channels_last:
            flat = other.movedim(1, -1).contiguous().view(rows, self.length, channels)
        else:
            flat = other.contiguous().view(rows, channels, self.length)
        return flat.view(torch.int16).numpy().view(np.uint16) if flat.dtype == torch.bfloat16 else flat.numpy()

    def run(self, launch: Any, *arguments: Any) -> None:
        """Call `launch` for all rows, in pieces on all cores."""
        x = self.beside(self.x)
        row_bytes = x.itemsize * self.x.shape[1] * self.length
        launch((x, self.channels_last, *arguments), len(x), max(1, _PIECE // max(row_bytes, 1)), team())
