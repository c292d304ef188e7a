"""Who is mixed with whom inside a batch."""

from typing import Literal, get_args

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ..check import InputError, unknown

Pairing = Literal["permutation", "derangement", "disjoint"]


def check_pairing(pairing: str) -> None:
    """Raise `InputError` for what is no `Pairing`."""
    if pairing not in get_args(Pairing):
        raise unknown("pairing", pairing, get_args(Pairing))


def partners(pairing: Pairing, u: Float64[Tensor, "n 2"]) -> Int64[Tensor, " m"]:
    """For each mixed example, the row of its second image; the first is row 0, 1, ...

    permutation   every row once, uniform over all orders: about one row of a batch is its own partner
    derangement   every row once, uniform over all cycles through the whole batch: none is its own partner
    disjoint      the first half with the second half: half as many come out

    u   two uniform draws of each row. Pairs follow the draws: the order of the rows does not matter.

    Raises `InputError` if the batch cannot be paired so.
    """
    count = len(u)
    if pairing == "disjoint":
        if count % 2:
            raise InputError(f"pairing: got {count} images, but disjoint pairs need an even number; drop the last one")
        return torch.arange(count // 2, count, device=u.device)
    order = u[:, 0].argsort(stable=True)
    if pairing == "permutation":
        return torch.empty_like(order).scatter(0, order, u[:, 1].argsort(stable=True))
    if count == 1:
        raise InputError("pairing: a derangement needs at least 2 images, got 1; use 'permutation', or drop_last")
    return torch.empty_like(order).scatter(0, order, order.roll(-1))
