"""Calibration errors: hand values, independent loops, the estimator's floor, laws, edge cases, mistakes."""

import math
from inspect import unwrap

import pytest
import torch
from torch import Tensor

from elinvar import metrics
from elinvar.check import InputError
from elinvar.metrics import EqualMass, EqualSize, EqualWidth


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def calibrated(n: int, *, seed: int, low: float = 0.5, high: float = 1.0) -> tuple[Tensor, Tensor]:
    """Confidences uniform in [low, high], each right with just that probability."""
    draws = generator(seed)
    confidence = low + (high - low) * torch.rand(n, generator=draws, dtype=torch.float64)
    return confidence, torch.rand(n, generator=draws, dtype=torch.float64) < confidence


def floor(confidence: Tensor, size: int) -> float:
    return math.sqrt(float((confidence * (1 - confidence)).mean()) / size)


@pytest.mark.parametrize(("right", "expected"), [([1, 1, 1, 1, 0], 0.0), ([1] * 5, 0.2), ([0] * 5, 0.8)])
def test_constant_confidence_by_hand(right: list[int], expected: float) -> None:
    confidence = torch.full((1000,), 0.8, dtype=torch.float64)
    correct = torch.tensor(right * 200).bool()
    for value in (
        metrics.rms_calibration_error(confidence, correct),
        metrics.expected_calibration_error(confidence, correct),
        metrics.maximum_calibration_error(confidence, correct),
        metrics.adaptive_calibration_error(confidence, correct),
    ):
        assert value == pytest.approx(expected, abs=1e-12)


def test_the_last_bin_takes_the_remainder() -> None:
    confidence = torch.cat([torch.full((100,), 0.5), torch.full((150,), 0.9)]).double()
    correct = torch.cat([torch.arange(100) < 70, torch.arange(150) < 120])
    bins = metrics.reliability_bins(confidence, correct, binning=EqualSize(100))
    assert bins.count.tolist() == [100, 150]
    assert metrics.rms_calibration_error(confidence, correct) == pytest.approx(math.sqrt(0.4 * 0.04 + 0.6 * 0.01))
    skipped = metrics.rms_calibration_error(confidence, correct, skip_last_bin=True)
    assert skipped == pytest.approx(math.sqrt(0.4 * 0.04))


@pytest.mark.parametrize(("n", "counts"), [(1, [1]), (99, [99]), (100, [100]), (199, [199]), (200, [100, 100])])
def test_few_predictions_are_one_bin(n: int, counts: list[int]) -> None:
    confidence, correct = calibrated(n, seed=0)
    assert metrics.reliability_bins(confidence, correct, binning=EqualSize(100)).count.tolist() == counts


def test_a_calibrated_classifier_scores_the_floor() -> None:
    # Over 16 seeds: the squared error's relative spread is about sqrt(2 / bins) = 14 per cent for one draw of 100 bins,
    # 3.5 for the mean of 16, so half of that for the root: ten per cent is more than five standard errors.
    squares = [metrics.rms_calibration_error(*calibrated(10_000, seed=s)) ** 2 for s in range(16)]
    expected = floor(calibrated(10_000, seed=0)[0], 100)
    assert math.sqrt(sum(squares) / 16) == pytest.approx(expected, rel=0.1)
    assert math.sqrt(squares[0]) == pytest.approx(expected, rel=0.25)


def test_the_floor_falls_with_the_root_of_the_bin_size() -> None:
    def mean_square(size: int) -> float:
        runs = [metrics.rms_calibration_error(*calibrated(10_000, seed=s), bin_size=size) ** 2 for s in range(16)]
        return sum(runs) / 16

    # 25 bins of 400: relative spread sqrt(2 / 25) / 4 = 7 per cent for the mean of 16; four standard errors and more
    assert mean_square(100) / mean_square(400) == pytest.approx(4, rel=0.3)


