"""Means, standard deviations and one difference, none of them without its n."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..check import InputError

LEVEL = 0.95


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (ddof 1) of `n` runs; one run has no standard deviation."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Summary":
        """Summarize at least one value.

        >>> Summary.of([1.0, 2.0, 3.0])
        Summary(mean=2.0, sd=1.0, n=3)
        """
        if not values:
            raise InputError("values: got none, expected at least one")
        with np.errstate(invalid="ignore"):  # a diverged run may have an infinite loss
            mean = float(np.mean(values))
            sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(mean, sd, len(values))

    def text(self, decimals: int) -> str:
        """Mean ± standard deviation, without n.

        >>> Summary(26.91, 0.304, 3).text(2), Summary(26.91, None, 1).text(1)
        ('26.91 ± 0.30', '26.9')
        """
        mean = f"{self.mean:.{decimals}f}"
        return mean if self.sd is None else f"{mean} ± {self.sd:.{decimals}f}"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Mean of `first` minus mean of `second`, with the 95% confidence interval of Welch.

        m1 - m2 +- t(v) sqrt(s1^2 / n1 + s2^2 / n2),   v after Welch and Satterthwaite

    Runs are never paired by seed. Training is unstable enough that equal seeds do not make two recipes move together,
    and a paired interval would then only spend degrees of freedom.

    The interval speaks about more runs of the same two recipes on the same test images, not about other test images.
    `low` and `high` are None if the runs show no spread at all, from which nothing can be estimated.

    Source   Welch, "The generalization of Student's problem when several different population variances are involved",
             Biometrika 1947; on seeds, Summers, thesis, chapter 5.
    """

    mean: float
    low: float | None
    high: float | None
    n: tuple[int, int]

    @property
    def real(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def count(self) -> str:
        """How many runs it rests on."""
        if self.n[0] == self.n[1]:
            return f"n={self.n[0]} runs each"
        return f"n={self.n[0]} and n={self.n[1]} runs"

    def interval(self, first: str, second: str) -> str:
        """The difference and its interval in one line."""
        name = f"{first} minus {second}"
        if self.low is None or self.high is None:
            return f"{name}: {_number(self.mean, 2)} points, {self.count}; no spread between runs, so no interval"
        decimals = _decimals(self.low, self.high)
        low, high = _number(self.low, decimals), _number(self.high, decimals)
        return f"{name}: {_number(self.mean, decimals)} points, 95% interval {low} to {high}, {self.count}"

    def words(self, first: str, second: str) -> str:
        """As `interval`, and what follows from it where it holds zero.

        >>> Difference(mean=8.11, low=5.18, high=11.04, n=(3, 3)).words("standard", "augmix")
        'standard minus augmix: 8.1 points, 95% interval 5.2 to 11.0, n=3 runs each'
        """
        if self.real or self.low is None:
            return self.interval(first, second)
        n = self.n[0] if self.n[0] == self.n[1] else f"{self.n[0]} and n={self.n[1]}"
        return f"{self.interval(first, second)}: cannot tell apart with n={n}"


def difference(first: Sequence[float], second: Sequence[float]) -> Difference | None:
    """First minus second, from the values of their runs; None for fewer than two on a side, or any not finite.

    >>> difference([3.0, 5.0], [2.0, 1.0]).mean
    2.5
    """
    a, b = np.array(first), np.array(second)
    if min(len(a), len(b)) < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    parts = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    error = math.sqrt(sum(parts))
    mean = float(a.mean() - b.mean())
    if error <= 1e-12:
        return Difference(mean=mean, low=None, high=None, n=(len(a), len(b)))
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
    half = _t(freedom) * error
    return Difference(mean=mean, low=mean - half, high=mean + half, n=(len(a), len(b)))


def _t(freedom: float) -> float:
    from scipy.special import stdtrit  # imported here: a table without a difference needs no scipy

    return float(stdtrit(freedom, 0.5 + LEVEL / 2))


def _decimals(low: float, high: float) -> int:
    """As few as show two digits of the interval's half width, and do not round an end to zero."""
    for decimals in (1, 2, 3):
        if (high - low) / 2 >= 0.95 * 10.0 ** (1 - decimals) and all(round(end, decimals) for end in (low, high)):
            return decimals
    return 4


def _number(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}".replace("-", "\N{MINUS SIGN}")
