"""Contrast, elastic transform, pixelate and saturate: what is prepared for a severity, and the tensor back end."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from torch import Tensor

from ..rng import uniform
from .borders import mirrored_twice
from .frame import Frame
from .sampling import Indices, Weights, bilinear, gaussian_taps, smooth

BITS = 22  # of Pillow's fixed-point weights


def contrast(x: Float64[Tensor, "n c h w"], factor: float) -> Float64[Tensor, "n c h w"]:
    """(x - m) factor + m, with m the mean of each channel over the image."""
    mean = x.sum(2, keepdim=True).sum(3, keepdim=True) / (x.shape[2] * x.shape[3]) / 255
    return ((x / 255 - mean) * factor + mean) * 255


def saturate(x: Float64[Tensor, "n 3 h w"], scale: float, shift: float) -> Float64[Tensor, "n 3 h w"]:
    """Scale and shift S of HSV, clipped to [0, 1]; hue and value stay. V is the largest of R, G, B, S = (V - min) / V.

        S' = clip(scale S + shift),   x' = V (1 - S' (V - x) / (V - min))

    A grey pixel has no hue and becomes red where S' > 0, as in the benchmark: hue 0 stands for none.
    """
    x = x / 255
    value, least = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
    spread = value - least
    saturation = (spread / value.where(value > 0, 1.0) * scale + shift).clamp(0, 1)
    red = torch.tensor([0.0, 1.0, 1.0], dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
    distance = torch.where(spread > 0, (value - x) / spread.where(spread > 0, 1.0), red)  # from V, where S is 1
    return value * (1 - distance * saturation) * 255


@lru_cache(maxsize=32)
def plan_elastic_transform(
    level: tuple[float, ...], frame: Frame
) -> tuple[float, float, Weights, Indices, Indices, Weights, Weights]:
    """Filters that reach beyond the image are matrices: of rows, and of columns transposed; else both are empty."""
    alpha, sigma, affine = level
    taps = gaussian_taps(sigma, 3.0)
    tables = mirrored_twice(frame.height, len(taps) - 1), mirrored_twice(frame.width, len(taps) - 1)
    wide = len(taps) > min(frame.height, frame.width)
    matrices = [_mirrored_matrix(side, taps) if wide else np.empty((0, 0)) for side in (frame.height, frame.width)]
    return alpha, affine, taps, *tables, matrices[0], np.ascontiguousarray(matrices[1].T)


def _mirrored_matrix(size: int, taps: Weights) -> Weights:
    """The filter of an axis as a matrix (to, from): taps beyond the border fall on what is mirrored there."""
    whole = np.concatenate([taps[:0:-1], taps])
    matrix, table = np.zeros((size, size)), mirrored_twice(size, len(taps) - 1)
    for position in range(size):
        np.add.at(matrix[position], table[position : position + len(whole)], whole)
    return matrix


def _backward_affine(moved: Float64[Tensor, "n 3 2"], height: int, width: int) -> tuple[Float64[Tensor, " n"], ...]:
    """The affine map (a, b, c, d, e, f) from places in the result to places in the image.

    x_in = a x + b y + c,  y_in = d x + e y + f, where three fixed points went to `moved` (x, y).
    """
    r, cx, cy = min(height, width) // 3, width // 2, height // 2
    (x0, y0), (x1, y1), (x2, y2) = moved.unbind(1)[0].T, moved.unbind(1)[1].T, moved.unbind(1)[2].T
    # forward: (cx+r, cy+r), (cx+r, cy-r), (cx-r, cy-r) -> moved, so the columns of its matrix are differences
    xx, yx, xy, yy = (x1 - x2) / (2 * r), (y1 - y2) / (2 * r), (x0 - x1) / (2 * r), (y0 - y1) / (2 * r)
    x_rest, y_rest = x2 - xx * (cx - r) - xy * (cy - r), y2 - yx * (cx - r) - yy * (cy - r)
    determinant = xx * yy - xy * yx
    inverse = torch.where(determinant != 0, 1 / determinant, 0.0)
    a, b, d, e = yy * inverse, -xy * inverse, -yx * inverse, xx * inverse
    return a, b, -(a * x_rest + b * y_rest), d, e, -(d * x_rest + e * y_rest)


def elastic_transform(
    x: Float64[Tensor, "n c h w"],
    streams: Int64[Tensor, " n"],
    alpha: float,
    affine: float,
    taps: Weights,
    rows: Indices,
    columns: Indices,
    of_rows: Weights,
    of_columns: Weights,
) -> Float64[Tensor, "n c h w"]:
    """A random affine map, then a random smooth displacement of every pixel.

        three points around the centre move by U(-affine, affine) pixels in x and in y      bilinear, reflect-101
        result(y, x) = warped(y + alpha G U_y, x + alpha G U_x), U uniform on [-1, 1)       bilinear, half-sample mirror

    G is a Gaussian filter cut at 3 sigma, with a half-sample mirror. Draws: 0..5 are (x, y) of the three points, then
    U_x from 6 and U_y from 6 + H W, row by row.
    """
    n, _, height, width = x.shape
    r, cx, cy = min(height, width) // 3, width // 2, height // 2
    u = uniform(streams, 6 + 2 * height * width) * 2 - 1
    points = torch.tensor([[cx + r, cy + r], [cx + r, cy - r], [cx - r, cy - r]], dtype=x.dtype, device=x.device)
    a, b, c, d, e, f = _backward_affine(points + u[:, :6].view(n, 3, 2) * affine, height, width)
    y_to = torch.arange(height, dtype=x.dtype, device=x.device)[:, None]
    x_to = torch.arange(width, dtype=x.dtype, device=x.device)
    a, b, c, d, e, f = (part[:, None, None] for part in (a, b, c, d, e, f))
    warped = bilinear(x, d * x_to + e * y_to + f, a * x_to + b * y_to + c, edge=0.0)
    fields = u[:, 6:].view(n, 2, height, width)
    if of_rows.size:
        smoothed = torch.from_numpy(of_rows).to(x.device) @ (fields @ torch.from_numpy(of_columns).to(x.device))
    else:
        smoothed = smooth(fields, taps, rows, columns)
    displacement = smoothed * alpha
    return bilinear(warped, y_to + displacement[:, 1], x_to + displacement[:, 0], edge=0.5)


def box_axis(size: int, new_size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each pixel of a box-filtered axis begins, and the weights (new_size, taps) of what it averages, in 2**-22.

    A pixel of the new grid averages, evenly, the old pixels whose centres it covers. As Pillow's resampling.
    """
    scale = size / new_size
    filter_scale = max(scale, 1.0)
    centre = (np.arange(new_size) + 0.5) * scale
    first = np.maximum((centre - 0.5 * filter_scale + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + 0.5 * filter_scale + 0.5).astype(np.int64), size)
    taps = np.arange((last - first).max())
    place = (taps + first[:, None] - centre[:, None] + 0.5) / filter_scale
    inside = ((place > -0.5) & (place <= 0.5) & (taps < (last - first)[:, None])).astype(float)
    inside /= inside.sum(1, keepdims=True)
    return first, (inside * 2**BITS + 0.5).astype(np.int64)


@lru_cache(maxsize=32)
def plan_pixelate(
    level: tuple[float, ...], frame: Frame
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], Indices, Indices]:
    small = [int(size * level[0]) for size in (frame.height, frame.width)]
    down = [box_axis(size, less) for size, less in zip((frame.height, frame.width), small, strict=True)]
    up = []
    for size, less in zip((frame.height, frame.width), small, strict=True):
        first, weights = box_axis(less, size)
        up.append(first + weights.argmax(1))
    return *down[0], *down[1], up[0], up[1]


