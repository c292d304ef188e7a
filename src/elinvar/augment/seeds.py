"""Noise that a number fixes: what operations draw for each pixel value, the same in both back ends.

An operation that is random inside has a parameter `seed`, a whole number below 2**24, which float32 holds exactly.
Value j of an image (channel after channel, row after row) gets 16 random bits:

    stream = rng.streams(KEY, seed),   draw_j = bits 16 (j mod 4) to 16 (j mod 4) + 15 of rng.bits(stream, j div 4)

so that a program with noise in it can be kept, printed and run again like any other. A normal value is the entry of
`normals()` that the draw chooses: no logarithm, no cosine, and the same bits on every device.
"""

from functools import cache

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from ..rng import fold

SEEDS = 1 << 24
DRAWS = 1 << 16
KEY = fold("noise in operations")


def seed(u: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """A seed for each number in [0, 1)."""
    return (u * SEEDS).floor()


@cache
def normals() -> Float32[Tensor, "draws"]:
    """A standard normal variable of 65,536 equally likely values: the means of as many equally likely intervals.

    They are scaled to variance 1; the largest is 4.39, which 11 in a million normals exceed in size.
    """
    edges = torch.special.ndtri(torch.arange(DRAWS // 2, DRAWS + 1, dtype=torch.float64) / DRAWS)
    density = torch.exp(-edges.square() / 2)
    upper = density[:-1] - density[1:]
    upper /= upper.square().mean().sqrt()
    return torch.cat([-upper.flip(0), upper]).to(torch.float32)
