"""Images between floating point and bytes, in one pass and into memory that was used before."""

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from ...jit import kernel
from ...parallel import for_pieces
from .memory import empty
from .scratch import Bytes, Floats
from .table import BYTE, FLOAT, INT

PIECE = 1 << 18
# Adding 1.5 * 2**23 leaves no fraction bits, so a sum is rounded to a whole number, ties to even, as torch rounds.
WHOLE = FLOAT(12582912)


@kernel
def _round(source: Floats, target: Bytes) -> None:
    for i in range(len(source)):
        target[i] = BYTE(INT((source[i] * FLOAT(255) + WHOLE) - WHOLE))


@kernel
def _scale(source: Bytes, target: Floats) -> None:
    for i in range(len(source)):
        target[i] = FLOAT(source[i]) / FLOAT(255)


@kernel
def _keep(made: Bytes, before: Bytes, image: Floats, target: Floats) -> None:
    for i in range(len(made)):
        target[i] = image[i] if made[i] == before[i] else FLOAT(made[i]) / FLOAT(255)


def to_bytes(images: Float32[Tensor, "n c h w"]) -> UInt8[Tensor, "n c h w"]:
    """[0, 1] rounded to the nearest of the 256 values."""
    made = empty(tuple(images.shape), torch.uint8)
    source, target = images.contiguous().view(-1).numpy(), made.view(-1).numpy()
    for_pieces(lambda start, stop: _round(source[start:stop], target[start:stop]), len(target), PIECE)
    return made


def to_floats(images: UInt8[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
    """0..255 over 255."""
    made = empty(tuple(images.shape), torch.float32)
    source, target = images.view(-1).numpy(), made.view(-1).numpy()
    for_pieces(lambda start, stop: _scale(source[start:stop], target[start:stop]), len(target), PIECE)
    return made


def keep(
    made: UInt8[Tensor, "n c h w"], before: UInt8[Tensor, "n c h w"], images: Float32[Tensor, "n c h w"]
) -> Float32[Tensor, "n c h w"]:
    """The images where `made` is as `before`, else `made` over 255."""
    kept = empty(tuple(images.shape), torch.float32)
    arrays = [tensor.contiguous().view(-1).numpy() for tensor in (made, before, images, kept)]
    for_pieces(lambda start, stop: _keep(*(array[start:stop] for array in arrays)), kept.numel(), PIECE)
    return kept
