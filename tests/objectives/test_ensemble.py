"""Distillation and the adaptive ensemble: formulas, who learns from what, ablations, a layer that is trained."""

import math
from dataclasses import replace
from inspect import unwrap
from itertools import pairwise

import pytest
import torch
from torch import Tensor

import naive_losses as naive
from elinvar.check import InputError
from elinvar.objectives import (
    AdaptiveEnsemble,
    CrossEntropy,
    EnsembleWeights,
    Judging,
    Loss,
    cross_entropy,
    distillation,
)
from elinvar.views import Logits, View, Views

NAMES = ("a", "b", "c")
TARGETS = torch.tensor([0, 4, 2, 2, 1, 3])


def draw(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def views(names: tuple[str, ...] = NAMES, targets: Tensor = TARGETS) -> Views:
    first = View(names[0], torch.zeros(len(targets), 3, 2, 2), targets, torch.arange(len(targets)))
    return Views([replace(first, name=name, branch=name) for name in names])


def logits(names: tuple[str, ...] = NAMES) -> Logits:
    return Logits({name: draw(6, 5, seed=seed).requires_grad_() for seed, name in enumerate(names)})


def weights_of(judging: Judging) -> EnsembleWeights:
    (weights,) = judging.parts
    assert isinstance(weights, EnsembleWeights)
    return weights


def slopes(total: Tensor, at: Logits, judging: Judging) -> tuple[Tensor, Tensor]:
    """Gradient with respect to the scores of mu, and to the logits of all views."""
    leaves = [weights_of(judging).scores, *at.values()]
    found = torch.autograd.grad(total, leaves, allow_unused=True, retain_graph=True)
    scores, *rest = [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(found, leaves, strict=True)]
    return scores, torch.stack(rest)


def uneven(judging: Judging) -> Judging:
    with torch.no_grad():
        weights_of(judging).scores.copy_(torch.tensor([0.3, -0.5, 1.0]))
    return judging


def ensemble_only(**settings: bool) -> AdaptiveEnsemble:
    return AdaptiveEnsemble(over=NAMES, distill=0.0, **settings)


# Distillation


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_distillation_by_hand(scale: float) -> None:
    student, teacher = draw(6, 5), draw(6, 5, seed=1)
    expected = [
        naive.divergence(*(naive.softmax([scale * v for v in naive.unit(z)]) for z in pair))
        for pair in zip(naive.rows(teacher), naive.rows(student), strict=True)
    ]
    assert distillation(student, teacher, scale=scale).tolist() == pytest.approx(expected)


def test_distillation_without_normalization_by_hand() -> None:
    student, teacher = draw(6, 5), draw(6, 5, seed=1)
    pairs = list(zip(naive.rows(teacher), naive.rows(student), strict=True))
    expected = [naive.divergence(naive.softmax(t), naive.softmax(z)) for t, z in pairs]
    assert distillation(student, teacher, normalize=False).tolist() == pytest.approx(expected)
    halved = distillation(student, teacher, normalize=False, scale=0.5)
    torch.testing.assert_close(halved, distillation(student / 2, teacher / 2, normalize=False))


def test_the_norm_of_the_teacher_as_scale_keeps_the_teacher_as_it_is() -> None:
    student, teacher = draw(6, 5), draw(6, 5, seed=1)
    resized = student * teacher.norm(dim=1, keepdim=True) / student.norm(dim=1, keepdim=True)
    torch.testing.assert_close(
        distillation(student, teacher, scale=None), distillation(resized, teacher, normalize=False)
    )


def test_no_gradient_flows_through_the_norm_of_the_teacher_as_scale() -> None:
    student, teacher = draw(1, 5), draw(1, 5, seed=1).requires_grad_()
    length = teacher.detach().norm().item()
    (found,) = torch.autograd.grad(distillation(student, teacher, scale=None).sum(), teacher)
    (expected,) = torch.autograd.grad(distillation(student, teacher, scale=length).sum(), teacher)
    torch.testing.assert_close(found, expected)


def test_several_students_at_once() -> None:
    students, teacher = draw(3, 6, 5), draw(6, 5, seed=1)
    expected = torch.stack([distillation(student, teacher) for student in students])
    torch.testing.assert_close(distillation(students, teacher), expected)


@pytest.mark.parametrize(
    ("classes", "largest", "apart"), [(10, 0.232, 0.147), (100, 0.0267, 0.0169), (1000, 0.0027, 0.0017)]
)
def test_unit_logits_give_nearly_uniform_predictions(classes: int, largest: float, apart: float) -> None:
    one, other = torch.eye(classes, dtype=torch.float64)[:2].unsqueeze(1)
    assert one.softmax(-1).max().item() == pytest.approx(largest, abs=5e-4)
    assert distillation(50 * one, 9 * other).item() == pytest.approx(apart, abs=5e-4 if classes == 10 else 5e-5)


@pytest.mark.parametrize("scale", [1.0, 20.0, None])
def test_the_size_of_the_student_does_not_matter(scale: float | None) -> None:
    student, teacher = draw(6, 5), draw(6, 5, seed=1)
    expected = distillation(student, teacher, scale=scale)
    for factor in (1e-9, 0.1, 300.0, 1e20):
        torch.testing.assert_close(distillation(factor * student, teacher, scale=scale), expected)


@pytest.mark.parametrize(("normalize", "scale"), [(True, 1.0), (True, 20.0), (False, 1.0)])
def test_distillation_passes_gradcheck(normalize: bool, scale: float) -> None:
    students, teacher = draw(2, 3, 5).requires_grad_(), draw(3, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z, t: distillation(z, t, normalize=normalize, scale=scale), (students, teacher)
    )


def test_distillation_by_the_norm_of_the_teacher_passes_gradcheck_in_the_students() -> None:
    teacher = draw(3, 5, seed=1)
    assert torch.autograd.gradcheck(lambda z: distillation(z, teacher, scale=None), (draw(2, 3, 5).requires_grad_(),))


@pytest.mark.parametrize("scale", [1.0, None])
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-13, 1e19, 1e38])
def test_logits_of_any_size_are_finite(scale: float | None, size: float) -> None:
    student = (size * torch.tensor([[1.0, -1.0, 0.5]])).requires_grad_()
    teacher = (size * torch.tensor([[-1.0, 0.25, 1.0]])).requires_grad_()
    apart = distillation(student, teacher, scale=scale)
    torch.autograd.backward(apart.sum())
    assert student.grad is not None
    assert teacher.grad is not None
    assert apart.isfinite().all()
    assert student.grad.isfinite().all()
    assert teacher.grad.isfinite().all()
    if size >= 1e19 and scale == 1.0:
        by_hand = distillation(student.detach().double(), teacher.detach().double())
        torch.testing.assert_close(apart.detach().double(), by_hand, rtol=1e-5, atol=1e-7)


