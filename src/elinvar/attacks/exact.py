"""Sums that never leave a ball by rounding: floating point arithmetic that errs to the safe side."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def below(value: float, dtype: torch.dtype) -> float:
    """The largest number of `dtype` that is not above `value`.

    >>> below(8 / 255, torch.float32) <= 8 / 255 < below(8 / 255, torch.float32) + 2e-9
    True
    """
    if not math.isfinite(value):
        return value
    nearest = torch.tensor(value, dtype=torch.float64).to(dtype)
    if nearest.item() > value:
        nearest = torch.nextafter(nearest, torch.tensor(-math.inf, dtype=dtype))
    return float(nearest.item())


def within(bounds: tuple[float, float], dtype: torch.dtype) -> tuple[float, float]:
    """The bounds as images of `dtype` have them, rounded to the nearest number: an image may hold them."""
    low, high = torch.tensor(bounds, dtype=torch.float64).to(dtype).tolist()
    return low, high


def toward(images: Float[Tensor, "*shape"], moves: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """images + moves, rounded toward the images, so that |result - images| <= |moves| holds exactly.

    Rounding to nearest may end half a unit in the last place farther out than `moves`. Its error is a floating point
    number that six operations compute without error; where it shows such an end, the neighbour inside is taken.

    Source   Knuth, The Art of Computer Programming, volume 2, section 4.2.2, theorem B (the error of a sum).
    """
    total = images + moves
    back = total - images
    error = (images - (total - back)) + (moves - back)
    side = moves.sign()
    outside = error.sign().mul_(side) < 0
    # A number that lies inside of those, and itself for the others: as arithmetic, since a choice for each value costs
    # a CPU a mispredicted branch where the choices are random.
    inside = total - side.mul_(outside).mul_(torch.finfo(total.dtype).max)
    return torch.nextafter(total, inside)
