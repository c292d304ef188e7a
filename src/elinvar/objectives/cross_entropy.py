"""Cross-entropy against class numbers or soft targets, with or without label smoothing."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from ..check import InputError, unknown
from ..outputs import warn_on_cpu
from ..views import Logits, Views
from .loss import Loss
from .smoothing import CONVENTIONS, check_class_numbers, smooth_targets
from .total import Objective, check_names, check_weight
from .wide import wide


def cross_entropy(
    logits: Float[Tensor, "n classes"], targets: Int64[Tensor, " n"] | Float[Tensor, "n classes"]
) -> Float[Tensor, " n"]:
    """Cross-entropy of each example, in nats.

        -sum_c t_c log softmax(z)_c      (t one-hot for a class number)

    Computed in float32 or the dtype of the logits, whichever is wider; finite for logits up to 1e38. Soft targets are
    taken as they are: rows that do not sum to 1 scale the loss.

    Raises `InputError` when the shapes do not fit, and, on a CPU, for class numbers outside of 0 to classes - 1. (On
    a GPU the check would wait for the device at every step; torch stops the program there.) Warns, on a CPU, of
    probabilities in the place of logits.

    >>> cross_entropy(torch.zeros(1, 4), torch.tensor([2])).exp()
    tensor([4.])
    """
    n, classes = logits.shape
    if targets.shape not in ((n,), (n, classes)):
        raise InputError(f"targets: got shape {tuple(targets.shape)}, expected ({n},) or ({n}, {classes})")
    warn_on_cpu(logits)
    logits = wide(logits)
    if targets.ndim == 2:
        return F.cross_entropy(logits, targets.to(logits.dtype), reduction="none")
    check_class_numbers(targets, classes)
    return F.cross_entropy(logits, targets, reduction="none")


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Objective):
    """`weight` times the mean over the views named in `over` of their mean cross-entropy.

    Two views of one batch give (L_1 + L_2) / 2 (Merchant et al. 2020, Algorithm 1); a view of fewer examples counts as
    much as the others. `weight=len(over)` makes it the sum (Li et al. 2023, equation 5).

    smoothing    s of `smooth_targets`, applied to the targets of each view, which may be soft already
    convention   of the smoothing: "others" or "uniform"
    """

    over: tuple[str, ...] = ("clean",)
    weight: float = 1.0
    smoothing: float = 0.0
    convention: str = "others"

    def __post_init__(self) -> None:
        check_names("over", self.over, at_least=1)
        check_weight(self.weight)
        if self.convention not in CONVENTIONS:
            raise unknown("convention of label smoothing", self.convention, CONVENTIONS)
        if not 0.0 <= self.smoothing <= 1.0:
            raise InputError(f"smoothing: got {self.smoothing}, expected 0 to 1")

    def __call__(self, logits: Logits, views: Views) -> Loss:
        losses = [cross_entropy(logits[name], self._targets(logits, views, name)).mean() for name in self.over]
        return Loss.of(f"cross_entropy({', '.join(self.over)})", torch.stack(losses).mean(), self.weight)

    def _targets(self, logits: Logits, views: Views, name: str) -> Tensor:
        targets = views[name].targets
        if not self.smoothing:
            return targets
        return smooth_targets(targets, logits[name].shape[1], self.smoothing, self.convention)
