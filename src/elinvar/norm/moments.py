"""Moments: what a forward saw of each channel. The only file that pools variances and applies Bessel's factor."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ..check import InputError

Table = Float[Tensor, "groups channels"]


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


def of_groups(mean: Table, variance: Table, counts: Sequence[int]) -> Moments:
    """The moments of all groups together, from the mean and the biased variance of each and how many values it has."""
    count = sum(counts)
    share = mean.new_tensor([part / count for part in counts]).unsqueeze(1)
    center = (mean * share).sum(0)
    spread = ((variance + (mean - center).square()) * share).sum(0)
    return Moments(count, center, spread * (count / max(count - 1, 1)))


def over_channels(mean: Table, variance: Table, width: int) -> tuple[Table, Table]:
    """Moments of each run of `width` neighbouring channels, written to each of them."""
    by_run = mean.reshape(len(mean), mean.shape[1] // width, width)
    center = by_run.mean(2, keepdim=True)
    spread = (variance.reshape(by_run.shape) + (by_run - center).square()).mean(2, keepdim=True)
    return center.expand_as(by_run).reshape(mean.shape), spread.expand_as(by_run).reshape(mean.shape)


def mixed(own: tuple[Table, Table], memory: tuple[Table, Table], alpha: float) -> tuple[Table, Table]:
    """Moments of a mixture that takes a value from `own` with probability alpha, else from `memory`.

        mean = a m + (1 - a) M,   var = a v + (1 - a) V + a (1 - a) (m - M)^2

    The same as mixing means of x and of x^2, and never negative.
    """
    rest = 1.0 - alpha
    between = (alpha * rest) * (own[0] - memory[0]).square()
    return alpha * own[0] + rest * memory[0], alpha * own[1] + rest * memory[1] + between
