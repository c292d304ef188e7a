"""The common training forward as one autograd function, whose backward is written down in closed form.

        h = gamma g,    x_hat = (x - mean) s,    s = 1 / sqrt(var + eps)
        of_x = s (h - avg(h) - x_hat avg(h x_hat))        averages over the n values of a statistic

It is what `rows.py` and autograd work out for statistics of the rows alone, without some forty small tensor operations,
which on a CPU can cost as much as the passes over the batch.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..moments import over_channels
from ..partition import Partition
from . import dense, launch
from .images import Array, Images, numpy_dtype

Lines = Float[Tensor, " c"] | Float[Tensor, "branches c"]


def normalize(
    x: Float[Tensor, "n c *spatial"],
    partition: Partition,
    affine: tuple[Lines, Lines] | None,
    *,
    width: int,
    eps: float,
) -> tuple[Tensor, Float[Tensor, "branches 2 c"]]:
    """Each group by its own moments; also mean and unbiased variance of each branch that the partition has.

    affine  gamma and beta: for all groups, or a line for each branch that the partition has
    width   neighbouring channels that share statistics
    """
    if affine is None:
        ones = torch.ones(x.shape[1])
        affine = ones, torch.zeros_like(ones)
    if x.dtype is torch.float16:  # which kernels do not read
        y, moments = normalize(x.float(), partition, affine, width=width, eps=eps)
        return y.to(x.dtype), moments
    seen: Array = np.empty((len(partition.present), 2, x.shape[1]), numpy_dtype(x))
    y = _Normalize.apply(x, *affine, partition, width, eps, seen)  # type: ignore[no-untyped-call]
    return y, torch.from_numpy(seen)


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, partition, width, eps, seen):  # type: ignore[no-untyped-def]
        images = Images(x)
        lines = np.empty((5, len(partition.rows), x.shape[1]), images.wide)
        out = torch.empty_like(images.x)
        to = images.beside(out)
        images.run(launch.forward, *partition.arrays, *images.tables(gamma, beta), width, eps, seen, lines, to)
        ctx.save_for_backward(x, gamma, beta)
        ctx.of = partition, width, eps, lines
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, gamma, beta = ctx.saved_tensors
        partition, width, eps, lines = ctx.of
        wanted = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():  # a second derivative is wanted
            y = _by_autograd(x, gamma, beta, partition, width, eps)
            asked = [tensor for tensor, want in zip((x, gamma, beta), wanted, strict=True) if want]
            found = iter(torch.autograd.grad(y, asked, gradient, create_graph=True))
            return *(next(found) if want else None for want in wanted), None, None, None, None
        images = Images(x)
        of_affine = np.empty((2, *gamma.shape))  # float64, as the sums that it is made of
        of_x = torch.empty_like(images.x) if wanted[0] else None
        above, (factors,) = images.beside(gradient), images.tables(gamma)
        to = above[:0] if of_x is None else images.beside(of_x)
        images.run(
            launch.backward, *partition.arrays, above, factors, width, lines, of_affine.reshape(2, *factors.shape), to
        )
        return of_x, *torch.from_numpy(of_affine).unbind(), None, None, None, None


def _by_autograd(x: Tensor, gamma: Tensor, beta: Tensor, partition: Partition, width: int, eps: float) -> Tensor:
    mean, variance = over_channels(*dense.moments(x, partition), width)
    if gamma.ndim > 1:
        of_group = torch.from_numpy(partition.arrays[3]).long()
        gamma, beta = gamma[of_group], beta[of_group]
    scale = (variance + eps).rsqrt() * gamma.to(mean.dtype)
    return dense.affine(x, partition, mean, scale, beta.to(mean.dtype).expand_as(scale))
