"""No measure depends on the order of the rows, also where confidences, scores or probabilities are equal.

Five distinct confidences gave RMS calibration errors of 0.18 to 0.29, by the order of the rows alone.

Tried: RMS, debiased and without its last bin; adaptive, expected, classwise and maximum error; the parts of the Brier
score; temperature; Brier scores, NLL, error, overconfidence; flips and top-5 distances of videos in another order, with
equal scores; average precision with equal probabilities; accumulators whose batches come in another order, or over
"workers"; all numbers of an evaluation. Probabilities of half precision, which are full of ties; ties that reach over
many bins, one tie, and none.
"""

from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torch import Tensor

from elinvar import metrics
from elinvar.check import InputError
from elinvar.experiments.shared_head import average_precision
from elinvar.infer.calibrated import measures
from elinvar.infer.predictions import Predictions
from elinvar.metrics import EqualMass, EqualSize

BACKGROUND = 10
Measure = Callable[[Tensor, Tensor], float]

OF_CONFIDENCE: dict[str, Measure] = {
    "rms": metrics.rms_calibration_error,
    "rms of small bins": lambda c, a: metrics.rms_calibration_error(c, a, bin_size=3),
    "rms of bins of one": lambda c, a: metrics.rms_calibration_error(c, a, bin_size=1),
    "debiased": lambda c, a: metrics.rms_calibration_error(c, a, bin_size=4, debias=True),
    "without the last bin": lambda c, a: metrics.rms_calibration_error(c, a, bin_size=2, skip_last_bin=True),
    "adaptive": metrics.adaptive_calibration_error,
    "adaptive, two bins": lambda c, a: metrics.adaptive_calibration_error(c, a, bins=2),
    "expected": metrics.expected_calibration_error,
    "maximum": metrics.maximum_calibration_error,
    "largest gap by rank": lambda c, a: metrics.largest_gap(metrics.reliability_bins(c, a, binning=EqualSize(3))),
    "overconfidence": metrics.overconfidence,
    "top-label Brier": metrics.top_label_brier_score,
    "calibration in Brier": lambda c, a: metrics.brier_decomposition(c, a, bin_size=3).calibration,
    "refinement in Brier": lambda c, a: metrics.brier_decomposition(c, a, bin_size=3).refinement,
    "within in Brier": lambda c, a: metrics.brier_decomposition(c, a, bin_size=3).within,
}
OF_PROBABILITIES: dict[str, Measure] = {
    "classwise": metrics.classwise_calibration_error,
    "Brier": metrics.brier_score,
    "error": metrics.error_rate,
    "rms": lambda p, y: metrics.rms_calibration_error(p, y, bin_size=7),
    "adaptive": metrics.adaptive_calibration_error,
    "NLL": lambda p, y: metrics.negative_log_likelihood(p.clamp(min=1e-6).log(), y),
    "temperature": lambda p, y: metrics.fit_temperature(p.double().clamp(min=1e-6).log(), y).value,
    "all of an evaluation": lambda p, y: sum(
        measures(Predictions.of(p.clamp(min=1e-6).log(), y)).values(), Predictions.of(p, y).scores().rms_calibration
    ),
}


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([0.0, 0.2, 1 / 3, 0.5, 0.75, 1.0]), st.booleans()), min_size=2, max_size=40
    ),
    seed=st.integers(0, 2**30),
)
@pytest.mark.parametrize("name", OF_CONFIDENCE)
def test_of_confidences(name: str, rows: list[tuple[float, bool]], seed: int) -> None:
    confidence, correct = torch.tensor([c for c, _ in rows]), torch.tensor([a for _, a in rows])
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    measure = OF_CONFIDENCE[name]
    assert measure(confidence[order], correct[order]) == pytest.approx(measure(confidence, correct), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", OF_PROBABILITIES)
def test_of_probabilities(name: str, dtype: torch.dtype) -> None:
    draws = torch.Generator().manual_seed(0)
    p = (2 * torch.randn(300, 5, generator=draws)).round().softmax(1).to(dtype).float()
    p = p / p.sum(1, keepdim=True)
    y = torch.multinomial(p, 1, generator=draws).squeeze(1)
    assert len(set(p.amax(1).tolist())) < 200
    measure = OF_PROBABILITIES[name]
    expected = measure(p, y)
    for _ in range(3):
        order = torch.randperm(300, generator=draws)
        assert measure(p[order], y[order]) == pytest.approx(expected, rel=1e-9)


def test_the_case_of_five_confidences() -> None:
    """The right value by hand: the gap of each of the five, and no noise from cutting them into bins."""
    values = torch.tensor([0.5, 0.6, 0.7, 0.8, 0.9], dtype=torch.float64)
    confidence = values.repeat_interleave(200)
    right = torch.tensor([0.2, 0.5, 0.7, 0.7, 1.0], dtype=torch.float64)
    correct = (torch.arange(200) < 200 * right.unsqueeze(1)).flatten()
    expected = float((right - values).square().mean().sqrt())
    found, authors = [], []
    for seed in range(4):
        order = torch.randperm(1000, generator=torch.Generator().manual_seed(seed))
        found.append(metrics.rms_calibration_error(confidence[order], correct[order]))
        authors.append(metrics.rms_calibration_error(confidence[order], correct[order], ties="rows"))
    assert found == pytest.approx([expected] * 4, abs=1e-12)
    assert len(set(authors)) == 4
    assert min(authors) > expected
    assert metrics.rms_calibration_error(confidence, correct, ties="rows") > max(authors)


@pytest.mark.parametrize("binning", [EqualSize, EqualMass])
def test_a_share_is_the_mean_over_all_orders(binning: type[EqualSize] | type[EqualMass]) -> None:
    """Exact, by all 720 orders of six predictions with two ties."""
    confidence = torch.tensor([0.3, 0.3, 0.3, 0.6, 0.6, 0.9], dtype=torch.float64)
    correct = torch.tensor([True, False, False, True, False, True])
    orders = [torch.tensor(order) for order in permutations(range(6))]
    tables = [binning(2, ties="rows").table(confidence[order], correct[order]).accuracy for order in orders]
    found = binning(2).table(confidence, correct)
    torch.testing.assert_close(found.accuracy, torch.stack(tables).mean(0))


def test_without_ties_both_forms_are_equal() -> None:
    draws = torch.Generator().manual_seed(0)
    confidence = torch.rand(1234, generator=draws, dtype=torch.float64)
    correct = torch.rand(1234, generator=draws) < confidence
    assert len(set(confidence.tolist())) == 1234
    for of in (EqualSize, EqualMass):
        ours, theirs = (of(ties=ties).table(confidence, correct) for ties in ("shared", "rows"))
        for name in ("count", "confidence", "accuracy", "independent"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name))


