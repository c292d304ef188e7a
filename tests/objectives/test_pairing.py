"""Pairing and squeezing of logits: formulas, identities of the thesis, which pairs, mistakes."""

from dataclasses import replace
from inspect import unwrap

import pytest
import torch
from torch import Tensor

import naive_losses as naive
from elinvar.check import InputError
from elinvar.objectives import (
    AdversarialLogitPairing,
    CleanLogitPairing,
    LogitSqueezing,
    clean_logit_pairing,
    logit_pairing,
    logit_squeezing,
)
from elinvar.objectives.total import check_names
from elinvar.views import Logits, View, Views


def draw(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


Z, OTHER = draw(6, 5), draw(6, 5, seed=1)


def views(n: int = 6) -> Views:
    whole = View("clean", torch.zeros(n, 3, 2, 2), torch.zeros(n, dtype=torch.int64), torch.arange(n))
    return Views([whole, replace(whole, name="adversarial")])


def logits() -> Logits:
    return Logits({"clean": Z, "adversarial": OTHER})


def test_pairing_is_the_squared_distance_over_classes() -> None:
    expected = [naive.squared_distance(*pair) for pair in zip(naive.rows(Z), naive.rows(OTHER), strict=True)]
    assert logit_pairing(Z, OTHER, reduction="sum").tolist() == pytest.approx(expected)
    assert logit_pairing(Z, OTHER).tolist() == pytest.approx([value / 5 for value in expected])


def test_squeezing_is_the_squared_norm() -> None:
    assert logit_squeezing(Z).tolist() == pytest.approx([naive.squared_norm(z) for z in naive.rows(Z)])


def test_pairing_is_squeezing_of_both_less_twice_their_product() -> None:
    parts = logit_squeezing(Z) - 2 * (Z * OTHER).sum(-1) + logit_squeezing(OTHER)
    torch.testing.assert_close(logit_pairing(Z, OTHER, reduction="sum"), parts, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("reduction", "factor"), [("mean", 2 / 5), ("sum", 2.0)])
def test_gradients_are_opposite_and_flow_into_both(reduction: str, factor: float) -> None:
    first, second = Z.clone().requires_grad_(), OTHER.clone().requires_grad_()
    one, two = torch.autograd.grad(logit_pairing(first, second, reduction=reduction).sum(), [first, second])
    torch.testing.assert_close(one, factor * (Z - OTHER))
    torch.testing.assert_close(two, -one)


def test_pairing_shrinks_a_scale_that_both_share() -> None:
    scale = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(logit_pairing(scale * Z, scale * OTHER, reduction="sum").sum(), scale)
    assert slope.item() == pytest.approx(2 * 1.7 * (Z - OTHER).square().sum().item())
    assert slope.item() > 0


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_clean_pairs_are_the_halves_of_the_batch(n: int) -> None:
    half = n // 2
    expected = [naive.squared_distance(Z[i].tolist(), Z[i + half].tolist()) / 5 for i in range(half)]
    assert clean_logit_pairing(Z[:n]).tolist() == pytest.approx(expected)
    loss = CleanLogitPairing(weight=2.0)(Logits({"clean": Z[:n]}), views(n))
    assert loss.total.item() == pytest.approx(2 * sum(expected) / max(half, 1))


def test_an_example_without_a_partner_is_left_alone() -> None:
    z = Z[:5].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(clean_logit_pairing(z).sum(), z)
    assert gradient[:4].all()
    assert not gradient[4].any()


def test_one_example_pairs_with_nobody_and_can_be_descended_on() -> None:
    z = Z[:1].clone().requires_grad_()
    loss = CleanLogitPairing()(Logits({"clean": z}), views(1))
    (gradient,) = torch.autograd.grad(loss.total, z)
    assert loss.total.item() == 0
    assert not gradient.any()


def test_objectives_are_means_over_examples() -> None:
    loss = AdversarialLogitPairing(weight=5.0)(logits(), views())
    assert loss.total.item() == pytest.approx(5 * logit_pairing(Z, OTHER).mean().item())
    assert list(loss.parts) == ["pairing(clean, adversarial)"]
    loss = AdversarialLogitPairing(weight=0.5, reduction="sum")(logits(), views())
    assert loss.total.item() == pytest.approx(0.5 * logit_pairing(Z, OTHER, reduction="sum").mean().item())


def test_squeezing_of_two_views_is_the_sum() -> None:
    loss = LogitSqueezing(over=("clean", "adversarial"), weight=0.1)(logits(), views())
    assert loss.total.item() == pytest.approx(0.1 * (logit_squeezing(Z).mean() + logit_squeezing(OTHER).mean()).item())
    assert list(loss.parts) == ["squeezing(clean, adversarial)"]


def test_functions_pass_gradcheck() -> None:
    first, second = Z.clone().requires_grad_(), OTHER.clone().requires_grad_()
    assert torch.autograd.gradcheck(logit_pairing, (first, second))
    assert torch.autograd.gradcheck(clean_logit_pairing, (first,))
    assert torch.autograd.gradcheck(logit_squeezing, (first,))


def test_half_precision_is_squared_in_float32() -> None:
    large = torch.full((1, 4), 300.0, dtype=torch.float16)
    assert logit_squeezing(large).item() == 360_000.0
    assert logit_pairing(large, -large).item() == 360_000.0


def test_mistakes() -> None:
    with pytest.raises(InputError, match="must have one shape"):
        unwrap(logit_pairing)(Z, OTHER[:1])
    with pytest.raises(InputError, match="unknown reduction over classes 'sums': did you mean 'sum'"):
        logit_pairing(Z, OTHER, reduction="sums")
    for objective in (AdversarialLogitPairing, CleanLogitPairing):
        with pytest.raises(InputError, match="unknown reduction over classes"):
            objective(reduction="none")
    with pytest.raises(InputError, match="expected 2 distinct names of views"):
        AdversarialLogitPairing(over=("clean", "clean"))
    with pytest.raises(InputError, match="expected 2 distinct names of views"):
        check_names("over", ("a", "b", "c"), at_least=2, at_most=2)
    turned = Views([replace(v, index=v.index.flip(0)) if v.name == "adversarial" else v for v in views()])
    with pytest.raises(InputError, match="hold different examples"):
        AdversarialLogitPairing()(logits(), turned)
