"""A model that returns probabilities, as one that returns logits."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from ..check import InputError
from ..outputs import SUMS, SUMS_OF_HALF, logits_of


class LogProbabilities(nn.Module):
    """Takes the logarithm of what `model` returns: logits whose softmax is its probabilities.

        z = log p      (float32 or wider; p below the smallest normal number, 1e-38 in float32, counts as that number)

    model   returns rows (N, K) of at least 0 that sum to 1

    Raises `InputError` for rows that are no distributions. Rows with NaN stay NaN.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Shaped[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        given = logits_of(self.model(images), len(images))
        wide = given.to(torch.promote_types(given.dtype, torch.float32))
        tolerance = SUMS if given.dtype.itemsize >= 4 else SUMS_OF_HALF
        sums, low = wide.sum(1), wide.amin(1)
        bad = ~((low >= 0) & ((sums - 1).abs() <= tolerance)) & ~sums.isnan()
        if bad.any():
            raise InputError(
                f"the model returned rows that sum to {float(sums[bad][0]):.4g} with a smallest entry of "
                f"{float(low[bad][0]):.4g}, expected probabilities; for logits leave LogProbabilities and "
                "--outputs probabilities out"
            )
        return wide.clamp_min(torch.finfo(wide.dtype).tiny).log()
