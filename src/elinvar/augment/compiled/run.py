"""Run programs: each image goes through its own, then into the mixture."""

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from ...jit import kernel
from ...parallel import for_pieces
from ..ops import BY_CODE, code
from ..program import Program
from . import histogram, local, region, table, warp
from .layout import PIECE
from .memory import empty
from .scratch import TILE, Bytes, Floats, Ints, Scratch, scratch
from .table import FLOAT

IDENTITY, AUTOCONTRAST, EQUALIZE = code("identity"), code("autocontrast"), code("equalize")
POSTERIZE, SOLARIZE, INVERT, BRIGHTNESS = code("posterize"), code("solarize"), code("invert"), code("brightness")
SOLARIZE_ADD = code("solarize_add")
ROTATE, FLIP, FLIP_VERTICAL = code("rotate"), code("flip"), code("flip_vertical")
SHEAR_X, SHEAR_Y = code("shear_x"), code("shear_y")
TRANSLATE_X, TRANSLATE_Y = code("translate_x"), code("translate_y")
COLOR, CONTRAST, SHARPNESS = code("color"), code("contrast"), code("sharpness")
CUTOUT, ERASE, GAUSSIAN_NOISE = code("cutout"), code("erase"), code("gaussian_noise")
PATCH_GAUSSIAN, PATCH_UNIFORM = code("patch_gaussian"), code("patch_uniform")


@kernel
def operate(
    op: int, args: Floats, source: Bytes, target: Bytes, shape: tuple[int, int, int], fill: Bytes, scratch: Scratch
) -> None:
    """Run one operation on one image."""
    c, h, w = shape
    plane, first = h * w, args[0]
    exact = np.float64(first)  # not float(): numba takes that to be the float32 that it is
    if op == AUTOCONTRAST:
        histogram.autocontrast(source, target, c, plane)
    elif op == EQUALIZE:
        histogram.equalize(source, target, c, plane, scratch.table, scratch.counts)
    elif op == POSTERIZE:
        table.posterize(source, target, c * plane, int(first))
    elif op == ROTATE:
        warp.rotate(source, target, c, h, w, exact, fill, scratch)
    elif op == SOLARIZE:
        table.solarize(source, target, c * plane, exact)
    elif op == SHEAR_X:
        warp.rows(source, target, c, h, w, exact, 0.0, fill)
    elif op == SHEAR_Y:
        warp.columns(source, target, c, h, w, exact, 0.0, fill, scratch)
    elif op == TRANSLATE_X:
        warp.rows(source, target, c, h, w, 0.0, exact, fill)
    elif op == TRANSLATE_Y:
        warp.columns(source, target, c, h, w, 0.0, exact, fill, scratch)
    elif op == COLOR:
        local.color(source, target, c, plane, first)
    elif op == CONTRAST:
        histogram.contrast(source, target, c, plane, first)
    elif op == BRIGHTNESS:
        table.brightness(source, target, c * plane, first)
    elif op == SHARPNESS:
        local.sharpness(source, target, c, h, w, first, scratch.shift)
    elif op == INVERT:
        table.invert(source, target, c * plane)
    elif op == FLIP:
        warp.flip(source, target, c, h, w)
    elif op == SOLARIZE_ADD:
        table.solarize_add(source, target, c * plane, exact)
    elif op == FLIP_VERTICAL:
        warp.flip_vertical(source, target, c, h, w)
    elif op == CUTOUT:
        region.cutout(source, target, shape, args)
    elif op == ERASE:
        region.erase(source, target, shape, args, scratch)
    elif op == GAUSSIAN_NOISE:
        region.gaussian_noise(source, target, shape, args, scratch)
    elif op == PATCH_GAUSSIAN:
        region.patch_gaussian(source, target, shape, args, scratch)
    elif op == PATCH_UNIFORM:
        region.patch_uniform(source, target, shape, args, scratch)
    else:
        raise ValueError("an operation without a compiled kernel")


