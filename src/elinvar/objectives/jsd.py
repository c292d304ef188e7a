"""Jensen-Shannon consistency: all views of an example should get the same prediction.

    JS(p_1, ..., p_V) = 1/V sum_v KL(p_v || m) = H(m) - 1/V sum_v H(p_v),      m = 1/V sum_v p_v

Source   Hendrycks et al., "AugMix", ICLR 2020, section 3; google-research/augmix, `cifar.py`.
Differs  the reference clamps m at 1e-7 and takes its logarithm; here log(p_v / m) is computed from log p_v directly,
         so that nothing underflows and nothing is clamped. The clamp takes away at most 1e-7 / e for each class,
         and only where m is below 1e-7.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..check import InputError
from ..outputs import warn_on_cpu
from ..views import Logits, Views
from .loss import Loss
from .total import Objective, check_names, check_same_examples, check_weight
from .wide import wide


def jensen_shannon(logits: Float[Tensor, "views n classes"]) -> Float[Tensor, " n"]:
    """Divergence of each example's views, in nats: 0 if they agree, at most log(views). Symmetric in the views.

    The gradient flows into every view, and through m. Computed in float32 or the dtype of the logits, whichever is
    wider; value and gradient are finite for logits up to 1e38, also where probabilities underflow. Warns, on a CPU, of
    probabilities in the place of logits.

    >>> apart = 1e4 * torch.eye(3).unsqueeze(1)
    >>> jensen_shannon(apart).exp().round(decimals=4), jensen_shannon(torch.ones_like(apart))
    (tensor([3.]), tensor([0.]))
    """
    views = len(logits)
    if not views:
        raise InputError("the Jensen-Shannon divergence needs at least one view, got none")
    warn_on_cpu(logits)
    log_p = wide(logits).log_softmax(-1)
    # log(p_v / m) by way of the view with the largest probability. That probability cancels: it needs no gradient.
    below = log_p - log_p.detach().amax(0)
    log_ratio = below - torch.log1p(torch.expm1(below).mean(0))
    divergence = (log_p.exp() * log_ratio).sum(-1).mean(0)
    # Rounding may leave the interval by an ulp. The value is put back, its gradient stays that of the formula.
    inside = divergence.detach().clamp(0.0, math.log(views))
    return divergence + (inside - divergence.detach())


@dataclass(frozen=True, kw_only=True)
class Consistency(Objective):
    """`weight` times the batch mean of `jensen_shannon` over the views named in `over`.

    The default is AugMix's: clean images and two augmented copies, weight 12 (reference code; the paper gives none).
    """

    over: tuple[str, ...] = ("clean", "aug1", "aug2")
    weight: float = 12.0

    def __post_init__(self) -> None:
        check_names("over", self.over, at_least=2)
        check_weight(self.weight)

    def __call__(self, logits: Logits, views: Views) -> Loss:
        check_same_examples(views, self.over)
        value = jensen_shannon(logits.stack(self.over)).mean()
        return Loss.of(f"consistency({', '.join(self.over)})", value, self.weight)
