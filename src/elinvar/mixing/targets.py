"""Targets in, mixed soft targets out."""

import torch
from jaxtyping import Float32, Shaped
from torch import Tensor

from ..check import InputError
from .watch import values_can_be_seen

SUM_TOLERANCE = 1e-2  # rows of bfloat16 targets may be that far from 1


def check_targets(targets: object, classes: int | None, count: int, *, name: str = "targets") -> None:
    """Raise `InputError` unless these are `count` class numbers below `classes`, or rows that sum to 1.

    Values are looked at only where that waits for no device and breaks no graph.
    """
    if not isinstance(targets, Tensor):
        raise InputError(f"{name}: got {type(targets).__name__}, expected a torch.Tensor of {count} targets")
    if len(targets.shape) not in (1, 2) or len(targets) != count:
        raise InputError(
            f"{name}: got shape {tuple(targets.shape)} for {count} images, expected ({count},) class numbers "
            f"or ({count}, classes) soft targets"
        )
    if targets.ndim == 1:
        if targets.dtype != torch.int64:
            raise InputError(f"{name}: got dtype {targets.dtype}, expected int64 class numbers; use targets.long()")
        if classes is None:
            raise InputError(f"{name}: class numbers need classes=, the number of classes, to become soft targets")
        if classes < 1:
            raise InputError(f"classes: got {classes}, expected at least 1")
        if count and values_can_be_seen(targets):
            low, high = (int(value) for value in torch.aminmax(targets))
            if low < 0 or high >= classes:
                raise InputError(f"{name}: class numbers span [{low}, {high}], expected 0 to {classes - 1}")
        return
    if not targets.is_floating_point():
        raise InputError(
            f"{name}: got dtype {targets.dtype}, expected floating point soft targets; use targets.float()"
        )
    if classes is not None and targets.shape[1] != classes:
        raise InputError(f"{name}: got soft targets of {targets.shape[1]} classes, expected {classes}")
    if count and values_can_be_seen(targets):
        soft = targets.detach().float()
        off = float((soft.sum(1) - 1).abs().max())
        if not (off <= SUM_TOLERANCE and float(soft.min()) >= 0):  # also true for NaN
            raise InputError(
                f"{name}: rows of soft targets must be at least 0 and sum to 1; one is {off:.4g} off, or below 0"
            )


def mix_targets(
    first: Shaped[Tensor, "n *classes"],
    second: Shaped[Tensor, "n *others"],
    weight: Float32[Tensor, " n"],
    classes: int | None,
) -> Float32[Tensor, "n classes"]:
    """weight first + (1 - weight) second, class numbers as one-hot rows; rows keep their sum of 1."""
    one, other = weight[:, None], 1 - weight[:, None]
    if first.ndim == 1 and second.ndim == 1:
        mixed = torch.zeros(len(first), classes or 0, device=first.device).scatter_(1, first[:, None], one)
        # Not scatter_add_: some devices add in any order.
        return mixed.scatter_(1, second[:, None], mixed.gather(1, second[:, None]) + other)
    return one * soft(first, classes) + other * soft(second, classes)


def soft(targets: Shaped[Tensor, "n *classes"], classes: int | None) -> Float32[Tensor, "n classes"]:
    """Soft targets as they are, class numbers as one-hot rows."""
    if targets.ndim == 2:
        return targets.float()
    return (torch.arange(classes or 0, device=targets.device) == targets[:, None]).float()