def test_debiasing_knows_of_how_many_predictions_an_accuracy_is_a_mean() -> None:
    """One tie over three bins: each has the accuracy of all 300, to which sampling adds a third."""
    confidence = torch.full((300,), 0.5, dtype=torch.float64)
    correct = torch.arange(300) < 180
    bins = metrics.reliability_bins(confidence, correct, binning=EqualSize(100))
    assert bins.independent.tolist() == pytest.approx([300] * 3)
    found = metrics.rms_calibration_error(confidence, correct, debias=True)
    assert found == pytest.approx((0.1**2 - 0.6 * 0.4 / 299) ** 0.5)
    whole = metrics.reliability_bins(confidence[:200], correct[:200], binning=EqualSize(200))
    assert whole.independent.tolist() == whole.count.tolist() == [200]


def test_a_calibrated_classifier_with_ties_is_debiased_to_zero() -> None:
    """The mean of 400 estimates of a squared error of 0 is within four standard errors of it; for one correct seed."""
    draws = torch.Generator().manual_seed(0)
    found = []
    for _ in range(400):
        confidence = torch.randint(5, 10, (500,), generator=draws).double() / 10
        correct = torch.rand(500, generator=draws, dtype=torch.float64) < confidence
        bins = metrics.reliability_bins(confidence, correct, binning=EqualSize(50))
        noise = bins.accuracy * (1 - bins.accuracy) / (bins.independent - 1)
        gap = bins.accuracy - bins.confidence
        found.append(float((gap.square() - noise).mean()))
    mean = torch.tensor(found)
    assert abs(float(mean.mean())) < 4 * float(mean.std()) / 20


def test_videos_in_another_order() -> None:
    draws = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 4, (30, 6, 9), generator=draws).float()  # full of equal scores
    order = torch.randperm(30, generator=draws)
    for measure in (metrics.flip_probability, metrics.top5_distance):
        assert measure(scores[order]) == pytest.approx(measure(scores), rel=1e-13)
    assert metrics.top5_distance(torch.zeros(2, 3, 9)) == metrics.flip_probability(torch.zeros(2, 3, 9)) == 0


def test_of_equal_scores_the_first_class_is_predicted_in_every_form() -> None:
    scores = torch.zeros(40, 7)
    scores[:, 3] = scores[:, 5] = 1.0
    y = torch.full((40,), 3)
    assert metrics.error_rate(scores, y) == 0
    assert metrics.top_label(scores.softmax(1), y).correct.all()
    assert (Predictions.of(scores, y).predicted == 3).all()
    assert metrics.flips(scores.view(8, 5, 7)).eq(0).all()


def test_pieces_in_another_order_and_over_workers() -> None:
    draws = torch.Generator().manual_seed(0)
    p = (2 * torch.randn(240, 4, generator=draws)).round().softmax(1)
    y = torch.randint(0, 4, (240,), generator=draws)
    whole = metrics.rms_calibration_error(p, y)
    for order in (range(0, 240, 40), range(200, -1, -40)):
        metric, other = metrics.CalibrationError(), metrics.CalibrationError()
        for number, start in enumerate(order):
            (other if number % 2 else metric).update(p[start : start + 40], y[start : start + 40])
        metric.merge(other)
        assert metric.compute() == pytest.approx(whole, abs=1e-12)


def test_cells_of_equal_probability_are_taken_together() -> None:
    draws = torch.Generator().manual_seed(0)
    logits = torch.randint(0, 2, (6, BACKGROUND + 1, 20), generator=draws).float()
    truth = torch.randint(0, BACKGROUND + 1, (6, 20), generator=draws)
    scores = logits.softmax(1).transpose(1, 2).flatten(0, 1).numpy()
    expected = [
        average_precision_score((truth.flatten() == digit).numpy(), scores[:, digit]) for digit in range(BACKGROUND)
    ]
    assert average_precision(logits, truth) == pytest.approx(100 * sum(expected) / BACKGROUND, abs=1e-3)
    order = torch.randperm(6, generator=draws)
    assert average_precision(logits[order], truth[order]) == pytest.approx(average_precision(logits, truth), abs=1e-4)


def test_another_way_to_treat_ties_is_refused() -> None:
    with pytest.raises(InputError, match="unknown way to treat ties 'row': did you mean 'rows'"):
        EqualSize.__init__.__wrapped__(EqualSize.__new__(EqualSize), 100, "row")  # type: ignore[attr-defined]
