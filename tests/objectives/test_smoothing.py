"""Label smoothing: both conventions, how they are related, torch's own, and the logits that fit them."""

import math
from inspect import unwrap

import pytest
import torch
from torch import Tensor

from elinvar.check import InputError
from elinvar.objectives import CrossEntropy, cross_entropy, smooth_targets
from elinvar.views import Logits, View, Views

HARD = torch.tensor([0, 4, 2, 2])
SOFT = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).softmax(-1)
CONVENTIONS = pytest.mark.parametrize("convention", ["others", "uniform"])


def test_others_gives_each_other_class_the_same_part() -> None:
    rows = smooth_targets(HARD, 5, 0.2).tolist()
    for row, target in zip(rows, HARD.tolist(), strict=True):
        assert row == pytest.approx([0.8 if c == target else 0.05 for c in range(5)])


def test_uniform_spreads_over_all_classes() -> None:
    rows = smooth_targets(HARD, 5, 0.2, convention="uniform").tolist()
    for row, target in zip(rows, HARD.tolist(), strict=True):
        assert row == pytest.approx([0.84 if c == target else 0.04 for c in range(5)])


@CONVENTIONS
@pytest.mark.parametrize("classes", [1, 2, 10, 1000])
def test_rows_sum_to_one_at_every_strength(convention: str, classes: int) -> None:
    top = 1 - 1 / classes if convention == "others" else 1.0
    for s in (0.0, 0.3 * top, top):
        rows = smooth_targets(torch.arange(classes), classes, s, convention)
        torch.testing.assert_close(rows.sum(1), torch.ones(classes))
        assert rows.dtype == torch.float32
        assert (rows >= 0).all()


@CONVENTIONS
def test_strength_zero_is_one_hot_and_the_full_strength_uniform(convention: str) -> None:
    assert torch.equal(smooth_targets(HARD, 5, 0.0, convention), torch.nn.functional.one_hot(HARD, 5).float())
    top = 0.8 if convention == "others" else 1.0
    torch.testing.assert_close(smooth_targets(HARD, 5, top, convention), torch.full((4, 5), 0.2))


@pytest.mark.parametrize(("classes", "s"), [(2, 0.3), (10, 0.1), (100, 0.1), (10, 0.9)])
def test_the_conventions_differ_by_a_factor(classes: int, s: float) -> None:
    soft = torch.eye(classes, dtype=torch.float64)
    spread = s * classes / (classes - 1)
    torch.testing.assert_close(smooth_targets(soft, classes, s), smooth_targets(soft, classes, spread, "uniform"))


@CONVENTIONS
def test_class_numbers_are_one_hot_targets(convention: str) -> None:
    one_hot = torch.nn.functional.one_hot(HARD, 5).float()
    torch.testing.assert_close(
        smooth_targets(HARD, 5, 0.3, convention), smooth_targets(one_hot, 5, 0.3, convention), rtol=1e-6, atol=1e-7
    )


@CONVENTIONS
def test_smoothing_before_or_after_mixing_is_the_same(convention: str) -> None:
    other = SOFT.flip(0)
    after = smooth_targets(0.3 * SOFT + 0.7 * other, 5, 0.2, convention)
    before = 0.3 * smooth_targets(SOFT, 5, 0.2, convention) + 0.7 * smooth_targets(other, 5, 0.2, convention)
    torch.testing.assert_close(after, before)
    assert after.dtype == torch.float64


def test_bfloat16_targets_become_float32() -> None:
    rows = smooth_targets(SOFT.bfloat16(), 5, 0.1)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows, smooth_targets(SOFT.bfloat16().float(), 5, 0.1))


def test_uniform_is_the_smoothing_of_torch() -> None:
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = torch.nn.functional.cross_entropy(logits, HARD, label_smoothing=0.3, reduction="none")
    torch.testing.assert_close(cross_entropy(logits, smooth_targets(HARD, 5, 0.3, "uniform")), expected)


@pytest.mark.parametrize(
    ("s", "classes", "gap"), [(0.1, 10, 4.394), (0.1, 100, 6.792), (0.2, 10, 3.584), (0.75, 10, 1.0986), (0.9, 10, 0.0)]
)
def test_the_logits_that_fit_best_are_a_known_gap_apart(s: float, classes: int, gap: float) -> None:
    assert math.log((1 - s) * (classes - 1) / s) == pytest.approx(gap, abs=1e-3)
    logits = torch.zeros(1, classes, dtype=torch.float64)
    logits[0, 3] = math.log((1 - s) * (classes - 1) / s)
    logits.requires_grad_()
    target = smooth_targets(torch.eye(classes, dtype=torch.float64)[3:4], classes, s)
    (gradient,) = torch.autograd.grad(cross_entropy(logits, target).sum(), logits)
    assert gradient.abs().max() < 1e-12


@CONVENTIONS
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_smooths_the_targets_of_its_views(convention: str, soft: bool) -> None:
    targets = SOFT[:4] if soft else HARD
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    views = Views([View("clean", torch.zeros(4, 3, 2, 2), targets, torch.arange(4))])
    loss = CrossEntropy(smoothing=0.3, convention=convention)(Logits({"clean": logits}), views)
    expected = cross_entropy(logits, smooth_targets(targets, 5, 0.3, convention)).mean()
    torch.testing.assert_close(loss.total, expected)
    assert loss.total.item() != pytest.approx(cross_entropy(logits, targets).mean().item(), rel=1e-3)


@pytest.mark.parametrize(
    ("targets", "classes", "s", "convention", "message"),
    [
        (HARD, 5, 0.81, "others", "s: got 0.81, expected 0 to 0.8 for 5 classes"),
        (HARD, 5, 1.01, "uniform", "s: got 1.01, expected 0 to 1 for 5 classes"),
        (HARD, 5, -0.1, "others", "s: got -0.1"),
        (HARD, 5, float("nan"), "others", "s: got nan"),
        (torch.tensor([0]), 1, 0.1, "others", "s: got 0.1, expected 0 to 0 for 1 classes"),
        (HARD, 5, 0.1, "other", "did you mean 'others'"),
        (HARD, 0, 0.1, "others", "classes: got 0"),
        (HARD, 4, 0.1, "others", "class numbers 0 to 4, expected 0 to 3"),
        (torch.tensor([-1]), 4, 0.1, "others", "class numbers -1 to -1"),
        (SOFT, 4, 0.1, "others", r"shape \(6, 5\), expected int64 class numbers"),
        (HARD.int(), 5, 0.1, "others", r"got torch.int32 of shape \(4,\)"),
        (torch.eye(5).long(), 5, 0.1, "others", r"got torch.int64 of shape \(5, 5\)"),
    ],
)
def test_refuses_what_makes_no_sense(targets: Tensor, classes: int, s: float, convention: str, message: str) -> None:
    as_users_call_it = unwrap(smooth_targets)  # without the tests' check of the signature, which would object first
    with pytest.raises(InputError, match=message):
        as_users_call_it(targets, classes, s, convention)


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(InputError, match="did you mean 'uniform'"):
        CrossEntropy(convention="unifrom")
    for smoothing in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="smoothing: got"):
            CrossEntropy(smoothing=smoothing)
