"""The negative log-likelihood."""

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from .confidence import check_scores

ROWS = 1 << 16  # pieces that stay in the cache when they become float64


def negative_log_likelihood(logits: Float[Tensor, "n classes"], targets: Integer[Tensor, " n"]) -> float:
    """Mean of -log softmax(z)_y in nats, 0 or above, from logits in float64: finite whenever the logits are.

    >>> round(negative_log_likelihood(torch.tensor([[1e4, 0.0]]), torch.tensor([1])), 6)
    10000.0
    """
    check_scores("logits", logits, targets)
    total = 0.0
    for rows, y in zip(torch.split(logits.detach(), ROWS), torch.split(targets, ROWS), strict=True):
        z = rows.double()
        total += float((torch.logsumexp(z, 1) - z.gather(1, y.long().unsqueeze(1)).squeeze(1)).sum())
    return total / len(logits)
