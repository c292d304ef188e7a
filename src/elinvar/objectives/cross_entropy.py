"""Cross-entropy against class numbers or soft targets."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from ..check import InputError
from ..views import Logits, Views
from .total import Loss, Objective, check_names, check_weight


def cross_entropy(
    logits: Float[Tensor, "n classes"], targets: Int64[Tensor, " n"] | Float[Tensor, "n classes"]
) -> Float[Tensor, " n"]:
    """Cross-entropy of each example, in nats.

        -sum_c t_c log softmax(z)_c      (t one-hot for a class number)

    Computed in float32 or the dtype of the logits, whichever is wider; finite for logits up to 1e38. Soft targets are
    taken as they are: rows that do not sum to 1 scale the loss.

    Raises `InputError` when the shapes do not fit, and, on a CPU, for class numbers outside of 0 to classes - 1. (On
    a GPU the check would wait for the device at every step; torch stops the program there.)

    >>> cross_entropy(torch.zeros(1, 4), torch.tensor([2])).exp()
    tensor([4.])
    """
    n, classes = logits.shape
    if targets.shape not in ((n,), (n, classes)):
        raise InputError(f"targets: got shape {tuple(targets.shape)}, expected ({n},) or ({n}, {classes})")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if targets.ndim == 2:
        return F.cross_entropy(logits, targets.to(logits.dtype), reduction="none")
    if n and targets.device.type == "cpu":
        low, high = (int(value) for value in torch.aminmax(targets))
        if low < 0 or high >= classes:
            raise InputError(f"targets: got class numbers {low} to {high}, expected 0 to {classes - 1}")
    return F.cross_entropy(logits, targets, reduction="none")


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Objective):
    """`weight` times the mean over the views named in `over` of their mean cross-entropy.

    Two views of one batch give (L_1 + L_2) / 2 (Merchant et al. 2020, Algorithm 1); a view of fewer examples counts as
    much as the others.
    """

    over: tuple[str, ...] = ("clean",)
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_names("over", self.over, at_least=1)
        check_weight(self.weight)

    def __call__(self, logits: Logits, views: Views) -> Loss:
        losses = [cross_entropy(logits[name], views[name].targets).mean() for name in self.over]
        return Loss.of(f"cross_entropy({', '.join(self.over)})", torch.stack(losses).mean(), self.weight)
