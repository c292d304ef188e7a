"""Bins and gaps against slow, independent versions: plain Python, one prediction after the other."""

import math
from collections.abc import Sequence
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from elinvar import metrics
from elinvar.metrics import EqualMass, EqualSize, EqualWidth

Bin = list[tuple[float, float]]


def in_tie(confidence: list[float], correct: Sequence[float]) -> list[float]:
    """The accuracy of all predictions of the same confidence, for each of them."""
    pairs = list(zip(confidence, correct, strict=True))
    ties = {c: [right for other, right in pairs if other == c] for c in confidence}
    return [sum(ties[c]) / len(ties[c]) for c in confidence]


def equal_size(confidence: list[float], correct: Sequence[float], size: int) -> list[Bin]:
    ranked = [
        pair for _, pair in sorted(enumerate(zip(confidence, correct, strict=True)), key=lambda e: (e[1][0], e[0]))
    ]
    bins = [ranked[start : start + size] for start in range(0, len(ranked), size)]
    if len(bins) > 1 and len(bins[-1]) < size:
        bins[-2:] = [bins[-2] + bins[-1]]
    return bins


def equal_mass(confidence: list[float], correct: Sequence[float], count: int) -> list[Bin]:
    ranked = [
        pair for _, pair in sorted(enumerate(zip(confidence, correct, strict=True)), key=lambda e: (e[1][0], e[0]))
    ]
    bins, start = [], 0
    for number in range(count):
        stop = start + len(ranked) // count + (number < len(ranked) % count)
        bins.append(ranked[start:stop])
        start = stop
    return bins


def equal_width(confidence: list[float], correct: Sequence[float], count: int) -> list[Bin]:
    """Intervals (lo, hi], the first with 0; float64 confidences, edges at the float64 number nearest to k / count."""
    bins: list[Bin] = [[] for _ in range(count)]
    for pair in zip(confidence, correct, strict=True):
        number = next(k for k in range(count) if pair[0] <= float(Fraction(k + 1, count)) or k == count - 1)
        bins[number].append(pair)
    return bins


def gaps(bins: list[Bin]) -> list[tuple[float, float, float]]:
    """(weight, accuracy - confidence, accuracy) of each bin that is not empty."""
    n = sum(len(bin) for bin in bins)
    rows = []
    for bin in bins:
        if bin:
            accuracy = sum(right for _, right in bin) / len(bin)
            rows.append((len(bin) / n, accuracy - math.fsum(c for c, _ in bin) / len(bin), accuracy))
    return rows


def mean_absolute(bins: list[Bin]) -> float:
    return math.fsum(weight * abs(gap) for weight, gap, _ in gaps(bins))


def root_mean_square(bins: list[Bin]) -> float:
    return math.sqrt(math.fsum(weight * gap**2 for weight, gap, _ in gaps(bins)))


def largest(bins: list[Bin]) -> float:
    return max(abs(gap) for _, gap, _ in gaps(bins))


def reference_quirk(confidence: Tensor, correct: Tensor, size: int) -> float:
    """The reference's loop, written anew: n // size bins, the last one left out, weights over all predictions."""
    bins = equal_size(confidence.tolist(), correct.tolist(), size)[:-1]
    n = len(confidence)
    squares = [(sum(a for _, a in b) / len(b) - sum(c for c, _ in b) / len(b)) ** 2 * len(b) / n for b in bins]
    return math.sqrt(sum(squares))


@pytest.mark.parametrize("n", [100, 150, 1000, 1234])
def test_skipping_the_last_bin_is_the_reference(n: int) -> None:
    confidence = torch.rand(n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    correct = torch.rand(n, generator=torch.Generator().manual_seed(n + 1), dtype=torch.float64) < confidence
    value = metrics.rms_calibration_error(confidence, correct, skip_last_bin=True)
    assert value == pytest.approx(reference_quirk(confidence, correct, 100), rel=1e-12)


@pytest.mark.parametrize("bins", [1, 7, 10, 15])
def test_edges_belong_to_the_interval_below(bins: int) -> None:
    edges = EqualWidth(bins).edges
    for dtype in (torch.float32, torch.float64):
        index, count = EqualWidth(bins).assign(edges.to(dtype))
        assert count == bins
        assert index.tolist() == [0, *range(bins)]
        above, _ = EqualWidth(bins).assign(torch.nextafter(edges[1:-1].to(dtype), torch.ones((), dtype=dtype)))
        assert above.tolist() == list(range(1, bins))


confidences = st.lists(
    st.tuples(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.2, 1 / 3, 0.5, 0.6, 1.0])), st.booleans()),
    min_size=1,
    max_size=60,
)


@settings(deadline=None, max_examples=150)
@given(rows=confidences, count=st.integers(1, 17))
def test_every_measure_equals_an_independent_loop(rows: list[tuple[float, bool]], count: int) -> None:
    c, a = [row[0] for row in rows], [row[1] for row in rows]
    confidence, correct = torch.tensor(c, dtype=torch.float64), torch.tensor(a)
    cases = (
        (EqualWidth(count), equal_width(c, a, count)),
        (EqualSize(count, ties="rows"), equal_size(c, a, count)),
        (EqualMass(count, ties="rows"), equal_mass(c, a, count)),
        (EqualSize(count), equal_size(c, in_tie(c, a), count)),
        (EqualMass(count), equal_mass(c, in_tie(c, a), count)),
    )
    for binning, expected in cases:
        bins = metrics.reliability_bins(confidence, correct, binning=binning)
        assert bins.count.tolist() == [len(bin) for bin in expected]
        assert bins.examples == len(rows)
        rms, mean, top = metrics.root_mean_square_gap(bins), metrics.mean_absolute_gap(bins), metrics.largest_gap(bins)
        assert rms == pytest.approx(root_mean_square(expected), abs=1e-12)
        assert mean == pytest.approx(mean_absolute(expected), abs=1e-12)
        assert top == pytest.approx(largest(expected), abs=1e-12)
        assert mean - 1e-12 <= rms <= top + 1e-12
        signed = float((bins.count.double() / bins.examples * (bins.confidence - bins.accuracy)).nansum())
        assert signed == pytest.approx(metrics.overconfidence(confidence, correct), abs=1e-12)


def test_named_measures_are_settings_of_the_parts() -> None:
    logits = 3 * torch.randn(500, 6, generator=torch.Generator().manual_seed(0))
    probabilities, targets = logits.softmax(1), torch.randint(0, 6, (500,), generator=torch.Generator().manual_seed(1))
    confidence, predicted = probabilities.max(1)
    c, a = confidence.double().tolist(), (predicted == targets).tolist()
    assert metrics.rms_calibration_error(probabilities, targets, bin_size=40) == pytest.approx(
        root_mean_square(equal_size(c, a, 40))
    )
    width = equal_width(c, a, 15)
    assert metrics.expected_calibration_error(probabilities, targets) == pytest.approx(mean_absolute(width))
    assert metrics.maximum_calibration_error(probabilities, targets) == pytest.approx(largest(width))
    assert metrics.adaptive_calibration_error(probabilities, targets) == pytest.approx(
        mean_absolute(equal_mass(c, a, 10))
    )
    classwise = [
        mean_absolute(equal_width(column.tolist(), (targets == k).tolist(), 15))
        for k, column in enumerate(probabilities.double().unbind(1))
    ]
    assert metrics.classwise_calibration_error(probabilities, targets) == pytest.approx(sum(classwise) / 6)