def test_a_classifier_that_starts_at_zero_is_left_alone() -> None:
    """Rounding errors of the two predictions, over a length of almost 0, would be huge gradients."""
    students = torch.zeros(3, 64, 1000, requires_grad=True)
    (gradient,) = torch.autograd.grad(distillation(students, torch.zeros(64, 1000)).sum(), students)
    assert gradient.abs().max() < 1e-6


def test_distillation_refuses_what_makes_no_sense() -> None:
    z = draw(6, 5)
    with pytest.raises(InputError, match="students: got shape"):
        unwrap(distillation)(z[:3], z)
    for scale in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="scale: got"):
            distillation(z, z, scale=scale)
    with pytest.raises(InputError, match="without normalization"):
        distillation(z, z, scale=None, normalize=False)


# The ensemble


def test_the_ensemble_starts_as_the_average() -> None:
    members = draw(3, 6, 5)
    torch.testing.assert_close(EnsembleWeights(3)(members), members.mean(0), rtol=1e-6, atol=1e-6)


def test_values_by_hand() -> None:
    judging, at = uneven(AdaptiveEnsemble(over=NAMES, ensemble=0.7, distill=0.3).module()), logits()
    loss = judging(at, views())
    mu = naive.softmax([0.3, -0.5, 1.0])
    members = [naive.rows(at[name].detach()) for name in NAMES]
    together = [[sum(m * q[n][c] for m, q in zip(mu, members, strict=True)) for c in range(5)] for n in range(6)]
    one_hot = torch.nn.functional.one_hot(TARGETS, 5).tolist()
    ensemble = sum(naive.cross_entropy(z, t) for z, t in zip(together, one_hot, strict=True)) / 6
    distill = sum(
        naive.divergence(naive.softmax(naive.unit(t)), naive.softmax(naive.unit(z)))
        for member in members
        for t, z in zip(together, member, strict=True)
    )
    assert loss.parts["ensemble(a, b, c)"].value.item() == pytest.approx(ensemble, rel=1e-6)
    assert loss.parts["distillation(a, b, c)"].value.item() == pytest.approx(distill / 6, rel=1e-5)
    assert loss.total.item() == pytest.approx(0.7 * ensemble + 0.3 * distill / 6, rel=1e-6)
    assert [loss.parts[f"mu({name})"].value.item() for name in NAMES] == pytest.approx(mu, rel=1e-6)
    assert [loss.parts[f"mu({name})"].weight for name in NAMES] == [0.0, 0.0, 0.0]


