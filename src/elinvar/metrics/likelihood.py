"""The negative log-likelihood."""

import torch
from jaxtyping import Float, Float64, Integer
from torch import Tensor

from ..check import InputError
from ..outputs import warn_of_probabilities
from .accumulator import Average
from .confidence import check_scores

ROWS = 1 << 16  # pieces that stay in the cache when they become float64


def negative_log_likelihoods(
    logits: Float[Tensor, "n classes"], targets: Integer[Tensor, " n"]
) -> Float64[Tensor, " n"]:
    """-log softmax(z)_y of each example in nats, in float64.

    Raises `InputError` for NaN; warns of probabilities. Log-probabilities are logits.
    """
    check_scores("logits", logits, targets)
    warn_of_probabilities(logits)
    found = []
    for rows, y in zip(torch.split(logits.detach(), ROWS), torch.split(targets, ROWS), strict=True):
        z = rows.double()
        found.append(torch.logsumexp(z, 1) - z.gather(1, y.long().unsqueeze(1)).squeeze(1))
    values = torch.cat(found)
    if values.isnan().any():
        raise InputError(
            f"logits: got {int(values.isnan().sum())} rows with NaN or infinite values, of {len(values)}; expected "
            "numbers"
        )
    return values


def negative_log_likelihood(logits: Float[Tensor, "n classes"], targets: Integer[Tensor, " n"]) -> float:
    """Mean of -log softmax(z)_y in nats, 0 or above, from logits in float64: finite whenever the logits are.

    >>> round(negative_log_likelihood(torch.tensor([[1e4, 0.0]]), torch.tensor([1])), 6)
    10000.0
    """
    return float(negative_log_likelihoods(logits, targets).mean())


class NegativeLogLikelihood(Average):
    """`negative_log_likelihood` of all pieces together."""

    def update(self, logits: Float[Tensor, "n classes"], targets: Integer[Tensor, " n"]) -> None:
        self.take(negative_log_likelihoods(logits, targets))
