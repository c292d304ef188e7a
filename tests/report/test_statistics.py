"""Means, spreads and intervals against scipy and against numbers worked out by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from elinvar.check import InputError
from elinvar.report.statistics import Difference, Summary, difference


def test_summary_by_hand() -> None:
    found = Summary.of([4.0, 6.0, 11.0])
    assert (found.mean, found.n) == (7.0, 3)
    assert found.sd == pytest.approx(math.sqrt(13.0))  # deviations -3, -1, 4: (9 + 1 + 16) / 2
    assert Summary.of([4.0]) == Summary(4.0, None, 1)
    with pytest.raises(InputError, match="at least one"):
        Summary.of([])


def test_summary_of_a_diverged_run_is_not_an_error() -> None:
    assert math.isinf(Summary.of([1.0, math.inf]).mean)
    assert Summary.of([math.nan, 1.0]).text(2) == "nan ± nan"


@pytest.mark.parametrize(("m", "n"), [(2, 2), (3, 3), (3, 4), (10, 2)])
def test_the_interval_is_that_of_welch(m: int, n: int) -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(20, 3, m), rng.normal(15, 1, n)
    found = difference(list(a), list(b))
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert found is not None
    assert found.n == (m, n)
    assert found.mean == pytest.approx(a.mean() - b.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_no_difference_without_two_finite_runs_each() -> None:
    assert difference([1.0, 2.0], [3.0]) is None
    assert difference([1.0, 2.0], [3.0, math.nan]) is None


def test_coverage_of_the_interval() -> None:
    """Of 4,000 intervals at least 95% must hold the truth, to 4 standard errors (0.0138) for fixed keys.

    With three runs each and equal spreads Welch's interval is somewhat wide: it holds the truth in 96 to 97%.
    """
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(4000):
        a, b = rng.normal(7, 1, 3), rng.normal(5, 1, 3)
        found = difference(list(a), list(b))
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= 2.0 <= found.high
    assert 0.95 - 4 * math.sqrt(0.95 * 0.05 / 4000) <= inside / 4000 <= 0.98


def words(low: float | None, high: float | None, *, n: tuple[int, int] = (3, 3)) -> str:
    mean = 1.0 if low is None or high is None else (low + high) / 2
    return Difference(mean=mean, low=low, high=high, n=n).words("a", "b")


def test_words_are_plain_and_honest() -> None:
    assert words(5.2, 11.0) == "a minus b: 8.1 points, 95% interval 5.2 to 11.0, n=3 runs each"
    assert (
        words(-1.25, 3.0)
        == "a minus b: 0.9 points, 95% interval −1.2 to 3.0, n=3 runs each: cannot tell apart with n=3"
    )
    assert words(0.1, 0.3) == "a minus b: 0.20 points, 95% interval 0.10 to 0.30, n=3 runs each"
    assert words(1.0, 5.0, n=(3, 4)).endswith("n=3 and n=4 runs")
    assert words(-1.0, 5.0, n=(3, 4)).endswith("cannot tell apart with n=3 and n=4")
    assert words(None, None).endswith("no spread between runs, so no interval")


def test_an_end_that_is_not_zero_is_not_written_as_zero() -> None:
    assert "95% interval 0.02 to 4.00" in words(0.02, 4.0)


def test_runs_without_spread_claim_nothing() -> None:
    found = difference([3.0, 3.0], [2.0, 2.0])
    assert found is not None
    assert found.low is None
    assert not found.real