def test_the_ensemble_moves_mu_alone() -> None:
    judging, at = uneven(ensemble_only().module()), logits()
    scores, rest = slopes(judging(at, views()).total, at, judging)
    assert scores.all()
    assert not rest.any()


def test_distillation_moves_the_students_alone() -> None:
    judging, at = uneven(AdaptiveEnsemble(over=NAMES, ensemble=0.0).module()), logits()
    total = judging(at, views()).total
    scores, rest = slopes(total, at, judging)
    assert not scores.any()
    teacher = weights_of(judging)(torch.stack(list(at.values()))).detach()
    apart = torch.stack([distillation(z, teacher).mean() for z in at.values()]).sum()
    expected = torch.autograd.grad(apart, list(at.values()))
    torch.testing.assert_close(rest, torch.stack(expected))


def test_the_teacher_learns_too_where_that_is_asked_for() -> None:
    judging, at = uneven(AdaptiveEnsemble(over=NAMES, ensemble=0.0, detach_teacher=False).module()), logits()
    scores, rest = slopes(judging(at, views()).total, at, judging)
    assert scores.all()
    detached, same = uneven(AdaptiveEnsemble(over=NAMES, ensemble=0.0).module()), logits()
    assert not torch.allclose(rest, slopes(detached(same, views()).total, same, detached)[1])


def test_cross_entropy_does_not_move_mu() -> None:
    judging = (CrossEntropy(over=NAMES, weight=3.0) + ensemble_only()).module()
    at = logits()
    loss: Loss = judging(at, views())
    plain = logits()
    rest = torch.autograd.grad(loss.total, list(at.values()), retain_graph=True)
    by_hand = torch.stack([cross_entropy(plain[name], TARGETS).mean() for name in NAMES]).sum()
    expected = torch.autograd.grad(by_hand, list(plain.values()))
    torch.testing.assert_close(rest, expected)
    (mu,) = judging.parameters()
    alone, other = ensemble_only().module(), logits()
    torch.testing.assert_close(
        torch.autograd.grad(loss.total, mu)[0],
        torch.autograd.grad(alone(other, views()).total, weights_of(alone).scores)[0],
    )


def test_equal_views_teach_each_other_nothing() -> None:
    one = draw(6, 5)
    at = Logits({name: one.clone().requires_grad_() for name in NAMES})
    judging = AdaptiveEnsemble(over=NAMES).module()
    loss = judging(at, views())
    assert loss.parts["distillation(a, b, c)"].value.item() == pytest.approx(0, abs=1e-7)
    assert loss.parts["ensemble(a, b, c)"].value.item() == pytest.approx(cross_entropy(one, TARGETS).mean().item())
    scores, rest = slopes(loss.total, at, judging)
    assert scores.abs().max() < 1e-7
    assert rest.abs().max() < 1e-7


def test_one_view_trains_as_if_alone() -> None:
    alone = logits(("a",))
    judging = (CrossEntropy(over=("a",)) + AdaptiveEnsemble(over=("a",))).module()
    at = logits(("a",))
    loss = judging(at, views(("a",)))
    assert loss.parts["distillation(a)"].value.item() == 0
    (found,) = torch.autograd.grad(loss.total, at["a"])
    (expected,) = torch.autograd.grad(cross_entropy(alone["a"], TARGETS).mean(), alone["a"])
    torch.testing.assert_close(found, expected)


def test_mu_goes_to_the_view_that_is_right_and_stays_equal_between_equals() -> None:
    right = 4 * torch.nn.functional.one_hot(TARGETS, 5).double()
    same = draw(6, 5)
    at, judging = Logits({"a": same, "b": right, "c": same}), ensemble_only().module()
    optimizer = torch.optim.SGD(judging.parameters(), lr=2.0)
    history = []
    for _ in range(400):
        optimizer.zero_grad()
        judging(at, views()).total.backward()
        optimizer.step()
        history.append(weights_of(judging).shares().tolist())
    ofb = [mu[1] for mu in history]
    assert all(later > earlier for earlier, later in pairwise(ofb))
    assert ofb[-1] > 0.95
    assert all(mu[0] == mu[2] for mu in history)


