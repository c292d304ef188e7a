"""Logits in a number format that losses can be computed in, and what they point to."""

import torch
from jaxtyping import Float
from torch import Tensor

SMALLEST = 1e-12


def wide(logits: Float[Tensor, "*rows classes"]) -> Float[Tensor, "*rows classes"]:
    """The logits in float32, or in their own format if that is wider; their gradient comes back in their own."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def directions(
    logits: Float[Tensor, "*rows classes"],
) -> tuple[Float[Tensor, "*rows classes"], Float[Tensor, "*rows 1"]]:
    """Each row divided by its l2 norm, and that norm without a gradient; in float32 or wider. A row of zeros stays one.

    Rows are scaled by their largest entry first: squares of float32 overflow from 1e19 on, and vanish below 1e-19.
    A row whose entries are all below 1e-12 has no direction: it stays as it is, and so does its gradient, which would
    be rounding errors over 1e-12 where a classifier starts at 0.
    """
    rows = wide(logits)
    largest = rows.detach().abs().amax(-1, keepdim=True)
    largest = torch.where(largest < SMALLEST, 1.0, largest)
    scaled = rows / largest
    length = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return scaled / length.clamp_min(1.0), largest * length.detach()
