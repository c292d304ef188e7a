"""Moments: what a forward saw of each channel. The only file that pools variances and applies Bessel's factor."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ..check import InputError


@dataclass(frozen=True)
class Moments:
    """Mean and unbiased variance (divided by count - 1) of `count` values of each channel."""

    count: int
    mean: Float[Tensor, " channels"]
    variance: Float[Tensor, " channels"]

    def biased(self) -> Float[Tensor, " channels"]:
        """The variance divided by count, with which a training forward normalizes."""
        return self.variance * ((self.count - 1) / self.count)


def pool(parts: Sequence[Moments]) -> Moments:
    """The moments of all values of `parts` together, by the law of total variance.

        n = sum n_k,   mean = sum n_k mean_k / n
        (n - 1) var = sum (n_k - 1) var_k + sum n_k (mean_k - mean)^2

    One part is handed through untouched, so that the common case stays exact.
    """
    if not parts:
        raise InputError("there are no moments to pool")
    if len(parts) == 1:
        return parts[0]
    count = sum(part.count for part in parts)
    mean = sum((part.mean * (part.count / count) for part in parts[1:]), parts[0].mean * (parts[0].count / count))
    squares = [part.variance * (part.count - 1) + (part.mean - mean).square() * part.count for part in parts]
    return Moments(count, mean, sum(squares[1:], squares[0]) / (count - 1))
