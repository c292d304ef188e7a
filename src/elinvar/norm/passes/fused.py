"""The two passes of `rows.py` as autograd functions over compiled kernels.

The gradient of x flows through both passes. Each could return a tensor of the batch's size for autograd to add; instead
`affine` leaves what it got in a `Link`, and `moments`, whose turn comes later in every backward, writes the sum of both
in one pass.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..partition import Partition
from . import dense, launch, tables
from .images import Images

Table = Float[Tensor, "groups channels"]


class Link:
    """The gradient of y and the scale, on their way from the backward of `affine` to that of `moments`."""

    left: tuple[Tensor, Tensor] | None = None


def moments(x: Tensor, partition: Partition, link: Link) -> tuple[Table, Table]:
    """As `dense.moments`."""
    mean, variance = _Moments.apply(x, partition, link)  # type: ignore[no-untyped-call]
    return mean, variance


def affine(x: Tensor, partition: Partition, center: Table, scale: Table, shift: Table, link: "Link | None") -> Tensor:
    """As `dense.affine`; with a link, the gradient of x waits there for the backward of `moments`."""
    y: Tensor = _Affine.apply(x, partition, center, scale, shift, link)  # type: ignore[no-untyped-call]
    return y


def example_weighted(
    x: Tensor,
    partition: Partition,
    memory: tuple[Table, Table],
    gamma: Table,
    beta: Table,
    *,
    alpha: float,
    eps: float,
    channels: int,
) -> Tensor:
    """Each row by alpha of its own moments and 1 - alpha of its group's memory, in one visit; no gradients.

    channels  neighbouring channels that share statistics
    """
    images = Images(x)
    out = torch.empty_like(images.x)
    tables = images.tables(*memory, gamma, beta)
    images.run(launch.example_weighted, partition.arrays[0], *tables, alpha, eps, channels, images.beside(out))
    return out


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, partition, link):  # type: ignore[no-untyped-def]
        images = Images(x)
        mean, squares = images.sums(), images.sums()
        images.run(launch.moments, mean, squares)
        _, order, starts, _ = partition.arrays
        center, variance = (np.empty((len(partition.rows), x.shape[1]), images.wide) for _ in range(2))
        tables.pooled(mean, squares, images.length, order, starts, center, variance, 0, len(center))
        results = torch.from_numpy(center), torch.from_numpy(variance)
        ctx.save_for_backward(x, results[0])
        ctx.partition, ctx.link, ctx.length = partition, link, images.length
        return results

    @staticmethod
    def backward(ctx, of_center, of_variance):  # type: ignore[no-untyped-def]
        x, center = ctx.saved_tensors
        partition, link = ctx.partition, ctx.link
        count = torch.tensor(partition.rows, dtype=center.dtype).clamp(min=1).unsqueeze(1) * ctx.length
        slope, level = 2 * of_variance / count, of_center / count
        if torch.is_grad_enabled():  # a second derivative is wanted: `affine` left nothing, autograd adds both parts
            return dense.affine(x, partition, center, slope, level), None, None
        if link.left is None:  # y was not asked for
            return _mapped(x, partition, center, slope, level), None, None
        (gradient, scale), link.left = link.left, None
        images = Images(x)
        out = torch.empty_like(images.x)
        tables = images.tables(center, scale, slope, level)
        images.run(launch.input_gradient, images.beside(gradient), partition.arrays[0], *tables, images.beside(out))
        return out, None, None


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, partition, center, scale, shift, link):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, center, scale)
        ctx.partition, ctx.link = partition, link
        return _mapped(x, partition, center, scale, shift)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        x, center, scale = ctx.saved_tensors
        partition, link = ctx.partition, ctx.link
        zero = torch.zeros_like(center)
        if torch.is_grad_enabled():
            of_scale, of_shift = dense.affine_sums(gradient, x, partition, center)
            straight = dense.affine(gradient, partition, zero, scale, zero)
            return straight, None, -scale * of_shift, of_scale, of_shift, None
        images = Images(x)
        by_row = images.sums(), images.sums()
        images.run(launch.affine_sums, images.beside(gradient), partition.arrays[0], *images.tables(center), *by_row)
        of_scale, of_shift = (dense.by_group(torch.from_numpy(sums), partition) for sums in by_row)
        if link is not None:
            link.left = (gradient, scale)
            return None, None, -scale * of_shift, of_scale, of_shift, None
        of_x = _mapped(gradient, partition, zero, scale, zero) if ctx.needs_input_grad[0] else None
        return of_x, None, -scale * of_shift, of_scale, of_shift, None


def _mapped(x: Tensor, partition: Partition, center: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    images = Images(x)
    out = torch.empty_like(images.x)
    images.run(launch.affine, partition.arrays[0], *images.tables(center, scale, shift), images.beside(out))
    return out
