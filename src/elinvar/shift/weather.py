"""Snow, frost, fog and brightness: what is prepared for a severity, and the tensor back end."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from torch import Tensor

from ..rng import uniform
from .blur import motion_steps, motion_taps
from .borders import replicated
from .draws import normal
from .frame import Frame
from .frost import frost_textures
from .sampling import Indices, Weights, along, drag, gather
from .zoom import zoom_stencil

GREY = (0.299, 0.587, 0.114)  # weights of R, G and B in ITU-R BT.601 luma
LOW, SPAN = -135.0, 90.0  # of the direction of a fall, degrees
WIBBLE = 100.0


@lru_cache(maxsize=32)
def plan_snow(
    level: tuple[float, ...], frame: Frame, degrees: float | None = None
) -> tuple[float, float, NDArray[np.int32], Weights, float, Indices, Weights, Indices, Indices, float]:
    """`degrees`: the direction of the fall; None: it is drawn."""
    mean, std, zoom, cut, radius, sigma, mix = level
    taps = motion_taps(radius, sigma)
    steps = motion_steps(degrees, len(taps))
    tables = replicated(frame.height, len(taps)), replicated(frame.width, len(taps))
    return mean, std, *zoom_stencil((zoom,), frame.height, frame.width), cut, steps, taps, *tables, mix


def snow(
    x: Float64[Tensor, "n c h w"],
    streams: Int64[Tensor, " n"],
    mean: float,
    std: float,
    index: NDArray[np.int32],
    weight: Weights,
    cut: float,
    steps: Indices,
    taps: Weights,
    rows: Indices,
    columns: Indices,
    mix: float,
) -> Float64[Tensor, "n c h w"]:
    """Flakes: a zoomed field of normals, cut below, blurred by motion downwards, added with its half-turned copy.

        L = motion_blur(uint8(255 clip(zoom(N(mean, std)), with 0 where it is below `cut`))) / 255, in 8 bits
        result = mix x + (1 - mix) max(x, 1.5 grey + .5) + L + L turned by 180 degrees

    Images of one channel are their own grey. Draws: 0 is the angle (-135 to -45 degrees) where `steps` is empty, the
    field follows from 1.
    """
    n, _, height, width = x.shape
    field = normal(streams, height * width, start=1).view(n, 1, height, width) * std + mean
    layer = gather(field, index, weight)
    layer = (torch.where(layer < cut, 0.0, layer).clamp(0, 1) * 255).floor()
    angle = (uniform(streams, 1)[:, 0] * SPAN + LOW) * (np.pi / 180)
    layer = (drag(layer, along(steps, angle, len(taps)), taps, rows, columns) + 0.5).floor() / 255
    x = x / 255
    grey = x if x.shape[1] == 1 else x[:, :1] * GREY[0] + x[:, 1:2] * GREY[1] + x[:, 2:] * GREY[2]
    pale = torch.maximum(x, grey * 1.5 + 0.5)
    return (x * mix + pale * (1 - mix) + layer + layer.flip(2, 3)) * 255


@lru_cache(maxsize=32)
def plan_frost(level: tuple[float, ...], frame: Frame) -> tuple[float, float, NDArray[np.float64], NDArray[np.int64]]:
    """Weights, the textures' channel planes one after the other, and (start, height, width) of each texture."""
    textures = frame.textures or frost_textures()
    image_weight, texture_weight = level
    planes = []
    for texture in textures.shrunk(frame.benchmark.frost, max(frame.height, frame.width)):
        plane = texture.transpose(2, 0, 1).astype(np.float64)
        planes.append(plane if frame.channels == 3 else np.tensordot(GREY, plane, 1)[None])
    starts = np.cumsum([0] + [plane.size for plane in planes[:-1]])
    table = np.array([(start, *plane.shape[1:]) for start, plane in zip(starts, planes, strict=True)])
    return image_weight, texture_weight, np.concatenate([plane.ravel() for plane in planes]), table


