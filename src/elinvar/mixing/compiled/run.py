"""Hand a map to the kernel of its kind, piece by piece of the batch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, Shaped
from numpy.typing import NDArray
from torch import Tensor

from ...augment.compiled.layout import AS_WHOLE, PIECE
from ...augment.compiled.memory import empty
from ...check import InputError
from ...parallel import team
from ..maps import Balanced, Map, Noise, Patch, Quarters, Scatter, Size
from . import launch

Launch = Callable[[tuple[Any, ...], int, int, tuple[int, int]], None]


def run(
    first: Shaped[Tensor, "n c h w"],
    second: Shaped[Tensor, "m c h w"],
    parts: Sequence[tuple[Bool[Tensor, " n"] | None, Map]],
    partner: Int64[Tensor, " n"],
) -> tuple[Shaped[Tensor, "n c h w"], list[Float32[Tensor, " n"] | None]]:
    """The mixtures, and the means of maps that have drawn each element. Images on a CPU."""
    count = len(first)
    size: Size = (first.shape[1], first.shape[2], first.shape[3])
    output = empty(tuple(first.shape), first.dtype)
    first, second = first.detach().contiguous(), second.detach().contiguous()
    pairs = _array(partner)
    means: list[Float32[Tensor, " n"] | None] = []
    piece = max(1, PIECE // max(1, first[:1].numel()))
    for chosen, drawn in parts:
        rows = np.arange(count) if chosen is None else chosen.cpu().numpy().nonzero()[0]
        mean, work, arguments = _work(first, second, output, pairs, rows, drawn, size)
        work(arguments, len(rows), piece, team())
        means.append(mean)
    return output, means


def _array(numbers: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = numbers.detach().cpu().contiguous().numpy()
    return array


def _work(
    first: Shaped[Tensor, "n c h w"],
    second: Shaped[Tensor, "m c h w"],
    output: Shaped[Tensor, "n c h w"],
    pairs: NDArray[np.int64],
    rows: NDArray[np.int64],
    drawn: Map,
    size: Size,
) -> tuple[Float32[Tensor, " n"] | None, Launch, tuple[Any, ...]]:
    """Where the mean is left, if it is; the kernel that blends by a map, and its arguments."""
    if isinstance(drawn, Patch | Scatter):
        whole = AS_WHOLE[first.element_size()]
        first, second, output = first.view(whole), second.view(whole), output.view(whole)
    flat = (first.flatten(1).numpy(), second.flatten(1).numpy(), pairs, output.view(len(output), -1).numpy())
    if isinstance(drawn, Scatter):
        mean = torch.zeros(len(first))
        return mean, launch.scatter, (*flat, rows, *_scattered(drawn, size), mean.numpy())
    if isinstance(drawn, Quarters):
        cuts = _array(drawn.rows), _array(drawn.columns), _array(drawn.weights)
        return None, launch.quarters, (*flat, size, rows, *cuts)
    if isinstance(drawn, Patch):
        shift = np.zeros((len(first), 2), np.int64) if drawn.shift is None else _array(drawn.shift)
        return None, launch.patch, (*flat, size, rows, _array(drawn.begin), _array(drawn.end), shift)
    if isinstance(drawn, Noise):
        noise = _streams(drawn), drawn.start, _array(drawn.weight), float(drawn.sigma)
        return None, launch.noise, (*flat, size, rows, *noise)
    if isinstance(drawn, Balanced):
        balance = _array(drawn.rows), _array(drawn.columns), _array(drawn.weight), drawn.center
        return None, launch.balanced, (*flat, size, rows, *balance)
    raise InputError(f"map: got {type(drawn).__name__}, which has no compiled kernel; use backend='batched'")


def _streams(drawn: Scatter | Noise) -> NDArray[np.uint64]:
    streams: NDArray[np.uint64] = _array(drawn.stream).view(np.uint64)
    return streams


def _scattered(drawn: Scatter, size: Size) -> tuple[Any, ...]:
    channels, height, width = size
    lines, step = {
        "rows": (channels * height, 1),
        "columns": (channels * height, 0),
        "pixels": (channels, 0),
        "elements": (channels, height * width),
    }[drawn.axis]
    draws, whole = int(np.prod(drawn.shape(size))), drawn.axis == "rows"
    return _streams(drawn), drawn.start, _array(drawn.threshold), lines, step, draws, whole
