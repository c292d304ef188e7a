"""Decoupled pairing and LRM: distances of predictions, readings of the ratio, values, gradients, switches."""

import math
from collections.abc import Callable
from dataclasses import replace
from inspect import unwrap
from typing import Any

import pytest
import torch
from torch import Tensor

import naive_losses as naive
from elinvar.check import InputError
from elinvar.objectives import (
    AdversarialLogitPairing,
    CrossEntropy,
    DecoupledPairing,
    LogitSqueezing,
    Objective,
    cosine_distance,
    cross_entropy,
    jensen_shannon,
    logit_squeezing,
    lrm,
    pairing_factor,
    pairing_strength,
    prediction_cross_entropy,
    smooth_targets,
)
from elinvar.objectives.similarity import DISTANCES, joint_cross_entropy
from elinvar.views import Logits, View, Views

ADVERSARIAL = CrossEntropy(over=("adversarial",))
every_distance = pytest.mark.parametrize("distance", DISTANCES)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


Z, OTHER = draw(6, 5), draw(6, 5, seed=1)
TARGETS = torch.tensor([0, 4, 2, 2, 1, 3])


def views() -> Views:
    clean = View("clean", torch.zeros(6, 3, 2, 2), TARGETS, torch.arange(6))
    return Views([clean, replace(clean, name="adversarial")])


def logits() -> Logits:
    return Logits({"clean": Z.clone().requires_grad_(), "adversarial": OTHER.clone().requires_grad_()})


def gradients(objective: Objective | Callable[[Logits], Tensor]) -> tuple[Tensor, Tensor]:
    at = logits()
    total = objective(at, views()).total if isinstance(objective, Objective) else objective(at)
    found = torch.autograd.grad(total, [at["clean"], at["adversarial"]], allow_unused=True)
    one, two = (torch.zeros_like(Z) if g is None else g for g in found)
    return one, two


def test_cross_entropy_of_predictions_by_hand() -> None:
    pairs = zip(naive.rows(Z), naive.rows(OTHER), strict=True)
    expected = [naive.cross_entropy(other, naive.softmax(z)) for z, other in pairs]
    assert prediction_cross_entropy(Z, OTHER).tolist() == pytest.approx(expected)
    assert prediction_cross_entropy(OTHER, Z).tolist() != pytest.approx(expected)


def test_cross_entropy_of_equal_predictions_is_their_entropy() -> None:
    p = Z.softmax(-1)
    torch.testing.assert_close(prediction_cross_entropy(Z, Z), -(p * p.log()).sum(-1))


def test_a_fixed_target_draws_the_other_prediction_and_nothing_else() -> None:
    first, second = Z.clone().requires_grad_(), OTHER.clone().requires_grad_()
    (two,) = torch.autograd.grad(prediction_cross_entropy(first, second).sum(), [second])
    assert not prediction_cross_entropy(first, OTHER).requires_grad
    torch.testing.assert_close(two, OTHER.softmax(-1) - Z.softmax(-1))


