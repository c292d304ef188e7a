"""Corrupt a batch of images: draws by example, back end by device, pixels stored as the benchmark stores them."""

import threading
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64, Shaped
from numpy.typing import NDArray
from torch import Tensor

from ..check import InputError, check_images, unknown
from ..parallel import for_pieces
from ..rng import check_seed, fold, fresh_key, streams
from .frame import Frame
from .frost import FrostTextures
from .severity import LEVELS
from .table import KNOWN, Operation

PIECE_COMPILED = 1 << 16  # pixels times channels of a piece: two float64 buffers stay in a core's cache
PIECE_BATCHED = 1 << 22


def corrupt(
    images: Shaped[Tensor, "n c h w"],
    name: str,
    severity: int,
    *,
    key: int | None = None,
    keys: Int64[Tensor, " n"] | None = None,
    frost_textures: FrostTextures | None = None,
) -> Shaped[Tensor, "n c h w"]:
    """Images under one of `CORRUPTIONS` or `EXTRA` at severity 1 (mild) to 5 (strong): same shape, dtype and device.

    images          uint8, or floating point in [0, 1]; R, G, B or one channel; sides of at least 8 pixels. Up to 64
                    pixels the constants are those of CIFAR-10-C, above those of ImageNet-C
    key             a number from which the rows 0 to N - 1 get their streams; None, without `keys`, draws one
    keys            instead of it one stream for each example, from `rng.streams(key, index)`, so that the result of
                    an example does not depend on its row
    frost_textures  pictures for frost, from `load_frost`; None takes grown ones. Other corruptions take no pictures

    The result for an example depends on its pixels, its key, the name and the severity alone: not on the batch, its
    order or its size. Draws of different corruptions and severities are independent, though the keys be the same.
    uint8 results are truncated to whole grey levels (motion blur: rounded), exactly as the published data were stored.
    Float results are clipped but not quantized, except by what quantizes by nature: JPEG and pixelate (whose input is
    rounded to grey levels), glass blur and the layer of snow.
    On a CPU compiled code runs in threads; elsewhere batched tensor operations do the same with the same draws, in
    float64 and mostly in the same order: before storing they differ by at most `Corruption.tolerance` grey levels.

    Raises `InputError` for an unknown name, a severity outside of 1 to 5, images or keys of a wrong kind or size, and
    a key together with keys.

    Source   Hendrycks and Dietterich, ICLR 2019, section 3; hendrycks/robustness, make_cifar_c.py, make_imagenet_c.py.
    Differs  Draws are keyed, so no array equals the published one; frost is grown unless photographs are given; zoom
             blur, snow and the elastic transform are float64 where the generator has float32; the affine part of the
             elastic transform is exact where OpenCV rounds places to 1/32 pixel.

    >>> from elinvar.rng import streams
    >>> corrupt(torch.full((2, 3, 32, 32), 0.5), "contrast", 3).unique().tolist()
    [0.5]
    >>> image, keys = torch.zeros(4, 3, 32, 32, dtype=torch.uint8), streams(1, torch.arange(4))
    >>> torch.equal(corrupt(image, "fog", 2, keys=keys)[3:], corrupt(image[3:], "fog", 2, keys=keys[3:]))
    True
    """
    if name not in KNOWN:
        raise unknown("corruption", name, KNOWN)
    if isinstance(severity, bool) or not isinstance(severity, int) or severity not in LEVELS:
        raise InputError(f"severity: got {severity!r}, expected an integer from 1 (mild) to 5 (strong)")
    corruption = KNOWN[name]
    check_images(images)
    n, channels, height, width = images.shape
    if channels not in ((1, 3) if corruption.grey else (3,)):
        raise InputError(f"images: got {channels} channels, expected 3 (R, G, B){' or 1' if corruption.grey else ''}")
    level = corruption.severity.level(severity, height, width)
    own = streams(fold(name, severity), example_streams(n, key, keys).to(images.device))
    plan = corruption.plan(level, Frame(channels, height, width, frost_textures))
    return run(corruption, images.detach(), own, plan)


