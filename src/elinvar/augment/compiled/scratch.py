"""The buffers that one thread works in, kept from call to call."""

import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..seeds import normals

BLOCK = 16
PADDING = 64
TILE = 1024

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Words = NDArray[np.uint32]
Ints = NDArray[np.int32]


class Scratch(NamedTuple):
    """Buffers for images of one shape, as few as will do: kernels of mixtures slow down with each more.

    images                 the image, the result of each chain, and room for what is on the way
    place_of, mixed        where in `images` the result of a chain is; a tile of the mixture
    neighbours             for each channel, the 2 x 2 pixels around each corner as one word
    fetched                the words that some rows of output pixels of a warp ask for; or random bits
    place, right, down     for each of these, where its word is and how far right and down in it
    segment, shift         columns that move by the same whole number of pixels: their start, and that number
    table, counts          values that pixels are replaced with; how often each value occurs
    normals                the normal number that 16 random bits stand for
    """

    images: Bytes
    mixed: Floats
    place_of: Ints
    neighbours: Words
    fetched: Words
    place: Words
    right: Floats
    down: Floats
    segment: Ints
    shift: Ints
    table: Bytes
    counts: Ints
    normals: Floats


_local = threading.local()


def scratch(channels: int, height: int, width: int, chains: int) -> Scratch:
    """This thread's buffers for images of that shape; those of the shape before are dropped."""
    shape = (channels, height, width, chains)
    if getattr(_local, "shape", None) != shape:
        # Whole multiples of the padding, so that they can be seen as longer words.
        pixels, lines = channels * height * width + PADDING, (max(TILE, width) // PADDING + 2) * PADDING
        _local.buffers = Scratch(
            images=np.zeros((chains + 2, pixels), np.uint8),
            place_of=np.zeros(chains, np.int32),
            mixed=np.zeros(TILE, np.float32),
            neighbours=np.zeros((channels, (height + 1) * (width + 1) + PADDING), np.uint32),
            fetched=np.zeros(lines, np.uint32),
            place=np.zeros(lines, np.uint32),
            right=np.zeros(lines, np.float32),
            down=np.zeros(lines, np.float32),
            segment=np.zeros(width + PADDING, np.int32),
            shift=np.zeros(width + PADDING, np.int32),
            table=np.zeros(256, np.uint8),
            counts=np.zeros(2 * 256, np.int32),
            normals=normals().numpy(),
        )
        _local.shape = shape
    buffers: Scratch = _local.buffers
    return buffers