def _box(x: Float64[Tensor, "n c h w"], first: Indices, weights: Indices) -> Float64[Tensor, "n c new w"]:
    total: Tensor = x.new_full((*x.shape[:2], len(first), x.shape[3]), 2.0 ** (BITS - 1))
    for tap in range(weights.shape[1]):
        place = torch.from_numpy(np.minimum(first + tap, x.shape[2] - 1)).to(x.device)
        total = total + x[:, :, place] * torch.from_numpy(weights[:, tap, None].astype(float)).to(x.device)
    return torch.floor(total / 2**BITS)


def pixelate(
    x: Float64[Tensor, "n c h w"],
    row_first: Indices,
    row_weights: Indices,
    column_first: Indices,
    column_weights: Indices,
    row_up: Indices,
    column_up: Indices,
) -> Float64[Tensor, "n c h w"]:
    """Box filter down to int(scale * side) pixels and up again, in whole grey levels; equal to Pillow's `BOX`.

    Float images are rounded to grey levels first. As in Pillow, columns come before rows and are rounded;
    since version 13 Pillow takes the rows of tall narrow images first, which may round one level differently.
    """
    x = _box((x + 0.5).floor().mT, column_first, column_weights).mT
    x = _box(x, row_first, row_weights)
    return x[:, :, torch.from_numpy(row_up).to(x.device)][..., torch.from_numpy(column_up).to(x.device)]
