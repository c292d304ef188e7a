"""The two passes of `rows.py` as autograd functions over compiled kernels.

The gradient of x flows through both passes. Each could return a tensor of the batch's size for autograd to add; instead
`affine` leaves what it got in a `Link`, and `moments`, whose turn comes later in every backward, writes the sum of both
in one pass.

Moments are float64, so that a large mean keeps its digits; the kernels compute in the type of the batch about the
nearest center that it holds, and what is left of the center goes into the shift.
"""

import numpy as np
import torch
import torch.nn.functional as F
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


def by_memory(
    x: Tensor, partition: Partition, memory: tuple[Table, Table], affine: tuple[Tensor, Tensor], *, eps: float
) -> Tensor:
    """`F.batch_norm` by the one line of a memory, bit for bit; its backward sums as the other passes do."""
    y: Tensor = _ByMemory.apply(x, *memory, *affine, partition, eps)  # type: ignore[no-untyped-call]
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


class _ByMemory(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, mean, variance, gamma, beta, partition, eps):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, mean, variance, gamma, beta)
        ctx.partition, ctx.eps = partition, eps
        return _by_torch(x, mean, variance, gamma, beta, eps)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        x, mean, variance, gamma, beta = ctx.saved_tensors
        wanted, of_x, of_gamma, of_beta = ctx.needs_input_grad, None, None, None
        if torch.is_grad_enabled():  # a second derivative is wanted
            y = _by_torch(x, mean, variance, gamma, beta, ctx.eps)
            asked = [tensor for tensor, want in zip((x, gamma, beta), (wanted[0], *wanted[3:5]), strict=True) if want]
            found = iter(torch.autograd.grad(y, asked, gradient, create_graph=True))
            return tuple(next(found) if want else None for want in wanted)
        if x.dtype is torch.float16:
            x, gradient = x.float(), gradient.float()
        inverse = (variance.double() + ctx.eps).rsqrt()
        if wanted[0]:
            zero = torch.zeros_like(inverse)
            of_x = _mapped(gradient, ctx.partition, zero, inverse * gamma, zero)
        if wanted[3] or wanted[4]:
            products, sums = _sums(Images(x), gradient, ctx.partition, mean)
            of_gamma, of_beta = (products * inverse).squeeze(0), sums.squeeze(0)
        return of_x, None, None, of_gamma, of_beta, None, None


def _by_torch(x: Tensor, mean: Table, variance: Table, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    gamma, beta = gamma.to(mean.dtype), beta.to(mean.dtype)
    return F.batch_norm(x, mean.squeeze(0), variance.squeeze(0), gamma, beta, False, 0.0, eps)


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, partition, link):  # type: ignore[no-untyped-def]
        images = Images(x)
        mean, squares = images.sums(), images.sums()
        images.run(launch.moments, mean, squares)
        _, order, starts, _ = partition.arrays
        center, variance = (np.empty((len(partition.rows), x.shape[1])) for _ in range(2))
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
        near, level = _nearest(center, slope, level, images.dtype)
        tables = images.tables(near, scale, slope, level)
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
        of_scale, of_shift = _sums(images, gradient, partition, center)
        if link is not None:
            link.left = (gradient, scale)
            return None, None, -scale * of_shift, of_scale, of_shift, None
        of_x = _mapped(gradient, partition, zero, scale, zero) if ctx.needs_input_grad[0] else None
        return of_x, None, -scale * of_shift, of_scale, of_shift, None


def _sums(images: Images, gradient: Tensor, partition: Partition, center: Tensor) -> tuple[Tensor, Tensor]:
    """For each group and channel, in float64: the sums of gradient * (x - center) and of gradient."""
    near, by_row = center.to(images.dtype), (images.sums(), images.sums())
    images.run(launch.affine_sums, images.beside(gradient), partition.arrays[0], *images.tables(near), *by_row)
    products, sums = (dense.by_group(torch.from_numpy(table), partition) for table in by_row)
    return products - (center - near) * sums, sums


def _nearest(center: Tensor, scale: Tensor, shift: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The nearest center in `dtype`, and the shift that makes up for it in (x - center) * scale + shift."""
    near = center.to(dtype)
    return near, shift - (center - near) * scale


def _mapped(x: Tensor, partition: Partition, center: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    images = Images(x)
    out = torch.empty_like(images.x)
    center, shift = _nearest(center, scale, shift, images.dtype)
    images.run(launch.affine, partition.arrays[0], *images.tables(center, scale, shift), images.beside(out))
    return out
