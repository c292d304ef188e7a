"""Flip and shift images of any type, image by image."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, Shaped
from numpy.typing import NDArray
from torch import Tensor

from ...jit import inlined, kernel
from ...parallel import for_pieces
from .histogram import INDEX
from .layout import AS_WHOLE, PIECE
from .memory import empty


@inlined
def shift(
    source: NDArray[Any], target: NDArray[Any], begin: int, height: int, width: int, down: int, right: int
) -> None:
    """Shift the channel that begins at place `begin`: at once, then without what went around the edges."""
    move, plane = down * width + right, height * width
    for i in range(max(0, -move), min(plane, plane - move)):
        target[INDEX(begin + i)] = source[INDEX(begin + move + i)]
    for y in range(height):
        row = begin + y * width
        if 0 <= y + down < height:
            for x in range(min(-right, width)):
                target[INDEX(row + x)] = 0
            for x in range(max(width - right, 0), width):
                target[INDEX(row + x)] = 0
        else:
            for x in range(width):
                target[INDEX(row + x)] = 0


@inlined
def mirror(
    source: NDArray[Any], target: NDArray[Any], begin: int, height: int, width: int, down: int, right: int
) -> None:
    """As `shift`, after a left-right flip."""
    first, last = max(0, -right), min(width, width - right)
    for y in range(height):
        row, from_ = begin + y * width, begin + (y + down) * width + width - 1 - right
        if 0 <= y + down < height and first < last:
            for x in range(first):
                target[INDEX(row + x)] = 0
            for x in range(first, last):
                target[INDEX(row + x)] = source[INDEX(from_) - INDEX(x)]
            for x in range(last, width):
                target[INDEX(row + x)] = 0
        else:
            for x in range(width):
                target[INDEX(row + x)] = 0


@kernel
def moves(
    images: NDArray[Any],
    output: NDArray[Any],
    height: int,
    width: int,
    flip: NDArray[np.bool_],
    down: NDArray[np.int64],
    right: NDArray[np.int64],
    start: int,
    stop: int,
) -> None:
    """Images `start` to `stop` of (N, pixels)."""
    plane = height * width
    for n in range(start, stop):
        for channel in range(images.shape[1] // plane):
            if flip[n]:
                mirror(images[n], output[n], channel * plane, height, width, down[n], right[n])
            else:
                shift(images[n], output[n], channel * plane, height, width, down[n], right[n])


@kernel
def turns(
    images: NDArray[Any],
    output: NDArray[Any],
    height: int,
    width: int,
    chosen: NDArray[np.bool_],
    start: int,
    stop: int,
) -> None:
    """Images `start` to `stop` of (N, pixels), with top and bottom swapped where `chosen`."""
    for n in range(start, stop):
        source, target = images[n], output[n]
        for row in range(images.shape[1] // width):
            y = row % height
            other = row - y + height - 1 - y if chosen[n] else row
            here, there = INDEX(row * width), INDEX(other * width)
            for x in range(width):
                target[here + INDEX(x)] = source[there + INDEX(x)]


def _spread(run: Callable[..., None], images: Shaped[Tensor, "n c h w"], *chosen: Tensor) -> Shaped[Tensor, "n c h w"]:
    """Run a kernel over all images, whatever their type."""
    whole = AS_WHOLE[images.element_size()]
    output = empty(tuple(images.shape), images.dtype)
    if not images.numel():
        return output
    height, width = images.shape[2:]
    source, target = images.detach().view(whole).flatten(1).numpy(), output.view(whole).flatten(1).numpy()
    arrays = [array.contiguous().numpy() for array in chosen]

    def work(start: int, stop: int) -> None:
        run(source, target, height, width, *arrays, start, stop)

    for_pieces(work, len(images), max(1, PIECE // images[0].numel()))
    return output


def move(
    images: Shaped[Tensor, "n c h w"], flip: Bool[Tensor, " n"], down: Int64[Tensor, " n"], right: Int64[Tensor, " n"]
) -> Shaped[Tensor, "n c h w"]:
    """out(x, y) = in(x + right, y + down) after a left-right flip where `flip`; 0 where that is outside."""
    return _spread(moves, images, flip, down, right)


def turn(images: Shaped[Tensor, "n c h w"], chosen: Bool[Tensor, " n"]) -> Shaped[Tensor, "n c h w"]:
    """Top and bottom swapped where `chosen`."""
    return _spread(turns, images, chosen)