def frost(
    x: Float64[Tensor, "n c h w"],
    streams: Int64[Tensor, " n"],
    image_weight: float,
    texture_weight: float,
    pixels: NDArray[np.float64],
    table: NDArray[np.int64],
) -> Float64[Tensor, "n c h w"]:
    """image_weight x + texture_weight (a crop at a uniform place of one of five pictures of frost).

    Images of one channel get the grey of the picture. Draws: 0 is the picture, 1 the row, 2 the column of the corner;
    the last row and column at which the crop would still fit are never taken, as in the benchmark.
    """
    channels, height, width = x.shape[1:]
    u = uniform(streams, 3)
    start, tall, wide = torch.from_numpy(table).to(x.device)[(u[:, 0] * len(table)).long()].T[:, :, None, None, None]
    corner = [(u[:, i, None, None, None] * room).long() for i, room in ((1, tall - height), (2, wide - width))]
    c, y, z = (torch.arange(size, device=x.device) for size in (channels, height, width))
    place = start + (c[:, None, None] * tall + corner[0] + y[:, None]) * wide + corner[1] + z
    return x * image_weight + torch.from_numpy(pixels).to(x.device)[place] * texture_weight


def plasma_side(frame: Frame) -> int:
    """Side of the square height map that covers an image: a power of two, at least the benchmark's."""
    return int(max(frame.benchmark.fog, 1 << (max(frame.height, frame.width) - 1).bit_length()))


def plan_fog(level: tuple[float, ...], frame: Frame) -> tuple[float, float, int]:
    strength, decay = level
    return strength, decay, plasma_side(frame)


def plasma(streams: Int64[Tensor, " n"], side: int, decay: float, *, start: int = 0) -> Float64[Tensor, "n side side"]:
    """A fractal height map on a torus for each stream, by diamonds and squares, stretched to [0, 1].

    From one corner at height 0 and step = side, w = 100: every centre of a square is the mean of its corners, then
    every midpoint of an edge the mean of its ends and of the centres beside it, each plus w U(-w, w); then the step
    halves and w shrinks by `decay`. Noise thus falls with the square of w, as in the benchmark.
    Draws: by steps; within a step all centres, then all horizontal, then all vertical edges, each row by row.
    """
    a = torch.zeros(len(streams), side, side, dtype=torch.float64, device=streams.device)
    step, w = side, WIBBLE
    while step >= 2:
        half, k = step // 2, side // step

        def wobbly(total: Tensor, begin: int, k: int = k, w: float = w) -> Tensor:
            return total / 4 + (uniform(streams, k * k, start=begin).view(-1, k, k) * (2 * w) - w) * w

        corners = a[:, ::step, ::step]
        total = corners + corners.roll(-1, 1)
        centres = wobbly(total + total.roll(-1, 2), start)
        a[:, half::step, half::step] = centres
        a[:, ::step, half::step] = wobbly(centres + centres.roll(1, 1) + (corners + corners.roll(-1, 2)), start + k * k)
        a[:, half::step, ::step] = wobbly(
            centres + centres.roll(1, 2) + (corners + corners.roll(-1, 1)), start + 2 * k * k
        )
        start, step, w = start + 3 * k * k, half, w / decay
    a = a - a.amin((1, 2), keepdim=True)
    return a / a.amax((1, 2), keepdim=True)


def fog(
    x: Float64[Tensor, "n c h w"], streams: Int64[Tensor, " n"], strength: float, decay: float, side: int
) -> Float64[Tensor, "n c h w"]:
    """(x + strength P) m / (m + strength): P a `plasma` for all channels, m the largest value of the image.

    Draws: those of `plasma`, from 0.
    """
    x = x / 255
    mist = plasma(streams, side, decay)[:, None, : x.shape[2], : x.shape[3]]
    peak = x.amax((1, 2, 3), keepdim=True)
    return (x + mist * strength) * peak / (peak + strength) * 255


def brightness(x: Float64[Tensor, "n c h w"], added: float) -> Float64[Tensor, "n c h w"]:
    """Add to V of HSV, clipped at 1; hue and saturation stay. V is the largest of R, G and B.

        V' = min(V + added, 1),   x' = V' (1 - (V - x) / V),   black becomes grey of V'

    Equal to the way through hue: with H and S fixed all three channels keep their ratio to V.
    """
    x = x / 255
    value = x.amax(1, keepdim=True)
    brighter = (value + added).clamp(max=1)
    return brighter * (1 - (value - x) / value.where(value > 0, 1.0)) * 255
