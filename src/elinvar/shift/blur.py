"""Defocus, glass, motion, zoom and Gaussian blur: what is prepared for a severity, and the tensor back end."""

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from torch import Tensor

from ..rng import uniform
from .borders import mirrored, replicated
from .frame import Frame
from .sampling import Indices, Weights, along, correlate, drag, gather, gaussian_taps, smooth
from .zoom import zoom_stencil

Taps = tuple[Indices, Indices, Weights]
LOW, SPAN = -45.0, 90.0  # of the direction of motion, degrees
NEGLIGIBLE = 1e-12  # of the total weight: the tails of an anti-aliased disk


def disk(radius: float, alias_sigma: float) -> NDArray[np.float32]:
    """A disk of `radius` pixels, sum 1, smoothed by a small Gaussian so that its rim has no steps; float32 throughout.

    The sum misses 1 by some 1e-8, and truncation makes a level of that in even areas: so it is rounded as OpenCV does.

    The Gaussian has 3 taps (5 beyond radius 8) and mirrors at the border of the 17x17 (2r+1) array, where the largest
    disks touch it: those kernels sum to slightly more than 1, as the benchmark's do.

    >>> disk(1, 0.2).max().round(3), int((disk(1, 0.2) > 1e-3).sum())
    (np.float32(0.2), 5)
    """
    half, reach = (8, 1) if radius <= 8 else (int(np.ceil(radius)), 2)
    axis = np.arange(-half, half + 1)
    inside = (axis[:, None] ** 2 + axis**2 <= radius**2).astype(np.float32)
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * alias_sigma**2))
    taps = (weights * (1 / weights.sum())).astype(np.float32)[reach:]
    kernel: NDArray[np.float32] = inside / inside.sum()
    for _ in range(2):  # both directions are alike
        shifted = kernel.T[mirrored(len(axis), reach)]
        kernel = shifted[reach:-reach] * taps[0]
        for j in range(1, reach + 1):
            kernel = kernel + (shifted[reach - j :][: len(axis)] + shifted[reach + j :][: len(axis)]) * taps[j]
    return kernel


@lru_cache(maxsize=32)
def plan_defocus_blur(level: tuple[float, ...], frame: Frame) -> tuple[Indices, Indices, Weights, Indices, Indices]:
    kernel = disk(*level)
    half = len(kernel) // 2
    down, right = np.nonzero(kernel > NEGLIGIBLE)
    reach = int(max(abs(down - half).max(), abs(right - half).max()))
    tables = mirrored(frame.height, reach), mirrored(frame.width, reach)
    return down - half, right - half, kernel[down, right].astype(np.float64), *tables


def defocus_blur(
    x: Float64[Tensor, "n c h w"], down: Indices, right: Indices, weights: Weights, rows: Indices, columns: Indices
) -> Float64[Tensor, "n c h w"]:
    """Correlation of each channel with an anti-aliased `disk`, mirrored at the edge pixels (reflect-101)."""
    return correlate(x / 255, down, right, weights, rows, columns) * 255


@lru_cache(maxsize=32)
def plan_gaussian_blur(level: tuple[float, ...], frame: Frame) -> tuple[Weights, Indices, Indices]:
    taps = gaussian_taps(level[0], 4.0)
    return taps, replicated(frame.height, len(taps) - 1), replicated(frame.width, len(taps) - 1)


def gaussian_blur(
    x: Float64[Tensor, "n c h w"], taps: Weights, rows: Indices, columns: Indices
) -> Float64[Tensor, "n c h w"]:
    """A Gaussian filter, cut at 4 sigma; the edge pixel goes on outside."""
    return smooth(x / 255, taps, rows, columns) * 255


@lru_cache(maxsize=32)
def plan_glass_blur(level: tuple[float, ...], frame: Frame) -> tuple[Weights, Indices, Indices, int, int]:
    sigma, reach, rounds = level
    taps = gaussian_taps(sigma, 4.0)
    tables = replicated(frame.height, len(taps) - 1), replicated(frame.width, len(taps) - 1)
    return taps, *tables, int(reach), int(rounds)