def test_debiased_it_is_near_zero() -> None:
    def mean_debiased_square(seed: int) -> float:
        bins = metrics.reliability_bins(*calibrated(10_000, seed=seed), binning=EqualSize(100))
        gap, accuracy = bins.accuracy - bins.confidence, bins.accuracy
        return float((gap.square() - accuracy * (1 - accuracy) / 99).mean())

    confidence, correct = calibrated(10_000, seed=0)
    plain = metrics.rms_calibration_error(confidence, correct)
    assert metrics.rms_calibration_error(confidence, correct, debias=True) < 0.7 * plain
    # unbiased: the mean over 64 draws is within four standard errors (each sqrt(2 / 100) of the floor) of 0
    mean = sum(mean_debiased_square(seed) for seed in range(64)) / 64
    assert abs(mean) < 4 * math.sqrt(2 / 100 / 64) * floor(confidence, 100) ** 2


def test_debiasing_by_hand() -> None:
    confidence = torch.full((4,), 0.25, dtype=torch.float64)
    correct = torch.tensor([True, True, True, False])
    assert metrics.rms_calibration_error(confidence, correct, debias=True) == pytest.approx(math.sqrt(0.25 - 0.0625))
    assert metrics.rms_calibration_error(confidence[:1], correct[:1], debias=True) == 0.75  # a bin of one
    assert metrics.rms_calibration_error(confidence[:2] + 0.25, correct[2:], debias=True) == 0.0  # below 0 is 0


def test_constant_overconfidence() -> None:
    p, correct = calibrated(10_000, seed=3, high=0.9)
    confidence = p + 0.1
    # the two terms' product adds 2 * .1 * (mean gap), whose standard error is 2 * .1 * .45 / 100 = .0009
    expected = 0.01 + floor(p, 100) ** 2
    assert metrics.rms_calibration_error(confidence, correct) ** 2 == pytest.approx(expected, abs=4 * 0.0009 + 0.0004)
    assert metrics.overconfidence(confidence, correct) == pytest.approx(0.1, abs=4 * 0.0045)


def test_order_does_not_matter_where_confidences_differ() -> None:
    confidence, correct = calibrated(1234, seed=4)
    order = torch.randperm(1234, generator=generator())
    for measure in (metrics.rms_calibration_error, metrics.expected_calibration_error, metrics.top_label_brier_score):
        assert measure(confidence[order], correct[order]) == pytest.approx(measure(confidence, correct), rel=1e-12)


def test_equal_confidences_stay_in_order_if_told_so() -> None:
    confidence = torch.full((300,), 0.5)
    correct = torch.arange(300) < 100
    bins = metrics.reliability_bins(confidence, correct, binning=EqualSize(100, ties="rows"))
    assert bins.accuracy.tolist() == [1.0, 0.0, 0.0]
    bins = metrics.reliability_bins(confidence, correct, binning=EqualMass(2, ties="rows"))
    assert bins.accuracy.tolist() == [pytest.approx(2 / 3), 0.0]
    for binning in (EqualSize(100), EqualMass(2)):
        bins = metrics.reliability_bins(confidence, correct, binning=binning)
        assert bins.accuracy.tolist() == pytest.approx([1 / 3] * len(bins.count))


def test_sharper_logits_are_overconfident() -> None:
    logits = 2 * torch.randn(20_000, 10, generator=generator(), dtype=torch.float64)
    targets = torch.multinomial(logits.softmax(1), 1, generator=generator(1)).squeeze(1)
    plain, sharp = logits.softmax(1), (2 * logits).softmax(1)
    # the mean of 20,000 zero-mean terms of spread below .5: four standard errors are .014
    assert abs(metrics.overconfidence(plain, targets)) < 0.014
    assert metrics.overconfidence(sharp, targets) > 0.1
    assert metrics.overconfidence((0.5 * logits).softmax(1), targets) < -0.1
    assert metrics.rms_calibration_error(sharp, targets) > 3 * metrics.rms_calibration_error(plain, targets)


def test_empty_bins_are_nan_in_the_diagram_and_count_nothing() -> None:
    bins = metrics.reliability_bins(torch.tensor([0.95, 0.99]), torch.tensor([True, False]), binning=EqualWidth(4))
    assert bins.count.tolist() == [0, 0, 0, 2]
    assert bins.accuracy[:3].isnan().all()
    assert metrics.mean_absolute_gap(bins) == pytest.approx(0.47)


def test_one_class_is_always_right() -> None:
    probabilities, targets = torch.ones(120, 1), torch.zeros(120, dtype=torch.int64)
    for measure in (
        metrics.rms_calibration_error,
        metrics.expected_calibration_error,
        metrics.classwise_calibration_error,
        metrics.overconfidence,
        metrics.brier_score,
    ):
        assert measure(probabilities, targets) == 0


