"""What one forward shows of a layer's input: moments in float64."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor


@dataclass(frozen=True)
class Seen:
    """Mean and sum of squared deviations from it, of `count` values of each channel."""

    count: int
    mean: Float64[Tensor, " channels"]
    squares: Float64[Tensor, " channels"]


def moments_of(x: Float[Tensor, "n c *spatial"]) -> Seen:
    """The moments of every channel over all rows and places; x must hold something.

    A large common offset costs no digits, as sums are taken around a value of the row itself. torch's training kernels
    sum float32 over a whole channel: at an offset of 1e4 standard deviations that loses the variance altogether in
    channels_last. On a CPU x is read once, by a compiled kernel.
    """
    if x.device.type != "cpu":
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        variance, mean = torch.var_mean(wide, dim=[0, *range(2, x.ndim)], correction=0)
        count = x.numel() // x.shape[1]
        return Seen(count, mean.double(), variance.double() * count)
    from ..passes.images import Images
    from .compiled import moments

    plain = x.detach().as_subclass(Tensor)
    images = Images(plain.float() if x.dtype is torch.float16 else plain)
    counts, means, squares = np.zeros(len(x), np.int64), np.empty(x.shape[:2]), np.empty(x.shape[:2])
    images.run(moments, counts, means, squares)
    lines = counts.nonzero()[0]  # one for each piece
    weights, by_piece = torch.from_numpy(counts[lines]).double().unsqueeze(1), torch.from_numpy(means[lines])
    count = int(counts.sum())
    mean = (by_piece * weights).sum(0) / count
    between = ((by_piece - mean).square_() * weights).sum(0)
    return Seen(count, mean, between + torch.from_numpy(squares[lines]).sum(0))
