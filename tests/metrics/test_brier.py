"""Brier scores and the negative log-likelihood: hand values, the decomposition, bounds, extremes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from elinvar import metrics
from elinvar.check import InputError


def predictions(n: int, classes: int, *, seed: int = 0, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(n, classes, generator=draws, dtype=torch.float64)
    return logits, torch.randint(0, classes, (n,), generator=draws)


def test_brier_score_by_hand() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], dtype=torch.float64)
    first, second = 0.09 + 0.04 + 0.01, 0.81 + 0.01 + 0.64
    assert metrics.brier_score(probabilities, torch.tensor([0, 0])) == pytest.approx((first + second) / 2)
    first, second = (0.7 - 1) ** 2, (0.8 - 0) ** 2
    assert metrics.top_label_brier_score(probabilities, torch.tensor([0, 0])) == pytest.approx((first + second) / 2)


def test_brier_score_at_its_bounds() -> None:
    sure = torch.eye(3)
    right, wrong = torch.arange(3), (torch.arange(3) + 1) % 3
    assert metrics.brier_score(sure, right) == 0
    assert metrics.brier_score(sure, wrong) == 2
    assert metrics.top_label_brier_score(sure, right) == 0
    assert metrics.top_label_brier_score(sure, wrong) == 1
    assert metrics.brier_score(torch.full((4, 10), 0.1), torch.arange(4)) == pytest.approx(0.9)


@pytest.mark.parametrize("n", [1, 5, (1 << 16) - 1, 1 << 16, (1 << 16) + 3])
def test_scores_equal_the_direct_formula_whatever_the_number_of_rows(n: int) -> None:
    logits, targets = predictions(n, 4)
    probabilities = logits.softmax(1)
    one_hot = torch.nn.functional.one_hot(targets, 4)
    direct = (probabilities - one_hot).square().sum(1).mean().item()
    assert metrics.brier_score(probabilities, targets) == pytest.approx(direct, rel=1e-12)
    likelihood = -(logits.log_softmax(1) * one_hot).sum(1).mean().item()
    assert metrics.negative_log_likelihood(logits, targets) == pytest.approx(likelihood, rel=1e-12)


@settings(deadline=None, max_examples=100)
@given(
    rows=st.lists(
        st.tuples(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0])), st.booleans()), min_size=1, max_size=50
    ),
    size=st.integers(1, 20),
)
def test_the_parts_of_the_brier_score_make_it_up(rows: list[tuple[float, bool]], size: int) -> None:
    confidence = torch.tensor([row[0] for row in rows], dtype=torch.float64)
    correct = torch.tensor([row[1] for row in rows])
    parts = metrics.brier_decomposition(confidence, correct, bin_size=size)
    assert parts.score == pytest.approx(parts.calibration + parts.refinement + parts.within, abs=1e-12)
    assert parts.score == pytest.approx(metrics.top_label_brier_score(confidence, correct), abs=1e-15)
    rms = metrics.rms_calibration_error(confidence, correct, bin_size=size)
    assert parts.calibration == pytest.approx(rms**2, abs=1e-12)
    assert 0 <= parts.score <= 1
    assert -1e-15 <= parts.refinement <= 0.25
    assert parts.from_refinement == parts.calibration + parts.refinement


def test_refinement_vanishes_for_one_who_is_always_right() -> None:
    confidence = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    parts = metrics.brier_decomposition(confidence, torch.ones(1000, dtype=torch.bool))
    assert parts.refinement == 0
    assert parts.score > 0.2


def test_narrow_bins_hide_little() -> None:
    draws = torch.Generator().manual_seed(0)
    confidence = torch.rand(10_000, generator=draws, dtype=torch.float64)
    correct = torch.rand(10_000, generator=draws, dtype=torch.float64) < confidence
    narrow, wide = (metrics.brier_decomposition(confidence, correct, bin_size=size) for size in (100, 5000))
    assert abs(narrow.within) < 1e-3
    assert abs(wide.within) > 1e-2


def test_likelihood_of_uniform_and_extreme_logits() -> None:
    targets = torch.tensor([0, 1])
    assert metrics.negative_log_likelihood(torch.zeros(2, 10), targets) == pytest.approx(math.log(10), rel=1e-15)
    extreme = torch.tensor([[1e4, -1e4], [1e4, -1e4]])
    assert metrics.negative_log_likelihood(extreme, targets) == pytest.approx(1e4)
    assert metrics.negative_log_likelihood(extreme, targets * 0) == 0
    assert metrics.negative_log_likelihood(1e34 * extreme, targets) == pytest.approx(1e38)


def test_likelihood_is_precise_in_half_precision_too() -> None:
    logits, targets = predictions(1000, 10)
    rough = logits.bfloat16()
    exact = metrics.negative_log_likelihood(rough.double(), targets)
    assert metrics.negative_log_likelihood(rough, targets) == pytest.approx(exact, rel=1e-14)


def test_refuses_what_is_no_prediction() -> None:
    logits, targets = predictions(5, 3)
    with pytest.raises(InputError, match="for logits use"):
        metrics.brier_score(logits, targets)
    with pytest.raises(InputError, match="class numbers"):
        metrics.negative_log_likelihood(logits, targets + 3)
    with pytest.raises(InputError, match="at least one example"):
        metrics.negative_log_likelihood(logits[:0], targets[:0])
    with pytest.raises(InputError, match="2 rows with NaN or infinite"):
        metrics.negative_log_likelihood(torch.tensor([[0.0, float("nan")], [float("inf"), 0], [0, 0]]), targets[:3] * 0)


def test_pieces_make_up_the_whole() -> None:
    logits, targets = predictions(500, 3)
    probabilities = logits.softmax(1)
    brier, top, likelihood = metrics.BrierScore(), metrics.TopLabelBrierScore(), metrics.NegativeLogLikelihood()
    for rows in torch.split(torch.arange(500), 77):
        brier.update(probabilities[rows], targets[rows])
        top.update(probabilities[rows], targets[rows])
        likelihood.update(logits[rows], targets[rows])
    assert brier.compute() == pytest.approx(metrics.brier_score(probabilities, targets), rel=1e-13)
    assert top.compute() == pytest.approx(metrics.top_label_brier_score(probabilities, targets), rel=1e-13)
    assert likelihood.compute() == pytest.approx(metrics.negative_log_likelihood(logits, targets), rel=1e-13)