@kernel
def chain(
    ops: Ints,
    args: Floats,
    nothing: Floats,
    images: Bytes,
    home: int,
    shape: tuple[int, int, int],
    fill: Bytes,
    scratch: Scratch,
) -> int:
    """Run a chain on `images[0]`, by turns into `images[home]` and the last one; where its result is.

    Operations that do nothing are left out, so that is 0 where nothing is left; otherwise it is `home`.
    """
    spare = len(images) - 1
    left = 0
    for step in range(len(ops)):
        if ops[step] != IDENTITY and args[step, 0] != nothing[ops[step]]:
            left += 1
    source = 0
    for step in range(len(ops)):
        if ops[step] != IDENTITY and args[step, 0] != nothing[ops[step]]:
            target = home if left % 2 == 1 else spare
            operate(ops[step], args[step], images[source], images[target], shape, fill, scratch)
            source = target
            left -= 1
    return source


@kernel
def mixtures(
    images: Bytes,
    output: Floats,
    ops: Ints,
    args: Floats,
    weights: Floats,
    nothing: Floats,
    fill: Bytes,
    shape: tuple[int, int, int],
    scratch: Scratch,
    start: int,
    stop: int,
) -> None:
    """Images `start` to `stop` of (N, pixels): mixtures of their chains, as float32 in [0, 1]."""
    pixels, chains = images.shape[1], ops.shape[1]
    made, mixed = scratch.images, scratch.mixed
    for n in range(start, stop):
        table.copy(images[n], made[0], pixels)
        for k in range(chains):
            scratch.place_of[k] = chain(ops[n, k], args[n, k], nothing, made, k + 1, shape, fill, scratch)
        for tile in range(0, pixels, TILE):
            size = min(TILE, pixels - tile)
            image = made[0, tile : tile + size]
            for i in range(size):
                mixed[i] = FLOAT(image[i])
            for k in range(chains):
                where = scratch.place_of[k]
                if where > 0:
                    result, weight = made[where, tile : tile + size], weights[n, k]
                    for i in range(size):
                        mixed[i] += weight * (FLOAT(result[i]) - FLOAT(image[i]))
            target = output[n, tile : tile + size]
            for i in range(size):
                # Only rounding can take a mixture out of range.
                target[i] = min(max(mixed[i] / FLOAT(255), FLOAT(0)), FLOAT(1))


@kernel
def results(
    images: Bytes,
    output: Bytes,
    ops: Ints,
    args: Floats,
    nothing: Floats,
    fill: Bytes,
    shape: tuple[int, int, int],
    scratch: Scratch,
    start: int,
    stop: int,
) -> None:
    """Images `start` to `stop` of (N, pixels): what their one chain makes of them."""
    pixels = images.shape[1]
    for n in range(start, stop):
        table.copy(images[n], scratch.images[0], pixels)
        result = chain(ops[n, 0], args[n, 0], nothing, scratch.images, 1, shape, fill, scratch)
        table.copy(scratch.images[result], output[n], pixels)


def _nothing() -> Floats:
    """By code, the parameter at which an operation can be left out; NaN, which equals nothing, where there is none."""
    values = [np.nan if op.nothing is None else op.nothing for _, op in sorted(BY_CODE.items())]
    return np.array(values, np.float32)


def run(images: UInt8[Tensor, "n c h w"], program: Program) -> Float32[Tensor, "n c h w"] | UInt8[Tensor, "n c h w"]:
    """What `program` makes of contiguous images on a CPU: uint8 if it is pure, else float32 in [0, 1]."""
    count, channels, height, width = images.shape
    shape = (channels, height, width)
    output = empty(tuple(images.shape), torch.uint8 if program.pure else torch.float32)
    if not images.numel():
        return output
    chains = program.ops.shape[1]
    flat, made = images.view(count, -1).numpy(), output.view(count, -1).numpy()
    program = program.to("cpu")
    ops, args = program.ops.contiguous().numpy(), program.args.contiguous().numpy()
    fill = np.array(np.broadcast_to(np.array(program.fill, np.uint8), channels))
    nothing = _nothing()
    if program.weights is None:

        def work(start: int, stop: int) -> None:
            results(flat, made, ops, args, nothing, fill, shape, scratch(*shape, chains), start, stop)

    else:
        weights = program.weights.contiguous().numpy()

        def work(start: int, stop: int) -> None:
            mixtures(flat, made, ops, args, weights, nothing, fill, shape, scratch(*shape, chains), start, stop)

    for_pieces(work, count, max(1, PIECE // flat.shape[1]))
    return output
