"""Normalize consecutive blocks of rows by their own batch statistics, with torch's fused kernel.

Each block is one call of the kernel, which in the forward writes straight into its slice of one output, so splitting a
batch costs little more than normalizing it whole.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from .moments import Moments

_forward = torch.ops.aten.native_batch_norm.out
_backward = torch.ops.aten.native_batch_norm_backward


class Block(NamedTuple):
    """The next `rows` rows, and the gamma and beta that follow their normalization."""

    rows: int
    weight: Tensor | None
    bias: Tensor | None


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, sizes, eps, means, variances, *affine):  # type: ignore[no-untyped-def]
        out = torch.empty_like(x)
        saved = []
        for part, to, mean, variance, weight, bias in zip(
            torch.split(x, sizes), torch.split(out, sizes), means, variances, affine[::2], affine[1::2], strict=True
        ):
            # Momentum 1 makes the kernel's running statistics those of this very block.
            save_mean, save_invstd = torch.empty_like(mean), torch.empty_like(mean)
            _forward(
                part, weight, bias, mean, variance, True, 1.0, eps, out=to, save_mean=save_mean, save_invstd=save_invstd
            )
            saved += [weight, save_mean, save_invstd]
        ctx.save_for_backward(x, *saved)
        ctx.sizes, ctx.eps = sizes, eps
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, *saved = ctx.saved_tensors  # type: ignore[attr-defined]
        sizes, eps = ctx.sizes, ctx.eps  # type: ignore[attr-defined]
        of_x = torch.empty_like(x)
        of_affine: list[Tensor | None] = []
        for part, grad, to, weight, mean, invstd in zip(
            torch.split(x, sizes),
            torch.split(gradient, sizes),
            torch.split(of_x, sizes),
            saved[::3],
            saved[1::3],
            saved[2::3],
            strict=True,
        ):
            wanted = [True, weight is not None, weight is not None]
            of_part, of_weight, of_bias = _backward(grad, part, weight, None, None, mean, invstd, True, eps, wanted)
            to.copy_(of_part)
            of_affine += [of_weight, of_bias]
        return of_x, None, None, None, None, *of_affine


def statistics_dtype(x: Tensor, weight: Tensor | None) -> torch.dtype:
    """What the kernel computes statistics in: gamma's own type, else float32 or better."""
    return torch.promote_types(x.dtype, torch.float32) if weight is None else weight.dtype


def normalize_blocks(
    x: Float[Tensor, "n c *spatial"], blocks: Sequence[Block], *, eps: float
) -> tuple[Float[Tensor, "n c *spatial"], list[Moments]]:
    """Each block of `x` to zero mean and unit (biased) variance of its own rows, then gamma and beta.

        y = (x - mean_k) / sqrt(var_k + eps) * gamma_k + beta_k      for the rows of block k

    Returns the result and the moments of each block (unbiased variances, float32 or better).
    """
    wide = statistics_dtype(x, blocks[0].weight)
    means = [x.new_zeros(x.shape[1], dtype=wide) for _ in blocks]
    variances = [x.new_ones(x.shape[1], dtype=wide) for _ in blocks]
    sizes = [block.rows for block in blocks]
    affine = [tensor for block in blocks for tensor in (block.weight, block.bias)]
    out: Tensor = _Blocks.apply(x, sizes, eps, means, variances, *affine)  # type: ignore[no-untyped-call]
    values = x[0, 0].numel()  # of one row and one channel
    return out, [Moments(size * values, *pair) for size, *pair in zip(sizes, means, variances, strict=True)]