def example_streams(n: int, key: object, keys: object) -> Int64[Tensor, " {n}"]:
    """One stream for each of n examples: `keys` as given, or made for rows 0 to n - 1 from `key` or a fresh one."""
    if keys is None:
        if isinstance(key, Tensor):
            raise InputError("key: got Tensor, expected an integer; streams of examples go to keys=")
        return streams(fresh_key() if key is None else check_seed(key, name="key"), torch.arange(n))
    if key is not None:
        raise InputError(
            "got both key= and keys=, expected one: an integer for the batch, or a stream for each example"
        )
    if not isinstance(keys, Tensor) or keys.shape != (n,) or keys.dtype != torch.int64:
        got = f"{tuple(keys.shape)} of {keys.dtype}" if isinstance(keys, Tensor) else type(keys).__name__
        raise InputError(f"keys: got {got}, expected ({n},) of torch.int64, from rng.streams(key, index)")
    return keys


def run(
    operation: Operation, images: Shaped[Tensor, "n c h w"], own: Int64[Tensor, " n"], plan: tuple[Any, ...]
) -> Shaped[Tensor, "n c h w"]:
    """The operation on checked images, by the back end of their device; `own` are the streams of its draws."""
    return (compiled if images.device.type == "cpu" else batched)(operation, images, own, plan)


def compiled(
    operation: Operation, images: Shaped[Tensor, "n c h w"], own: Int64[Tensor, " n"], plan: tuple[Any, ...]
) -> Shaped[Tensor, "n c h w"]:
    """The CPU back end: pieces of the batch on threads, each image in cache."""
    kernel = operation.compiled()
    exact = images if images.dtype in (torch.uint8, torch.float32, torch.float64) else images.float()
    source = exact.contiguous().numpy()
    target = np.empty_like(source)
    words = own.numpy().view(np.uint64)

    piece = max(1, PIECE_COMPILED // max(1, source[:1].size))
    buffers = (
        threading.local()
    )  # a thread keeps its two for all of its pieces: fresh memory costs more than small kernels

    def work(start: int, stop: int) -> None:
        if not hasattr(buffers, "both"):
            buffers.both = np.empty((2, piece, *source.shape[1:]))
        x, result = buffers.both[:, : stop - start]
        np.copyto(x, source[start:stop])
        if source.dtype != np.uint8:
            x *= 255
        kernel(x, *((words[start:stop],) if operation.stochastic else ()), *plan, result)
        _store(result, target[start:stop], operation.rounded)

    for_pieces(work, len(source), piece)
    return torch.from_numpy(target).to(images.dtype)


def _store(result: NDArray[np.float64], target: NDArray[Any], rounded: bool) -> None:
    if target.dtype != np.uint8:
        result /= 255
        np.clip(result, 0, 1, out=result)
    else:
        if rounded:
            result += 0.5
        np.clip(result, 0, 255, out=result)
    np.copyto(target, result, casting="unsafe")


def batched(
    operation: Operation, images: Shaped[Tensor, "n c h w"], own: Int64[Tensor, " n"], plan: tuple[Any, ...]
) -> Shaped[Tensor, "n c h w"]:
    """The tensor back end, for any device with float64: the same definition over a whole piece of the batch at once."""
    target = torch.empty_like(images, memory_format=torch.contiguous_format)
    step = max(1, PIECE_BATCHED // max(1, images[:1].numel()))
    for start in range(0, len(images), step):
        piece = slice(start, start + step)
        x = images[piece].double() if images.dtype == torch.uint8 else images[piece].double() * 255
        result = operation.batched(x, *((own[piece],) if operation.stochastic else ()), *plan)
        target[piece] = _stored(result, images.dtype, operation.rounded)
    return target


def _stored(result: Float64[Tensor, "n c h w"], dtype: torch.dtype, rounded: bool) -> Shaped[Tensor, "n c h w"]:
    if dtype != torch.uint8:
        return (result / 255).clamp(0, 1).to(dtype)
    return (result + 0.5 if rounded else result).clamp(0, 255).to(dtype)