@pytest.mark.parametrize(("scale", "grows"), [(0.5, True), (2.0, False), (-1.0, False)])
def test_a_fixed_target_expands_logits_that_agree_and_squeezes_those_that_do_not(scale: float, grows: bool) -> None:
    size = torch.ones((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(prediction_cross_entropy(Z, size * scale * Z).sum(), size)
    assert (slope < 0) == grows


def test_with_a_gradient_into_both_predictions_become_surer() -> None:
    """At equal logits only the target moves."""
    first, second = Z.clone().requires_grad_(), Z.clone().requires_grad_()
    one, two = torch.autograd.grad(joint_cross_entropy(first, second).sum(), [first, second])
    assert two.abs().max() < 1e-12
    assert one.abs().max() > 0.01
    scale = torch.ones(6, 1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(joint_cross_entropy(scale * Z, scale * Z).sum(), scale)
    assert (slope < 0).all()  # descent lets the logits grow
    assert torch.equal(joint_cross_entropy(Z, OTHER), prediction_cross_entropy(Z, OTHER))


@pytest.mark.parametrize(
    ("distance", "k", "grows"),
    [("joint_cross_entropy", 0.9, False), ("joint_cross_entropy", 1.1, True), ("cross_entropy", 8.0, False),
     ("symmetric_cross_entropy", 8.0, False), ("jensen_shannon", 8.0, False)],
)  # fmt: skip
def test_who_falls_for_one_certain_answer_to_everything(distance: str, k: float, grows: bool) -> None:
    """Logits that all images share, near the uniform prediction, classes in proportion: k = 1 is the border."""
    shared = (1e-3 * draw(1, 5)).requires_grad_()
    at = Logits({"clean": shared.expand(5, 5), "adversarial": shared.expand(5, 5)})
    first = View("clean", torch.zeros(5, 3, 2, 2), torch.arange(5), torch.arange(5))
    both = Views([first, replace(first, name="adversarial")])
    loss = DecoupledPairing(loss=ADVERSARIAL, ratio=k, reading="fraction", distance=distance)(at, both)
    (slope,) = torch.autograd.grad(loss.total, shared)
    centred = shared - shared.mean()
    assert ((slope * centred).sum() < 0) == grows


def test_the_other_distances() -> None:
    expected = [1 - sum(a * b for a, b in zip(naive.unit(z), naive.unit(other), strict=True))
                for z, other in zip(naive.rows(Z), naive.rows(OTHER), strict=True)]  # fmt: skip
    assert cosine_distance(Z, OTHER).tolist() == pytest.approx(expected)
    torch.testing.assert_close(cosine_distance(7 * Z, 0.1 * OTHER), cosine_distance(Z, OTHER))
    torch.testing.assert_close(DISTANCES["jensen_shannon"](Z, OTHER), jensen_shannon(torch.stack([Z, OTHER])))
    both = (joint_cross_entropy(Z, OTHER) + joint_cross_entropy(OTHER, Z)) / 2
    torch.testing.assert_close(DISTANCES["symmetric_cross_entropy"](Z, OTHER), both)


@pytest.mark.parametrize("distance", ["joint_cross_entropy", "jensen_shannon", "cosine"])
def test_distances_pass_gradcheck(distance: str) -> None:
    assert torch.autograd.gradcheck(DISTANCES[distance], (Z.clone().requires_grad_(), OTHER.clone().requires_grad_()))


@pytest.mark.parametrize("distance", ["cross_entropy", "jensen_shannon", "cosine"])
def test_distances_refuse_logits_of_different_shape(distance: str) -> None:
    with pytest.raises(InputError, match="must have one shape"):
        unwrap(DISTANCES[distance])(Z, OTHER[:1])


@pytest.mark.parametrize(
    ("ratio", "literal", "share"), [(0.125, 8.0, 7.0), (0.95, 1 / 0.95, 0.05 / 0.95), (0.5, 2.0, 1.0), (1.0, 1.0, 0.0)]
)
def test_the_ratio_has_three_readings(ratio: float, literal: float, share: float) -> None:
    assert pairing_strength(ratio) == pairing_strength(ratio, "literal") == pytest.approx(literal)
    assert pairing_strength(ratio, "share") == pytest.approx(share)
    assert pairing_strength(ratio, "fraction") == ratio


@pytest.mark.parametrize("reading", ["literal", "share", "fraction"])
@pytest.mark.parametrize("ratio", [0.125, 0.95])
@every_distance
def test_the_ratio_of_the_parts_is_the_one_that_was_asked_for(ratio: float, reading: str, distance: str) -> None:
    loss = DecoupledPairing(loss=ADVERSARIAL, ratio=ratio, reading=reading, distance=distance)(logits(), views())
    adversarial = loss.parts["cross_entropy(adversarial)"]
    part = loss.parts["distance(clean, adversarial)"]
    pairing = float(part.weight) * part.value.item()
    measured = {
        "literal": adversarial.value.item() / pairing,
        "share": adversarial.value.item() / (adversarial.value.item() + pairing),
        "fraction": pairing / adversarial.value.item(),
    }
    assert measured[reading] == pytest.approx(ratio)
    assert loss.total.item() == pytest.approx(adversarial.value.item() + pairing)
    assert part.value.item() == pytest.approx(DISTANCES[distance](Z, OTHER).mean().item())


@every_distance
def test_the_gradient_is_that_of_a_constant_factor(distance: str) -> None:
    adversarial = cross_entropy(OTHER, TARGETS).mean().item()
    factor = 8.0 * adversarial / DISTANCES[distance](Z, OTHER).mean().item()

    def by_hand(at: Logits) -> Tensor:
        apart = DISTANCES[distance](at["clean"], at["adversarial"]).mean()
        return cross_entropy(at["adversarial"], TARGETS).mean() + factor * apart

    for found, expected in zip(
        gradients(DecoupledPairing(loss=ADVERSARIAL, distance=distance)), gradients(by_hand), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_the_adversarial_loss_may_be_a_sum_with_the_clean_one() -> None:
    half = 0.5 * CrossEntropy() + 0.5 * ADVERSARIAL
    loss = DecoupledPairing(loss=half, ratio=0.5)(logits(), views())
    expected = (cross_entropy(Z, TARGETS).mean() + cross_entropy(OTHER, TARGETS).mean()).item() / 2
    assert loss.total.item() == pytest.approx(3 * expected)
    assert list(loss.parts) == [
        "cross_entropy(clean)", "cross_entropy(adversarial)", "distance(clean, adversarial)"
    ]  # fmt: skip
    assert DecoupledPairing(loss=half).module()(logits(), views()).total.item() == pytest.approx(9 * expected)


def test_a_factor_stays_finite_where_nothing_is_apart() -> None:
    zero = torch.zeros((), requires_grad=True)
    factor = pairing_factor(torch.tensor(2.0), zero, 3.0)
    assert factor.item() == pytest.approx(6e8)
    assert not factor.requires_grad
    same = Logits({"clean": Z, "adversarial": Z.clone().requires_grad_()})
    for distance in ("jensen_shannon", "cosine"):
        loss = DecoupledPairing(loss=ADVERSARIAL, distance=distance)(same, views())
        (gradient,) = torch.autograd.grad(loss.total, same["adversarial"])
        assert gradient.isfinite().all()


def test_pairing_by_squares_is_the_decoupled_form_of_a_product() -> None:
    """Equation 3.10: with h = -2 z.z' and beta = 1, equation 3.11 is the pairing by squares."""
    pairing = AdversarialLogitPairing(weight=1.0, reduction="sum")(logits(), views()).total
    squeezing = LogitSqueezing(over=("clean", "adversarial"), weight=1.0)(logits(), views()).total
    torch.testing.assert_close(pairing, squeezing - 2 * (Z * OTHER).sum(-1).mean(), rtol=1e-12, atol=1e-12)


def test_lrm_by_hand() -> None:
    loss = lrm(ratio=0.95, beta=3e-2, smoothing=0.2)(logits(), views())
    adversarial = cross_entropy(OTHER, smooth_targets(TARGETS, 5, 0.2)).mean().item()
    squeezing = (logit_squeezing(Z).mean() + logit_squeezing(OTHER).mean()).item()
    assert loss.total.item() == pytest.approx(adversarial * (1 + 1 / 0.95) + 3e-2 * squeezing, rel=1e-6)
    assert list(loss.parts) == [
        "cross_entropy(adversarial)", "distance(clean, adversarial)", "squeezing(clean, adversarial)"
    ]  # fmt: skip
    values = [part.value.item() for part in loss.parts.values()]
    assert values == pytest.approx([adversarial, prediction_cross_entropy(Z, OTHER).mean().item(), squeezing], rel=1e-6)


def test_lrm_hands_its_settings_on() -> None:
    paired, squeezing = lrm(
        clean="a", adversarial="b", ratio=0.5, beta=0.3, smoothing=0.2, reading="share", distance="cosine", pairing=0.7
    ).parts
    assert paired == DecoupledPairing(
        loss=CrossEntropy(over=("b",), smoothing=0.2), over=("a", "b"), ratio=0.5, reading="share", distance="cosine",
        weight=0.7,
    )  # fmt: skip
    assert squeezing == LogitSqueezing(over=("a", "b"), weight=0.3)


def test_lrm_with_its_weights_off_is_adversarial_training_to_the_bit() -> None:
    off = lrm(pairing=0.0, beta=0.0, smoothing=0.0)
    assert off(logits(), views()).total.item() == ADVERSARIAL(logits(), views()).total.item()
    for found, expected in zip(gradients(off), gradients(ADVERSARIAL), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("switch", ["pairing", "beta", "smoothing"])
def test_each_part_of_lrm_has_its_switch(switch: str) -> None:
    off: dict[str, Any] = {switch: 0.0}
    whole, without = lrm()(logits(), views()), lrm(**off)(logits(), views())
    assert whole.total.item() != pytest.approx(without.total.item(), rel=1e-3)
    part = {"pairing": "distance(clean, adversarial)", "beta": "squeezing(clean, adversarial)"}.get(switch)
    if part:
        assert float(without.parts[part].weight) == 0
        assert without.parts[part].value.item() == whole.parts[part].value.item()


@pytest.mark.parametrize(
    ("ratio", "reading", "message"),
    [
        (0.0, "literal", "ratio: got 0.0, expected a number above 0"),
        (-0.5, "literal", "ratio: got -0.5"),
        (math.inf, "literal", "ratio: got inf"),
        (math.nan, "fraction", "ratio: got nan"),
        (0.0, "share", "above 0, at most 1"),
        (1.2, "share", "above 0, at most 1"),
        (-1.0, "fraction", "0 or above"),
        (0.5, "litteral", "did you mean 'literal'"),
    ],
)
def test_ratios_that_make_no_sense(ratio: float, reading: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pairing_strength(ratio, reading)
    with pytest.raises(InputError, match=message):
        DecoupledPairing(loss=ADVERSARIAL, ratio=ratio, reading=reading)


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(InputError, match="did you mean 'cosine'"):
        DecoupledPairing(loss=ADVERSARIAL, distance="cosinus")
    with pytest.raises(InputError, match="expected 2 distinct names"):
        lrm(clean="adversarial")
    with pytest.raises(InputError, match="smoothing: got"):
        lrm(smoothing=2.0)
    turned = Views([replace(v, index=v.index.flip(0)) if v.name == "adversarial" else v for v in views()])
    with pytest.raises(InputError, match="hold different examples"):
        lrm()(logits(), turned)
