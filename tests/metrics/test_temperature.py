"""Temperature scaling: closed forms, a search with scipy, laws, and where there is no best temperature."""

import math

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from elinvar import metrics
from elinvar.check import InputError
from elinvar.metrics import Temperature, fit_temperature


def calibrated(n: int = 20_000, classes: int = 10, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits, and targets drawn from their softmax."""
    draws = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, classes, generator=draws, dtype=torch.float64)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=draws).squeeze(1)


@pytest.mark.parametrize("right", [501, 750, 900, 999])
def test_two_logits_have_a_closed_form(right: int) -> None:
    logits = torch.tensor([[3.0, 0.0]]).repeat(1000, 1)
    targets = (torch.arange(1000) >= right).long()
    # the best temperature makes confidence equal to accuracy
    expected = 3 / math.log(right / (1000 - right))
    assert fit_temperature(logits, targets).value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("factor", [0.01, 0.5, 1.0, 4.0, 300.0])
def test_against_a_search(factor: float) -> None:
    logits, targets = calibrated(2000)

    def loss(log_temperature: float) -> float:
        return metrics.negative_log_likelihood(factor * logits / math.exp(log_temperature), targets)

    found = minimize_scalar(loss, bracket=(math.log(factor), math.log(factor) + 0.2), tol=1e-10)
    temperature = fit_temperature(factor * logits, targets)
    assert temperature.value == pytest.approx(math.exp(found.x), rel=1e-5)
    assert loss(math.log(temperature.value)) <= found.fun + 1e-14


def test_it_undoes_sharpening_and_calibrates() -> None:
    logits, targets = calibrated()
    held_out, test = slice(0, 10_000), slice(10_000, None)
    # the standard error of 1 / T is 1 / sqrt(n * mean Var_p[z]), below 0.01 here; five of them
    for sharper in (1.0, 3.0):
        temperature = fit_temperature(sharper * logits[held_out], targets[held_out])
        assert temperature.value == pytest.approx(sharper, rel=0.05)
        scaled = temperature.probabilities(sharper * logits[test])
        assert abs(metrics.overconfidence(scaled, targets[test])) < 0.03
        assert torch.equal(scaled.argmax(1), logits[test].argmax(1))
    sharp = (3 * logits[test]).softmax(1)
    assert metrics.expected_calibration_error(sharp, targets[test]) > 4 * metrics.expected_calibration_error(
        scaled, targets[test]
    )


def test_shifts_and_precision_do_not_matter() -> None:
    logits, targets = calibrated(500)
    exact = fit_temperature(logits, targets).value
    shifted = logits + 100 * torch.randn(500, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert fit_temperature(shifted, targets).value == pytest.approx(exact, rel=1e-9)
    assert fit_temperature(logits.float(), targets.int()).value == pytest.approx(exact, rel=1e-5)


def test_half_precision_logits_give_wide_probabilities() -> None:
    assert Temperature(1.5).probabilities(torch.randn(3, 4).bfloat16()).dtype == torch.float32
    assert Temperature(1.5).probabilities(torch.randn(3, 4).double()).dtype == torch.float64


def test_there_is_not_always_a_best_temperature() -> None:
    logits, targets = calibrated(200)
    with pytest.raises(InputError, match="every prediction is right"):
        fit_temperature(logits, logits.argmax(1))
    with pytest.raises(InputError, match="every prediction is right"):
        fit_temperature(torch.zeros(5, 3), torch.arange(5) % 3)  # all equal: no temperature changes anything
    with pytest.raises(InputError, match="no more about the targets than chance"):
        fit_temperature(logits, logits.argmin(1))
    with pytest.raises(InputError, match="finite logits"):
        fit_temperature(torch.full((2, 2), float("nan")), torch.tensor([0, 1]))
    with pytest.raises(InputError, match="at least one example"):
        fit_temperature(logits[:0], targets[:0])
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="expected a positive number"):
            Temperature(bad)
