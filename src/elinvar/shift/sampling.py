"""Weighted sums of neighbours and of places between pixels, batched over images: what blurs, zooms and warps share.

The functions here do in the same order what `kernels/sampling.py` does image by image, so both back ends round alike.
"""

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from torch import Tensor

Indices = NDArray[np.int64]
Weights = NDArray[np.float64]


def gaussian_taps(sigma: float, truncate: float) -> Weights:
    """Weights of a Gaussian at distances 0, 1, ..., int(truncate * sigma + 1/2); both sides together sum to 1.

    >>> gaussian_taps(0.05, 4.0).tolist()
    [1.0]
    """
    radius = int(truncate * sigma + 0.5)
    if radius == 0:
        return np.ones(1)
    weights: Weights = np.exp(-0.5 / sigma**2 * np.arange(-radius, radius + 1) ** 2)
    weights /= weights.sum()  # over both sides, as scipy does: glass blur truncates, so that the last bit matters
    return weights[radius:]


def smooth(
    x: Float64[Tensor, "*batch h w"], taps: Weights, rows: Indices, columns: Indices
) -> Float64[Tensor, "*batch h w"]:
    """Filter rows and columns by symmetric `taps` (distance 0 first); `rows`, `columns` are border tables."""
    for axis, border in ((-2, rows), (-1, columns)):
        size, r = x.shape[axis], len(taps) - 1
        padded = x.index_select(axis, torch.from_numpy(border).to(x.device))
        x = padded.narrow(axis, r, size) * taps[0]
        for j in range(r, 0, -1):
            x = x + (padded.narrow(axis, r - j, size) + padded.narrow(axis, r + j, size)) * taps[j]
    return x


def correlate(
    x: Float64[Tensor, "n c h w"], down: Indices, right: Indices, weights: Weights, rows: Indices, columns: Indices
) -> Float64[Tensor, "n c h w"]:
    """sum_i weights_i x[y + down_i, x + right_i], the same taps for all images; borders as in `smooth`."""
    height, width = x.shape[-2:]
    top, left = (len(rows) - height) // 2, (len(columns) - width) // 2
    padded = x[..., torch.from_numpy(rows).to(x.device), :][..., torch.from_numpy(columns).to(x.device)]
    total = torch.zeros_like(x)
    for dy, dx, weight in zip(down.tolist(), right.tolist(), weights.tolist(), strict=True):
        total = total + padded[..., top + dy :, left + dx :][..., :height, :width] * weight
    return total


def along(steps: Indices, angle: Float64[Tensor, " n"], count: int) -> Int64[Tensor, "n 2 {count}"]:
    """Whole pixels (down, right) of `count` steps: `steps`, or, where it is empty, in direction `angle` of each image.

    Angles are in radians; y points down.
    """
    if steps.size:
        return torch.from_numpy(steps).to(angle.device).expand(len(angle), -1, -1)
    number = torch.arange(count, device=angle.device)
    return (torch.stack([angle.sin(), angle.cos()], 1)[:, :, None] * number - 0.5).ceil().long()


def drag(
    x: Float64[Tensor, "n c h w"], steps: Int64[Tensor, "n 2 k"], weights: Weights, rows: Indices, columns: Indices
) -> Float64[Tensor, "n c h w"]:
    """Motion blur: sum_i weights_i x at the pixel that lies `steps_i` (down, right) from each."""
    n, c, height, width = x.shape
    top, left = (len(rows) - height) // 2, (len(columns) - width) // 2
    padded = x[..., torch.from_numpy(rows).to(x.device), :][..., torch.from_numpy(columns).to(x.device)].flatten(2)
    y = torch.arange(height, device=x.device)[:, None] + top
    base = y * len(columns) + torch.arange(width, device=x.device) + left
    down, right = steps.unbind(1)
    total = x.new_zeros(n, c, height * width)
    for i, weight in enumerate(weights.tolist()):
        shift = down[:, i] * len(columns) + right[:, i]
        place = (base.flatten() + shift[:, None])[:, None].expand(n, c, height * width)
        total = total + padded.gather(2, place) * weight
    return total.view_as(x)


def gather(x: Float64[Tensor, "n c h w"], index: NDArray[np.int32], weight: Weights) -> Float64[Tensor, "n c h w"]:
    """sum_k weight[p, k] x[index[p, k]] for every pixel p; pixels are numbered row by row."""
    flat = x.flatten(2)
    places, weights = torch.from_numpy(index).to(x.device).long(), torch.from_numpy(weight).to(x.device)
    total = torch.zeros_like(flat)
    for k in range(index.shape[1]):
        total = total + flat[..., places[:, k]] * weights[:, k]
    return total.view_as(x)


def _split(
    position: Float64[Tensor, "n h w"], size: int, *, edge: float
) -> tuple[Int64[Tensor, "n h w"], Int64[Tensor, "n h w"], Float64[Tensor, "n h w"]]:
    period = 2.0 * (size - 1 + 2 * edge)
    beyond = (position + edge).abs()
    beyond = beyond - (beyond / period).floor() * period
    beyond = (torch.minimum(beyond, period - beyond) - edge).clamp(0.0, size - 1.0)
    position = torch.where((position >= 0.0) & (position <= size - 1.0), position, beyond)
    low = position.floor()
    return low.long(), (low + 1).clamp(max=size - 1).long(), position - low


def bilinear(
    x: Float64[Tensor, "n c h w"], y_at: Float64[Tensor, "n h w"], x_at: Float64[Tensor, "n h w"], *, edge: float
) -> Float64[Tensor, "n c h w"]:
    """The images at (y_at, x_at), between pixels linearly, mirrored `edge` pixels beyond the edge pixels' centres.

    edge 0 is reflect-101 (`borders.mirrored`), edge 1/2 the half-sample rule (`borders.mirrored_twice`).
    """
    n, c, height, width = x.shape
    top, bottom, down = _split(y_at, height, edge=edge)
    left, right, along = _split(x_at, width, edge=edge)
    flat = x.flatten(2)

    def at(rows: Int64[Tensor, "n h w"], columns: Int64[Tensor, "n h w"]) -> Float64[Tensor, "n c h w"]:
        place = (rows * width + columns).view(n, 1, height * width).expand(n, c, height * width)
        return flat.gather(2, place).view_as(x)

    down, along = down[:, None], along[:, None]
    upper = at(top, left) * (1 - along) + at(top, right) * along
    lower = at(bottom, left) * (1 - along) + at(bottom, right) * along
    return upper * (1 - down) + lower * down
