"""Temperature scaling: one number, fitted on held-out logits, that makes confidence honest and changes no decision.

    p = softmax(z / T),    T = argmin over T > 0 of the negative log-likelihood

The likelihood is convex in b = 1 / T: its derivative is the mean of E_p[z] - z_y, and its curvature that of Var_p[z].

Source   Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from ..check import InputError
from ..outputs import warn_of_probabilities
from .confidence import check_scores

ROWS = 1 << 14
STEPS = 200
PRECISION = 1e-12  # of 1 / T, relative


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature. Above 1 the classifier was overconfident.

    >>> Temperature(2.0)(torch.tensor([[2.0, 4.0]]))
    tensor([[1., 2.]])
    """

    value: float

    def __post_init__(self) -> None:
        if not (0 < self.value < math.inf):
            raise InputError(f"temperature: got {self.value}, expected a positive number")

    def __call__(self, logits: Float[Tensor, "*n classes"]) -> Float[Tensor, "*n classes"]:
        """The scaled logits. Warns of probabilities."""
        warn_of_probabilities(logits)
        return logits / self.value

    def probabilities(self, logits: Float[Tensor, "*n classes"]) -> Float[Tensor, "*n classes"]:
        """softmax(logits / T), in float32 or better. Warns of probabilities."""
        warn_of_probabilities(logits)
        return (logits.to(torch.promote_types(logits.dtype, torch.float32)) / self.value).softmax(-1)


def fit_temperature(logits: Float[Tensor, "n classes"], targets: Integer[Tensor, " n"]) -> Temperature:
    """The temperature that minimizes the negative log-likelihood of held-out examples: never of the test set.

    Newton's method in float64, kept inside of a shrinking bracket.

    Raises `InputError` where there is no minimum: when every prediction is right (T would fall to 0), and when the
    logits know no more about the targets than chance (T would grow without bound). Warns of probabilities.

    >>> z = torch.tensor([[4.0, 0.0]] * 4)
    >>> round(fit_temperature(z, torch.tensor([0, 0, 0, 1])).value, 6)  # 3 of 4 are right: 4 / T = log 3
    3.640957
    """
    check_scores("logits", logits, targets)
    z, y = logits.detach(), targets.long()
    if not z.isfinite().all():
        bad = int((~z.isfinite()).any(1).sum())
        raise InputError(f"logits: got {bad} of {len(z)} rows with NaN or infinite values, expected finite logits")
    warn_of_probabilities(z)
    if not (z.gather(1, y.unsqueeze(1)).squeeze(1) < z.amax(1)).any():
        raise InputError("every prediction is right, so the likelihood has no best temperature; use more held-out data")
    if _derivatives(z, y, 0.0)[0] >= 0:
        raise InputError("the logits tell no more about the targets than chance: no temperature helps; check both")
    low, high = 0.0, 1.0
    while _derivatives(z, y, high)[0] < 0:
        low, high = high, 2 * high
    inverse = (low + high) / 2
    for _ in range(STEPS):
        slope, curvature = _derivatives(z, y, inverse)
        if slope < 0:
            low = inverse
        else:
            high = inverse
        step = inverse - slope / curvature if curvature > 0 else low
        following = step if low < step < high else (low + high) / 2
        done = abs(following - inverse) <= PRECISION * inverse
        inverse = following
        if done:
            break
    return Temperature(1 / inverse)


def _derivatives(logits: Tensor, targets: Tensor, inverse: float) -> tuple[float, float]:
    """First and second derivative of the mean negative log-likelihood by 1 / T."""
    slope = curvature = 0.0
    for rows, y in zip(torch.split(logits, ROWS), torch.split(targets, ROWS), strict=True):
        z = rows.double()
        z = z - z.amax(1, keepdim=True)
        p = (z * inverse).softmax(1)
        mean = torch.linalg.vecdot(p, z)
        slope += float((mean - z.gather(1, y.unsqueeze(1)).squeeze(1)).sum())
        curvature += float((torch.linalg.vecdot(p * z, z) - mean.square()).sum())
    return slope / len(logits), curvature / len(logits)
