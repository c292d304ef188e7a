"""Normal draws for the tensor back end: the same numbers as the compiled one, from the same counters.

    normal_i, normal_(half + i) = sqrt(-2 log(1 - u_i)) (cos, sin)(2 pi u_(half + i)),     half = ceil(count / 2)

Source  Box and Muller, "A note on the generation of random normal deviates", 1958.
"""

import math

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ..rng import uniform


def normal(stream: Int64[Tensor, " n"], count: int, start: int = 0) -> Float64[Tensor, "n {count}"]:
    """`count` standard normals of each stream, from draws `start` to `start + 2 ceil(count / 2) - 1`.

    >>> from ..rng import streams
    >>> normal(streams(7, torch.arange(2)), 5).shape
    torch.Size([2, 5])
    """
    half = (count + 1) // 2
    u = uniform(stream, 2 * half, start)
    radius, angle = (-2 * torch.log(1 - u[:, :half])).sqrt(), 2 * math.pi * u[:, half:]
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count]
