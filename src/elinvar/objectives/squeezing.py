"""Logit squeezing: logits should be small."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..views import Logits, Views
from .loss import Loss
from .total import Objective, check_names, check_weight
from .wide import wide


def logit_squeezing(logits: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    """Squared l2 norm of each example's logits, ||z||^2. In float32 or wider; finite for logits up to 1e18.

    Source   Kannan et al. 2018, "clean logit squeezing"; Summers, thesis, sections 3.2 and 3.4.1.

    >>> logit_squeezing(torch.tensor([[3.0, -4.0]]))
    tensor([25.])
    """
    return wide(logits).square().sum(-1)


@dataclass(frozen=True, kw_only=True)
class LogitSqueezing(Objective):
    """`weight` times the sum over the views named in `over` of their mean `logit_squeezing`.

    A sum, since the thesis' beta is the factor of ||z||^2 + ||z'||^2 (equation 3.11).
    """

    over: tuple[str, ...] = ("clean",)
    weight: float = 1e-3

    def __post_init__(self) -> None:
        check_names("over", self.over, at_least=1)
        check_weight(self.weight)

    def __call__(self, logits: Logits, views: Views) -> Loss:
        norms = [logit_squeezing(logits[name]).mean() for name in self.over]
        return Loss.of(f"squeezing({', '.join(self.over)})", torch.stack(norms).sum(), self.weight)
