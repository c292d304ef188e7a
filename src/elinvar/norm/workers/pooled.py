"""Tables of statistics pooled over workers, with gradients for every worker's rows."""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from .group import ProcessGroup, Workers

Table = Float[Tensor, "groups channels"]


def across(
    mean: Table, variance: Table, counts: Sequence[int], workers: Workers
) -> tuple[Table, Table, Int64[Tensor, " groups"]]:
    """Mean, biased variance and number of the values of each group on all workers together.

        n = sum n_k,    w_k = n_k / n  (or 1 over the number of workers with n_k > 0)
        mean = sum w_k mean_k
        variance = sum w_k (variance_k + (mean_k - mean)^2)

    mean, variance  of this worker's values, in float32 or float64; what stands in the rows of empty groups is not read
    counts          number of this worker's values in each group

    The results are the same bits on all workers. A group that is empty everywhere has mean and variance 0, and gets no
    gradient. By itself a process gets its own tables back.

    One collective in the forward and one in the backward, so all workers must call it, and run its backward, equally
    often and with as many groups, also when they have no rows. Gradients hold what this worker's values do to the
    outputs of all workers. Second derivatives are refused.

    Source   Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983. Not E[x^2] - E[x]^2, which
             loses float32's digits when the mean is large (Wu and Johnson 2021, appendix A.6, start from those).
    """
    own = torch.tensor(list(counts), dtype=torch.int64, device=mean.device)
    group = workers.peers()
    if group is None:
        return mean, variance, own
    pooled = _Across.apply(mean, variance, own, group, workers.weighting)  # type: ignore[no-untyped-call]
    return cast(tuple[Tensor, Tensor, Tensor], pooled)


class _Across(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mean: Tensor, variance: Tensor, own: Tensor, group: ProcessGroup, weighting: str) -> Any:
        channels = mean.shape[1]
        # The counts travel as bits: float32 holds integers up to 2^24 only.
        packed = torch.cat([mean, variance, own.unsqueeze(1).view(mean.dtype)], dim=1)
        gathered = packed.new_empty(group.size(), *packed.shape)
        dist.all_gather(list(gathered.unbind()), packed, group=group)
        counts = gathered[:, :, 2 * channels :].contiguous().view(torch.int64)
        filled = counts > 0
        # An empty group's moments are 0/0 by some ways to compute them.
        means, variances = (t.where(filled, 0.0) for t in gathered[:, :, : 2 * channels].chunk(2, dim=2))
        total = counts.sum(0)
        shares = counts if weighting == "elements" else filled
        weights = (shares.double() / shares.sum(0).clamp(min=1)).to(mean.dtype)
        pooled = (weights * means).sum(0)
        apart = means - pooled
        ctx.group = group
        rank = group.rank()
        ctx.save_for_backward(weights[rank], apart[rank])
        total = total.squeeze(1)
        ctx.mark_non_differentiable(total)
        return pooled, (weights * (variances + apart.square())).sum(0), total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_mean: Tensor, of_variance: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        weight, apart = ctx.saved_tensors
        summed = torch.stack([of_mean, of_variance])
        dist.all_reduce(summed, group=ctx.group)
        of_mean, of_variance = summed
        # d variance / d mean is -2 sum w_k (mean_k - mean) = 0.
        return weight * (of_mean + 2 * apart * of_variance), weight * of_variance, None, None, None
