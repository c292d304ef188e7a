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

from ..moments import Moments, over_channels
from ..partition import Partition
from . import compiled, dense, tables
from .images import Images

Table = Float[Tensor, "banks channels"]


def normalize(
    x: Float[Tensor, "n c *spatial"],
    partition: Partition,
    affine: tuple[Table, Table] | None,
    *,
    banks: tuple[int, ...],
    width: int,
    eps: float,
) -> tuple[Tensor, dict[str, Moments]]:
    """Each group by its own moments; also the moments that each branch has seen, where it has any.

    affine  gamma and beta, one line for each bank; `banks` says which of them each group has
    width   neighbouring channels that share statistics
    """
    if affine is None:
        ones = torch.ones(1, x.shape[1])
        affine, banks = (ones, torch.zeros_like(ones)), (0,) * len(banks)
    y, mean, variance = _Normalize.apply(x, *affine, partition, banks, width, eps)  # type: ignore[no-untyped-call]
    counts = partition.counts(x)
    seen = {}
    for name in dict.fromkeys(partition.branches):
        of = slice(partition.branches.index(name), partition.branches.index(name) + partition.branches.count(name))
        if sum(counts[of]):
            whole = np.empty((2, x.shape[1]), mean.numpy().dtype)
            tables.together(mean[of].numpy(), variance[of].numpy(), np.array(counts[of]), *whole)
            seen[name] = Moments(sum(counts[of]), *torch.from_numpy(whole).unbind())
    return y, seen


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, partition, banks, width, eps):  # type: ignore[no-untyped-def]
        images = Images(x)
        by_row = images.sums(), images.sums()
        images.run(compiled.moments, *by_row)
        index, groups, owner = partition.array(), np.array(partition.rows), np.array(banks, np.int32)
        mean, variance, center, inverse, scale, shift = np.empty((6, len(groups), x.shape[1]), images.wide)
        tables.pooled(*by_row, images.length, index, groups, mean, variance)
        factors, offsets = images.tables(gamma, beta)
        tables.lines(mean, variance, width, eps, owner, factors, offsets, center, inverse, scale, shift)
        out = torch.empty_like(images.x)
        images.run(compiled.affine, index, center, scale, shift, images.beside(out))
        ctx.save_for_backward(x, gamma, beta)
        ctx.of = partition, banks, width, eps, (index, groups, owner, center, inverse, scale)
        results = out, torch.from_numpy(mean), torch.from_numpy(variance)
        ctx.mark_non_differentiable(*results[1:])
        return results

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, gamma, beta = ctx.saved_tensors
        partition, banks, width, eps, (index, groups, owner, center, inverse, scale) = ctx.of
        wanted = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():  # a second derivative is wanted
            y = _by_autograd(x, gamma, beta, partition, banks, width, eps)
            asked = [tensor for tensor, want in zip((x, gamma, beta), wanted, strict=True) if want]
            found = iter(torch.autograd.grad(y, asked, gradient, create_graph=True))
            return *(next(found) if want else None for want in wanted), None, None, None, None
        images = Images(x)
        above, by_row = images.beside(gradient), (images.sums(), images.sums())
        images.run(compiled.affine_sums, above, index, center, *by_row)
        slope, level = np.empty((2, *center.shape), images.wide)
        factors = images.tables(gamma)[0]
        of_gamma, of_beta = np.empty((2, *factors.shape), images.wide)
        to_fill = slope, level, of_gamma, of_beta
        tables.gradients(*by_row, index, groups, images.length, width, inverse, owner, factors, *to_fill)
        of_x = None
        if wanted[0]:
            of_x = torch.empty_like(images.x)
            to = images.beside(of_x)
            images.run(compiled.input_gradient, above, index, center, scale, slope, level, to)
        return of_x, torch.from_numpy(of_gamma), torch.from_numpy(of_beta), None, None, None, None


def _by_autograd(
    x: Tensor, gamma: Tensor, beta: Tensor, partition: Partition, banks: tuple[int, ...], width: int, eps: float
) -> Tensor:
    mean, variance = over_channels(*dense.moments(x, partition), width)
    owner = torch.tensor(banks)
    scale = (variance + eps).rsqrt() * gamma[owner].to(mean.dtype)
    return dense.affine(x, partition, mean, scale, beta[owner].to(mean.dtype))