def test_the_average_ensemble_stays_the_average() -> None:
    judging = AdaptiveEnsemble(over=NAMES, ensemble=0.0).module()
    optimizer = torch.optim.SGD(judging.parameters(), lr=1.0, momentum=0.9)
    for _ in range(3):
        judging(logits(), views()).total.backward()
        optimizer.step()
    assert not weights_of(judging).scores.any()


def test_ablations_change_what_they_say() -> None:
    at = logits()
    judged = {
        "paper": AdaptiveEnsemble(over=NAMES),
        "no distillation": AdaptiveEnsemble(over=NAMES, distill=0.0),
        "no ensemble": AdaptiveEnsemble(over=NAMES, ensemble=0.0),
        "no normalization": AdaptiveEnsemble(over=NAMES, normalize=False),
        "scale": AdaptiveEnsemble(over=NAMES, scale=20.0),
        "norm of the teacher": AdaptiveEnsemble(over=NAMES, scale=None),
    }
    totals = [objective.module()(at, views()).total.item() for objective in judged.values()]
    assert len({round(value, 6) for value in totals}) == len(judged)


def test_what_it_learns_is_the_state_of_the_layer() -> None:
    objective = CrossEntropy(over=NAMES) + AdaptiveEnsemble(over=NAMES)
    first, second = objective.module(), objective.module()
    (scores,) = first.parameters()
    with torch.no_grad():
        scores.copy_(torch.tensor([1.0, 0.0, -1.0]))
    assert list(first.state_dict()) == ["parts.1.parts.0.scores"]
    second.load_state_dict(first.state_dict())
    assert first(logits(), views()).total.item() == second(logits(), views()).total.item()
    assert not list(CrossEntropy().module().parameters())


def test_soft_targets_teach_mu() -> None:
    soft = draw(6, 5, seed=9).softmax(-1)
    loss = AdaptiveEnsemble(over=NAMES).module()(logits(), views(targets=soft))
    together = torch.stack(list(logits().values())).mean(0)
    expected = cross_entropy(together, soft).mean().item()
    assert loss.parts["ensemble(a, b, c)"].value.item() == pytest.approx(expected, rel=1e-6)


def test_mistakes() -> None:
    objective = AdaptiveEnsemble(over=NAMES)
    with pytest.raises(InputError, match=r"make objective.module\(\) once"):
        objective(logits(), views())
    with pytest.raises(InputError, match=r"make objective.module\(\) once"):
        (CrossEntropy(over=NAMES) + objective)(logits(), views())
    with pytest.raises(InputError, match="unknown view 'd'"):
        AdaptiveEnsemble(over=("a", "d")).module()(logits(), views())
    turned = Views([replace(v, index=v.index.flip(0)) if v.name == "b" else v for v in views()])
    with pytest.raises(InputError, match="hold different examples"):
        objective.module()(logits(), turned)
    for targets in (TARGETS.flip(0), draw(6, 5).softmax(-1)):
        other = Views([replace(v, targets=targets) if v.name == "b" else v for v in views()])
        with pytest.raises(InputError, match="a and b have different targets"):
            objective.module()(logits(), other)
    equal = Views([replace(v, targets=TARGETS.clone()) for v in views()])
    assert objective.module()(logits(), equal).total.isfinite()
    with pytest.raises(InputError, match="ensemble: got -1"):
        AdaptiveEnsemble(over=NAMES, ensemble=-1.0)
    with pytest.raises(InputError, match="distill: got nan"):
        AdaptiveEnsemble(over=NAMES, distill=math.nan)
    with pytest.raises(InputError, match="without normalization"):
        AdaptiveEnsemble(over=NAMES, normalize=False, scale=None)
    with pytest.raises(InputError, match="over: got"):
        AdaptiveEnsemble(over=())
    with pytest.raises(InputError, match="members: got 0"):
        EnsembleWeights(0)
    with pytest.raises(InputError, match="those of 2 members, expected 3"):
        EnsembleWeights(3)(draw(2, 6, 5))
