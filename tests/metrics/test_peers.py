"""Scores and curves against scikit-learn's, for any number of classes."""

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss, zero_one_loss

from elinvar import metrics


@pytest.mark.parametrize("classes", [2, 5, 100])
def test_error_and_likelihood(classes: int) -> None:
    draws = torch.Generator().manual_seed(classes)
    logits = 3 * torch.randn(500, classes, generator=draws, dtype=torch.float64)
    targets = torch.randint(0, classes, (500,), generator=draws)
    labels = list(range(classes))
    assert metrics.error_rate(logits, targets) == pytest.approx(zero_one_loss(targets, logits.argmax(1)))
    loss = log_loss(targets, logits.softmax(1), labels=labels)
    assert metrics.negative_log_likelihood(logits, targets) == pytest.approx(loss, rel=1e-9)


def test_brier_scores_of_two_classes() -> None:
    p = torch.rand(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = torch.arange(500) % 2
    both = torch.stack([1 - p, p], 1)
    assert metrics.brier_score(both, targets) == pytest.approx(2 * brier_score_loss(targets, p))
    assert metrics.top_label_brier_score(both, targets) == pytest.approx(brier_score_loss(targets, p))


@pytest.mark.parametrize("bins", [5, 15])
def test_reliability_curve(bins: int) -> None:
    p = torch.rand(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    right = torch.rand(2000, generator=torch.Generator().manual_seed(1), dtype=torch.float64) < p
    accuracy, confidence = calibration_curve(right, p, n_bins=bins)
    found = metrics.reliability_bins(p, right, binning=metrics.EqualWidth(bins))
    np.testing.assert_allclose(found.accuracy, accuracy)
    np.testing.assert_allclose(found.confidence, confidence)
    accuracy, confidence = calibration_curve(right, p, n_bins=bins, strategy="quantile")
    found = metrics.reliability_bins(p, right, binning=metrics.EqualMass(bins))
    np.testing.assert_allclose(found.confidence, confidence, atol=0.003)  # their quantiles may cut a few places beside
