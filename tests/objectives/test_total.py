"""Objectives over named views: values, parts, sums, mistakes, and their way through a configuration file."""

from dataclasses import replace

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from elinvar.check import InputError
from elinvar.objectives import Consistency, CrossEntropy, Objective, WeightedSum, cross_entropy, jensen_shannon
from elinvar.views import Logits, View, Views

NAMES = ("clean", "aug1", "aug2")


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def views(*, small: str | None = None) -> Views:
    targets, index = torch.tensor([0, 3, 1, 2]), torch.arange(4)
    whole = View("clean", torch.zeros(4, 3, 2, 2), targets, index)
    parts = [replace(whole, name=name) for name in NAMES]
    return Views(
        [replace(v, images=v.images[:2], targets=targets[:2], index=index[:2]) if v.name == small else v for v in parts]
    )


def logits(*, small: str | None = None) -> Logits:
    rows = {name: draw(4, 5, seed=seed).requires_grad_() for seed, name in enumerate(NAMES)}
    return Logits({name: value[:2] if name == small else value for name, value in rows.items()})


def total(objective: Objective) -> float:
    return objective(logits(), views()).total.item()


def ce(name: str) -> float:
    return cross_entropy(logits()[name], views()[name].targets).mean().item()


def js(*names: str) -> float:
    return jensen_shannon(logits().stack(names)).mean().item()


def test_cross_entropy_is_the_mean_over_the_views_it_names() -> None:
    assert total(CrossEntropy()) == pytest.approx(ce("clean"))
    assert total(CrossEntropy(over=("aug1", "clean"), weight=3.0)) == pytest.approx(1.5 * (ce("aug1") + ce("clean")))


def test_the_mean_over_branches_is_the_mean_over_all_their_rows() -> None:
    """Split BatchNorms: one forward of both halves and one mean is (L_main + L_aux) / 2."""
    rows = torch.cat([logits()["clean"], logits()["aug1"]])
    targets = views()["clean"].targets.repeat(2)
    assert total(CrossEntropy(over=("clean", "aug1"))) == pytest.approx(cross_entropy(rows, targets).mean().item())


def test_views_of_different_length_count_alike() -> None:
    loss = CrossEntropy(over=("clean", "aug1"))(logits(small="aug1"), views(small="aug1"))
    small = cross_entropy(logits()["aug1"][:2], torch.tensor([0, 3])).mean().item()
    assert loss.total.item() == pytest.approx((ce("clean") + small) / 2)


def test_soft_targets_come_from_the_view() -> None:
    soft = draw(4, 5, seed=9).softmax(-1)
    mixed = Views([replace(views()["clean"], targets=soft)])
    expected = cross_entropy(logits()["clean"], soft).mean()
    torch.testing.assert_close(CrossEntropy()(logits(), mixed).total, expected)


def test_consistency_is_the_weighted_mean_divergence() -> None:
    assert total(Consistency()) == pytest.approx(12 * js(*NAMES))
    assert total(Consistency(over=("clean", "aug2"), weight=0.5)) == pytest.approx(0.5 * js("clean", "aug2"))


def test_the_loss_of_augmix_and_its_parts() -> None:
    loss = (CrossEntropy() + Consistency())(logits(), views())
    assert loss.total.item() == pytest.approx(ce("clean") + 12 * js(*NAMES))
    assert list(loss.parts) == ["cross_entropy(clean)", "consistency(clean, aug1, aug2)"]
    assert [part.weight for part in loss.parts.values()] == [1.0, 12.0]
    assert [part.value.item() for part in loss.parts.values()] == pytest.approx([ce("clean"), js(*NAMES)])


