"""Normalization written down naively in float64, as the tests' independent reference."""

import torch
from torch import Tensor

Group = list[int]


def normalized(
    x: Tensor,
    groups: list[Group],
    *,
    width: int = 1,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Rows of each group and `width` neighbouring channels together; differentiable, one statistic at a time."""
    flat = x.double().reshape(x.shape[0], x.shape[1], -1)
    out = torch.zeros_like(flat)
    for rows in groups:
        for first in range(0, x.shape[1], width):
            channels = list(range(first, first + width))
            values = flat[rows][:, channels]
            mean = values.sum() / values.numel()
            variance = (values - mean).square().sum() / values.numel()
            grid = torch.meshgrid(torch.tensor(rows), torch.tensor(channels), indexing="ij")
            out = out.index_put(grid, (values - mean) / (variance + eps).sqrt())
    if gamma is not None and beta is not None:
        out = out * gamma.double()[:, None] + beta.double()[:, None]
    return out.reshape(x.shape)


def example_weighted(
    x: Tensor, mean: Tensor, variance: Tensor, *, alpha: float, width: int = 1, eps: float = 1e-5
) -> Tensor:
    """By raw moments, as the thesis writes it: mix means of x and of x^2."""
    flat = x.double().reshape(x.shape[0], x.shape[1], -1)
    out = torch.zeros_like(flat)
    first_moment, second_moment = mean.double(), variance.double() + mean.double().square()
    for row in range(len(x)):
        for start in range(0, x.shape[1], width):
            channels = slice(start, start + width)
            own = flat[row, channels]
            mu = alpha * own.mean() + (1 - alpha) * first_moment[channels].mean()
            square = alpha * own.square().mean() + (1 - alpha) * second_moment[channels].mean()
            out[row, channels] = (own - mu) / (square - mu.square() + eps).sqrt()
    return out.reshape(x.shape)