def glass_blur(
    x: Float64[Tensor, "n c h w"],
    streams: Int64[Tensor, " n"],
    taps: Weights,
    rows: Indices,
    columns: Indices,
    reach: int,
    rounds: int,
) -> Float64[Tensor, "n c h w"]:
    """Gaussian blur, cut to whole grey levels; pixels copied from random neighbours; the same Gaussian blur again.

        for row h from H - d down to d + 1, for column w from W - d down to d + 1:
            y[h, w] <- y[h + dy, w + dx],     dy, dx uniform integers in [-d, d - 1]

    The reference code reads like a swap of two pixels; both names are views of the same memory, so it copies one way,
    and CIFAR-10-C was made with that. Draws of round r: 2 r H W + p is dy of pixel p, (2 r + 1) H W + p is dx.
    """
    (n, _, height, width), device = x.shape, x.device
    y = (smooth(x / 255, taps, rows, columns) * 255).floor()
    for turn in range(rounds):
        u = uniform(streams, 2 * height * width, start=2 * turn * height * width).view(n, 2, height, width)
        offset = (u * (2 * reach)).floor().long() - reach
        source = _sources(offset, reach).view(n, 1, -1).to(device)
        y = y.flatten(2).gather(2, source.expand(-1, y.shape[1], -1)).view_as(y)
    return smooth(y / 255, taps, rows, columns) * 255


def _sources(offset: Int64[Tensor, "n 2 h w"], reach: int) -> Int64[Tensor, "n h w"]:
    """Where each pixel of the shuffled image comes from, as a pixel number.

    With a reach of 1 no pixel is read after it was written, so all copies happen at once. Beyond, the order matters:
    the scan is run on pixel numbers by the compiled kernel.
    """
    height, width = offset.shape[2:]
    number = torch.arange(height * width, device=offset.device).view(height, width)
    if reach > 1:
        from .kernels.blur import scan

        places = number.double().cpu().expand(len(offset), 1, height, width).clone()
        scan(places.numpy(), offset.cpu().numpy(), reach)
        return places[:, 0].long()
    source = number + offset[:, 0] * width + offset[:, 1]
    source[:, :2], source[:, :, :2] = number[:2], number[:, :2]
    return source


def motion_taps(radius: float, sigma: float) -> Weights:
    """One-sided Gaussian weights of 2 radius + 1 steps, heaviest first, sum 1."""
    weights: Weights = np.exp(-(np.arange(2 * int(np.ceil(radius)) + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    return weights


def motion_steps(degrees: float | None, count: int) -> Indices:
    """Whole pixels (down, right) of 0, 1, 2, ... steps in a direction, (2, count); (2, 0) where it is drawn.

    Where a step ends between two pixels, the arithmetic of ImageMagick decides, which the benchmark called.

    >>> motion_steps(-150.0, 21)[:, :3].tolist()
    [[0, 0, -1], [0, -1, -2]]
    """
    if degrees is None:
        return np.empty((2, 0), np.int64)
    across, along = (count * turn(math.pi * degrees / 180) for turn in (math.sin, math.cos))
    length = math.hypot(across, along)
    return np.array([[math.ceil(i * part / length - 0.5) for i in range(count)] for part in (across, along)])


@lru_cache(maxsize=32)
def plan_motion_blur(
    level: tuple[float, ...], frame: Frame, degrees: float | None = None
) -> tuple[Indices, Weights, Indices, Indices]:
    """`degrees`: the direction; None: it is drawn."""
    weights = motion_taps(*level)
    return (
        motion_steps(degrees, len(weights)),
        weights,
        replicated(frame.height, len(weights)),
        replicated(frame.width, len(weights)),
    )


def motion_blur(
    x: Float64[Tensor, "n c h w"],
    streams: Int64[Tensor, " n"],
    steps: Indices,
    weights: Weights,
    rows: Indices,
    columns: Indices,
) -> Float64[Tensor, "n c h w"]:
    """sum_i k_i x at the pixel nearest to i steps in a direction of -45 to 45 degrees; the edge pixel goes on outside.

    Whole levels are rounded, not truncated: ImageMagick, which the benchmark called, returns 8-bit pixels.
    Draws: the angle is draw 0, where `steps` is empty.
    """
    angle = (uniform(streams, 1)[:, 0] * SPAN + LOW) * (np.pi / 180)
    return drag(x, along(steps, angle, len(weights)), weights, rows, columns)


@lru_cache(maxsize=32)
def plan_zoom_blur(level: tuple[float, ...], frame: Frame) -> tuple[NDArray[np.int32], Weights]:
    return zoom_stencil((1.0, *level), frame.height, frame.width)


def zoom_blur(x: Float64[Tensor, "n c h w"], index: NDArray[np.int32], weight: Weights) -> Float64[Tensor, "n c h w"]:
    """The mean of the image and of its copies zoomed by each factor about the centre (`zoom.zoom_axis`)."""
    return gather(x / 255, index, weight) * 255
