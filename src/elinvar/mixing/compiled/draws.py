"""The uniform draws of `elinvar.rng`, compiled: one call where tensors take fourteen."""

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from torch import Tensor

from ...jit import kernel
from .random import top


@kernel
def _fill(streams: NDArray[np.uint64], out: NDArray[np.float64]) -> None:
    for n in range(len(streams)):
        for j in range(out.shape[1]):
            out[n, j] = np.float64(top(streams[n], j)) * 2.0**-53


def uniform(stream: Int64[Tensor, " n"], count: int) -> Float64[Tensor, "n {count}"]:
    """Draws 0 to `count - 1` of each stream, as `elinvar.rng.uniform` gives them, on the CPU."""
    drawn = torch.empty(len(stream), count, dtype=torch.float64)
    _fill(stream.contiguous().numpy().view(np.uint64), drawn.numpy())
    return drawn
