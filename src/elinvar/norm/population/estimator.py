"""Estimators: from the moments of batches to one mean and one variance, in float64.

pooled    all values weigh the same: the law of total variance
batches   all batches weigh the same, and only the variance within them counts
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from ...check import InputError, unknown
from .measure import Seen

ESTIMATORS = ("pooled", "batches")
WAITING = 16  # batches whose moments are merged together: merging one by one costs ten small operations each


@dataclass(frozen=True)
class Sums:
    """The moments of several batches, ready to be merged with others.

    count     values of each channel
    batches   how many batches they came in
    mean      weighted mean of the batches' means
    within    weighted sum of the batches' variances
    between   weighted sum of squared deviations of the batches' means from `mean`
    """

    count: int
    batches: int
    mean: Float64[Tensor, " channels"]
    within: Float64[Tensor, " channels"]
    between: Float64[Tensor, " channels"]

    def finite(self) -> bool:
        return bool(torch.isfinite(self.mean).all() & torch.isfinite(self.within).all())

    def cpu(self) -> "Sums":
        return Sums(self.count, self.batches, self.mean.cpu(), self.within.cpu(), self.between.cpu())


@dataclass(frozen=True)
class Estimator:
    """How batches are weighed, and what the sum of squares is divided by.

        pooled:   mean = sum n_i mean_i / n,   var = sum n_i (var_i + (mean_i - mean)^2) / (n - correction)
        batches:  mean = sum mean_i / k,       var = sum n_i var_i / (n_i - correction) / k

    for k batches of n_i values each, with biased variances var_i.
    """

    kind: str = "pooled"
    correction: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ESTIMATORS:
            raise unknown("estimator", self.kind, ESTIMATORS)
        if self.correction not in (0, 1):
            raise InputError(f"correction: got {self.correction}, expected 0 (divide by n) or 1 (divide by n - 1)")

    def weight(self, sums: Sums) -> int:
        return sums.count if self.kind == "pooled" else sums.batches

    def of(self, seen: Seen) -> Sums:
        """One batch."""
        within = seen.squares
        if self.kind == "batches":
            within = within / self._divisor(seen.count)
        return Sums(seen.count, 1, seen.mean, within, torch.zeros_like(within))

    def merge(self, parts: Sequence[Sums]) -> Sums:
        """All of `parts` together, stably: deviations are taken from the common mean."""
        if len(parts) == 1:
            return parts[0]
        weights = torch.tensor([self.weight(part) for part in parts], dtype=torch.float64, device=parts[0].mean.device)
        weights = weights[:, None]
        means = torch.stack([part.mean for part in parts])
        mean = (weights * means).sum(0) / weights.sum()
        spread = (weights * (means - mean).square()).sum(0)
        return Sums(
            sum(part.count for part in parts),
            sum(part.batches for part in parts),
            mean,
            torch.stack([part.within for part in parts]).sum(0),
            torch.stack([part.between for part in parts]).sum(0) + spread,
        )

    def variance(self, sums: Sums) -> Float64[Tensor, " channels"]:
        if self.kind == "batches":
            return sums.within / sums.batches
        return (sums.within + sums.between) / self._divisor(sums.count)

    def standard_error(self, sums: Sums) -> Float64[Tensor, " channels"]:
        """Standard error of the mean, taking the batches as independent draws; NaN for a single batch."""
        if sums.batches < 2:
            return torch.full_like(sums.mean, torch.nan)
        return (sums.between / self.weight(sums) / (sums.batches - 1)).sqrt()

    def _divisor(self, count: int) -> int:
        if count <= self.correction:
            raise InputError(
                f"correction=1 needs at least 2 values of each channel, got {count}; use correction=0 or larger batches"
            )
        return count - self.correction


class Tally:
    """The moments of one layer, batch after batch; raises `InputError` for NaN or infinite ones."""

    def __init__(self, estimator: Estimator, name: str) -> None:
        self.estimator, self.name = estimator, name
        self._waiting: list[Sums] = []

    def add(self, seen: Seen) -> None:
        self._waiting.append(self.estimator.of(seen))
        if len(self._waiting) > WAITING:
            self._waiting = [self.total()]

    def total(self) -> Sums:
        """All batches so far."""
        merged = self.estimator.merge(self._waiting)
        if not merged.finite():
            past = 0
            for part in self._waiting:
                if not part.finite():
                    break
                past += part.batches
            raise InputError(
                f"layer {self.name!r} is the first whose input holds NaN or infinite values, in batch {past}; "
                "nothing was written: check the images and the weights"
            )
        return merged