def test_sums_are_exact_for_float32_input() -> None:
    n = 300_000
    confidence = torch.full((n,), 0.1, dtype=torch.float32)
    expected = float(torch.tensor(0.1, dtype=torch.float32).double())
    assert metrics.overconfidence(confidence, torch.zeros(n, dtype=torch.bool)) == pytest.approx(expected, rel=1e-12)
    value = metrics.expected_calibration_error(confidence, torch.zeros(n, dtype=torch.bool))
    assert value == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_other_integers_serve_as_class_numbers(dtype: torch.dtype) -> None:
    probabilities = torch.rand(50, 4, generator=generator()).softmax(1)
    targets = torch.arange(50) % 4
    for measure in (metrics.rms_calibration_error, metrics.brier_score):
        assert measure(probabilities, targets.to(dtype)) == measure(probabilities, targets)
    logits, likelihood = probabilities.log(), metrics.negative_log_likelihood
    assert likelihood(logits, targets.to(dtype)) == likelihood(logits, targets)


def test_half_precision_probabilities_are_taken() -> None:
    probabilities = torch.rand(200, 10, generator=generator()).softmax(1)
    targets = torch.arange(200) % 10
    rough = metrics.rms_calibration_error(probabilities.bfloat16(), targets)
    assert rough == pytest.approx(metrics.rms_calibration_error(probabilities, targets), abs=0.01)


P, Y = torch.full((4, 2), 0.5), torch.tensor([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("probabilities", "targets", "message"),
    [
        (torch.zeros(0, 2), Y[:0], "at least one"),
        (torch.zeros(0), Y[:0].bool(), "at least one"),
        (P, Y[:3], "expected floating point"),
        (P, Y.unsqueeze(1), "expected floating point"),
        (P, Y.float(), "expected class numbers"),
        (P, Y.bool(), "expected class numbers"),
        (P, Y + 1, "class numbers 1 to 2, expected 0 to 1"),
        (P, Y - 1, "class numbers -1 to 0"),
        (torch.tensor([[2.0, -1.0]] * 4), Y, "for logits use"),
        (torch.tensor([[3.0, 1.0]] * 4), Y, "rows that sum to 4 to 4"),
        (torch.full((4, 2), float("nan")), Y, "expected distributions"),
        (torch.full((4,), 0.5), Y, "confidences"),
        (torch.full((4,), 1.5), Y.bool(), "outside of"),
        (torch.full((4,), float("nan")), Y.bool(), "NaN"),
    ],
)
def test_refuses_what_is_no_prediction(probabilities: Tensor, targets: Tensor, message: str) -> None:
    as_users_call_it = unwrap(metrics.top_label)  # without the tests' check of the signature, which would object first
    with pytest.raises(InputError, match=message):
        as_users_call_it(probabilities, targets)


def test_refuses_settings_that_make_no_sense() -> None:
    confidence, correct = calibrated(50, seed=0)
    with pytest.raises(InputError, match="size: got 0, expected at least 1"):
        metrics.rms_calibration_error(confidence, correct, bin_size=0)
    with pytest.raises(InputError, match="bins: got 0, expected at least 1"):
        metrics.expected_calibration_error(confidence, correct, bins=0)
    with pytest.raises(InputError, match="bins: got -1, expected at least 1"):
        metrics.adaptive_calibration_error(confidence, correct, bins=-1)
    with pytest.raises(InputError, match="leaves no bin of 50 predictions"):
        metrics.rms_calibration_error(confidence, correct, skip_last_bin=True)


def test_expected_calibration_error_over_other_bins() -> None:
    confidence, correct = calibrated(1234, seed=0)
    equal_mass = metrics.expected_calibration_error(confidence, correct, bins=EqualMass(10))
    assert equal_mass == metrics.adaptive_calibration_error(confidence, correct)
    equal_size = metrics.expected_calibration_error(confidence, correct, bins=EqualSize(100))
    assert equal_size == metrics.mean_absolute_gap(
        metrics.reliability_bins(confidence, correct, binning=EqualSize(100))
    )
    assert equal_size <= metrics.rms_calibration_error(confidence, correct)
