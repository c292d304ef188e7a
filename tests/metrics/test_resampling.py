"""Bootstrap intervals: coverage, closed forms of their width, strata, keys, mistakes."""

import math
from inspect import unwrap

import pytest
import torch
from torch import Tensor

from elinvar import metrics
from elinvar.check import InputError
from elinvar.metrics import bootstrap, bootstrap_mean
from elinvar.rng import streams, uniform


def normal(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_width_is_that_of_the_normal_theory() -> None:
    values = normal(2000)
    found = bootstrap_mean(values, resamples=8000, key=1)
    # quantiles at 2.5 % of 8,000 draws have a relative spread of about 2 % of the standard error: five of them, twice
    error = float(values.std()) / math.sqrt(2000)
    assert found.value == pytest.approx(float(values.mean()), rel=1e-12)
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.2 * error)
    assert (found.level, found.resamples) == (0.95, 8000)


def test_it_covers_the_truth_as_often_as_it_says() -> None:
    # 400 data sets of 100: coverage of 90 % intervals is about 89 %, standard error 1.6 %; five of them
    u = uniform(streams(5, torch.arange(400)), 100)
    hits = 0
    for key, row in enumerate(u):
        found = bootstrap_mean(row, level=0.9, resamples=300, key=key)
        hits += found.low <= 0.5 <= found.high
    assert abs(hits / 400 - 0.89) < 0.08


def test_resampled_means_are_those_of_drawn_rows() -> None:
    values = normal(50)
    slow = bootstrap(lambda rows: float(rows.mean()), values, resamples=200, key=3)
    fast = bootstrap_mean(values, resamples=200, key=3)
    assert (slow.low, slow.high, slow.value) == pytest.approx((fast.low, fast.high, fast.value), rel=1e-12)


def test_columns_of_one_example_are_drawn_together() -> None:
    common = normal(500)
    table = torch.stack([common, -common], 1)
    found = bootstrap_mean(table, statistic=lambda means: means.sum(1), key=1)
    assert abs(found.high - found.low) < 1e-12  # they cancel in every resample
    shifted = common.view(-1, 1, 1).expand(-1, 3, 5)
    alone = bootstrap_mean(common, key=1)
    assert bootstrap_mean(shifted, statistic=lambda means: means.mean((1, 2)), key=1).low == pytest.approx(alone.low)


def test_strata_keep_their_numbers() -> None:
    strata = torch.arange(300) % 3
    exact = bootstrap_mean(strata.double(), strata=strata, key=1)
    assert exact.low == pytest.approx(1, abs=1e-12)
    assert exact.high == pytest.approx(1, abs=1e-12)
    free = bootstrap_mean(strata.double(), key=1)
    assert free.high - free.low == pytest.approx(2 * 1.96 * math.sqrt(2 / 3 / 300), rel=0.15)
    # within strata everything is drawn: the width is that of the spread within
    values = strata * 10 + normal(300)
    within = bootstrap_mean(values, strata=strata, resamples=4000, key=1)
    assert within.high - within.low == pytest.approx(2 * 1.96 / math.sqrt(300), rel=0.2)


def test_strata_of_any_size_and_order() -> None:
    strata = torch.tensor([7, -1, 7, 3, 7, -1])
    values = torch.tensor([1.0, 100, 2, 10_000, 3, 200])
    found = bootstrap(
        lambda rows: float(((rows < 10).sum() == 3) & ((rows == 10_000).sum() == 1)), values, strata=strata, key=1
    )
    assert (found.low, found.high) == (1, 1)


def test_the_same_key_gives_the_same_interval() -> None:
    values = normal(100)
    assert bootstrap_mean(values, key=4) == bootstrap_mean(values, key=4)
    assert bootstrap_mean(values, key=4) != bootstrap_mean(values, key=5)
    torch.manual_seed(0)
    first = bootstrap_mean(values)
    torch.manual_seed(0)
    assert bootstrap_mean(values) == first != bootstrap_mean(values)


def test_it_does_not_matter_how_many_are_drawn_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    values = normal(100)
    whole = bootstrap_mean(values, resamples=50, key=1)
    monkeypatch.setattr("elinvar.metrics.resampling.DRAWS", 700)
    pieces = bootstrap_mean(values, resamples=50, key=1)
    assert (pieces.low, pieces.high) == pytest.approx((whole.low, whole.high), rel=1e-12)


def test_errors_and_calibration_errors() -> None:
    draws = torch.Generator().manual_seed(0)
    probabilities = torch.randn(1000, 5, generator=draws).softmax(1)
    targets = torch.randint(0, 5, (1000,), generator=draws)
    found = bootstrap_mean(metrics.mistakes(probabilities, targets), strata=targets, key=1)
    assert found.low < metrics.error_rate(probabilities, targets) == found.value < found.high
    found = bootstrap(metrics.expected_calibration_error, probabilities, targets, resamples=50, key=1)
    assert found.value == metrics.expected_calibration_error(probabilities, targets)
    assert 0 < found.low < found.high < 1
    assert str(found).endswith("(95 % bootstrap)")


def test_one_example_is_certain_of_itself() -> None:
    found = bootstrap_mean(torch.tensor([0.25]), key=1)
    assert (found.low, found.value, found.high) == (0.25, 0.25, 0.25)


def test_mistakes_are_answered() -> None:
    values = normal(10)
    for bad in (torch.zeros(0), torch.tensor([1.0, float("nan")])):
        with pytest.raises(InputError, match="at least one example, finite values"):
            bootstrap_mean(bad)
    with pytest.raises(InputError, match="say by `statistic`"):
        bootstrap_mean(values.view(5, 2))
    for settings in ({"level": 0.0}, {"level": 1.0}, {"resamples": 0}):
        with pytest.raises(InputError, match="expected a level between 0 and 1"):
            bootstrap_mean(values, **settings)
    with pytest.raises(InputError, match="strata: got shape"):
        unwrap(bootstrap)(metrics.overconfidence, values, strata=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(InputError, match="tensors of n >= 1"):
        bootstrap(metrics.overconfidence)
    with pytest.raises(InputError, match="tensors of n >= 1"):
        unwrap(bootstrap)(metrics.overconfidence, values, values[:3])