@pytest.mark.parametrize(
    "objective",
    [
        CrossEntropy(weight=0.3),
        CrossEntropy() + CrossEntropy(over=("aug1",)) + Consistency(),
        0.5 * (CrossEntropy() + 4.0 * Consistency(weight=2.0)),
        WeightedSum(parts=(WeightedSum(parts=(CrossEntropy(),), weights=(3.0,)), Consistency()), weights=(2.0, 0.0)),
    ],
)
def test_the_parts_make_up_the_total(objective: Objective) -> None:
    loss = objective(logits(), views())
    assert loss.total.item() == pytest.approx(sum(part.weight * part.value.item() for part in loss.parts.values()))
    assert loss.total.requires_grad
    assert not any(part.value.requires_grad for part in loss.parts.values())
    assert all(float(part) == part.value.item() for part in loss.parts.values())


def test_sums_are_flat_and_multiples_reach_every_part() -> None:
    three = CrossEntropy() + CrossEntropy(over=("aug1",)) + Consistency()
    assert three == WeightedSum(parts=(CrossEntropy(), CrossEntropy(over=("aug1",)), Consistency()))
    assert (2.0 * three).weights == (2.0, 2.0, 2.0)
    assert total(2.0 * three) == pytest.approx(2 * total(three))


def test_gradients_reach_only_the_views_that_are_judged() -> None:
    rows = logits()
    torch.autograd.backward(CrossEntropy()(rows, views()).total)
    assert rows["clean"].grad is not None
    assert rows["aug1"].grad is None
    rows = logits()
    torch.autograd.backward(Consistency()(rows, views()).total)
    for name in NAMES:
        gradient = rows[name].grad
        assert gradient is not None
        assert gradient.any()


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (CrossEntropy(over=("claen",)), "unknown view 'claen': did you mean 'clean'"),
        (Consistency(over=("clean", "aug3")), "unknown view 'aug3'"),
        (CrossEntropy() + CrossEntropy(weight=2.0), r"two parts of the objective are cross_entropy\(clean\)"),
    ],
)
def test_mistakes_that_a_step_reveals(objective: Objective, message: str) -> None:
    with pytest.raises(InputError, match=message):
        objective(logits(), views())


def test_consistency_refuses_views_of_other_examples() -> None:
    turned = Views([replace(v, index=v.index.flip(0)) if v.name == "aug2" else v for v in views()])
    with pytest.raises(InputError, match="hold different examples"):
        Consistency()(logits(), turned)
    with pytest.raises(InputError, match="hold different examples"):
        Consistency()(logits(small="aug1"), views(small="aug1"))


def test_settings_that_make_no_sense() -> None:
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="weight: got"):
            CrossEntropy(weight=weight)
    with pytest.raises(InputError, match="over: got"):
        Consistency(over=("clean",))
    with pytest.raises(InputError, match="over: got"):
        CrossEntropy(over=("clean", "clean"))
    with pytest.raises(InputError, match="at least one part"):
        WeightedSum(parts=())
    with pytest.raises(InputError, match="one for each of 1 parts"):
        WeightedSum(parts=(CrossEntropy(),), weights=(1.0, 2.0))
    with pytest.raises(InputError, match="weight: got"):
        WeightedSum(parts=(CrossEntropy(),), weights=(-1.0,))
    with pytest.raises(TypeError):
        CrossEntropy() + 1.0  # type: ignore[operator]


def test_a_configuration_file_keeps_an_objective() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--objective", type=Objective)
    text = """
    objective:
      class_path: elinvar.objectives.WeightedSum
      init_args:
        weights: [1.0, 0.5]
        parts:
        - class_path: elinvar.objectives.CrossEntropy
          init_args: {"over": [clean, aug1]}
        - class_path: elinvar.objectives.Consistency
          init_args: {weight: 3.0}
    """
    settings = parser.parse_string(text)
    expected = CrossEntropy(over=("clean", "aug1")) + 0.5 * Consistency(weight=3.0)
    assert parser.instantiate(settings).objective == expected
    again = parser.parse_string(parser.dump(settings))
    assert parser.instantiate(again).objective == expected
