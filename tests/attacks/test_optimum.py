"""Attacks against what is known: closed forms on linear models, a naive implementation, and the loss they raise."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elinvar import attacks
from elinvar.attacks import Attack
from elinvar.rng import MASK

from . import reference
from .nets import EPS, Linear, convolutional, images, keys, smooth, targets

SEEN = {"linf": 0.05, "l2": 0.4}


def inner(count: int, size: int = 6) -> Tensor:
    """Images that no attack here pushes to the bounds."""
    return 0.3 + 0.4 * images(count + 3, size, dtype=torch.float64)[3:]


def weight(size: int = 6) -> Tensor:
    return torch.randn(3, size, size, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", sorted(SEEN))
@pytest.mark.parametrize("method", ["fgsm", "pgd", "margin", "spsa"])
def test_reaches_the_optimum_of_a_linear_model(method: str, norm: str, targeted: bool, label: int) -> None:
    w, x, eps = weight(), inner(5), SEEN[norm]
    y = torch.full((5,), label)
    settings: dict[str, Any] = {"eps": eps, "norm": norm, "targeted": targeted, "keys": keys(5)}
    if method == "fgsm":
        found = attacks.fgsm(Linear(w), x, y, **settings)
    elif method == "spsa":
        more: dict[str, Any] = {"samples": 512, "step": eps / 4, "steps": 60, "early_stop": False}
        found = attacks.spsa(Linear(w), x, y, **settings, **more)
    else:
        loss = "margin" if method == "margin" else "cross_entropy"
        found = attacks.pgd(Linear(w), x, y, loss=loss, steps=60, step=eps / 5, **settings)
    way = (1 - 2 * label) * (-1 if targeted else 1)
    optimum = x + way * eps * (w.sign() if norm == "linf" else w / w.norm())
    gained, most = ((point - x).flatten(1) @ w.flatten() * way for point in (found, optimum))
    if method == "spsa":  # its directions are estimates
        assert (gained > 0.9 * most).all()
    elif norm == "l2" and method != "fgsm":  # steps of fixed length end near the pole of the ball
        assert (gained > (1 - 1e-6) * most).all()
        torch.testing.assert_close(attacks.threat("l2", eps).size(found - x), torch.full((5,), eps).double())
    else:
        torch.testing.assert_close(found, optimum, rtol=0, atol=1e-12)


def test_long_l2_searches_end_at_the_pole() -> None:
    w, x = weight(), inner(3)
    found = attacks.pgd(Linear(w), x, torch.zeros(3).long(), eps=0.4, norm="l2", steps=100, step=0.3)
    torch.testing.assert_close(found, x + 0.4 * w / w.norm(), rtol=0, atol=1e-9)


def test_values_at_the_bounds_stay_there() -> None:
    w, x = weight(), images(6, dtype=torch.float64)
    found = attacks.fgsm(Linear(w), x, torch.zeros(6).long(), eps=0.1)
    torch.testing.assert_close(found, (x + 0.1 * w.sign()).clamp(0, 1), rtol=0, atol=1e-15)


def test_too_few_steps_miss_the_corner_by_what_a_uniform_start_predicts() -> None:
    """n steps of a from a uniform start fall short by (2 eps - n a)^2 / (4 eps) on average, where n a < 2 eps.

    The mean of 60,000 values; fails a right attack once in a million keys (4.9 standard errors).
    """
    eps, step, steps, count = 0.03, 0.0078, 5, 200
    w, x = torch.ones(3, 10, 10, dtype=torch.float64), torch.full((count, 3, 10, 10), 0.5, dtype=torch.float64)
    found = attacks.pgd(Linear(w), x, torch.zeros(count).long(), eps=eps, step=step, steps=steps, keys=keys(count))
    short = 0.5 + eps - found
    expected = (2 * eps - steps * step) ** 2 / (4 * eps)
    assert abs(short.mean() - expected) < 4.9 * short.std() / short.numel() ** 0.5
    enough = attacks.pgd(Linear(w), x, torch.zeros(count).long(), eps=eps, step=step, steps=8, keys=keys(count))
    torch.testing.assert_close(enough, torch.full_like(enough, 0.5 + eps))


def gradient_of(model: nn.Module, label: Tensor, sign: float = 1.0) -> Callable[[Tensor], Tensor]:
    def gradient(image: Tensor) -> Tensor:
        leaf = image.clone().requires_grad_()
        z = model(leaf.unsqueeze(0))[0]
        loss = z.exp().sum().log() - z[label]
        (found,) = torch.autograd.grad(sign * loss, leaf)
        return found

    return gradient


def streams_of(count: int) -> list[int]:
    return [key & MASK for key in keys(count).tolist()]


@pytest.mark.parametrize("norm", sorted(SEEN))
@pytest.mark.parametrize("targeted", [False, True])
def test_is_what_a_naive_loop_over_images_finds(norm: str, targeted: bool) -> None:
    model, x, y, eps = smooth(), images(6, dtype=torch.float64), targets(6), SEEN[norm]
    sign = -1.0 if targeted else 1.0
    shared: dict[str, Any] = {"eps": eps, "step": eps / 3, "steps": 7, "norm": norm}
    found = attacks.pgd(model, x, y, random_start=False, targeted=targeted, **shared)
    for row in range(len(x)):
        by_hand = reference.ascend(gradient_of(model, y[row], sign), x[row], torch.zeros_like(x[row]), **shared)
        torch.testing.assert_close(found[row], by_hand, rtol=0, atol=1e-12)
    quick = attacks.fgsm(model, x, y, eps=eps, norm=norm, targeted=targeted)
    for row in range(len(x)):
        one: dict[str, Any] = {"eps": eps, "step": eps, "steps": 1, "norm": norm}
        by_hand = reference.ascend(gradient_of(model, y[row], sign), x[row], torch.zeros_like(x[row]), **one)
        torch.testing.assert_close(quick[row], by_hand, rtol=0, atol=1e-12)


def test_random_starts_are_those_of_the_naive_loop() -> None:
    model, x, y, eps = smooth(), images(6, dtype=torch.float64), targets(6), 0.05
    found = attacks.pgd(model, x, y, eps=eps, step=0.02, steps=4, keys=keys(6))
    for row, stream in enumerate(streams_of(6)):
        start = reference.interval(reference.child(reference.child(stream, 0), 0), x[row].shape, eps)
        by_hand = reference.ascend(gradient_of(model, y[row]), x[row], start, eps=eps, step=0.02, steps=4, norm="linf")
        torch.testing.assert_close(found[row], by_hand, rtol=0, atol=1e-12)


@pytest.mark.parametrize("samples", [6, 72])
def test_spsa_is_what_a_naive_loop_finds(samples: int) -> None:
    model, x, y = smooth(5), images(3, 5, dtype=torch.float64), targets(3)
    settings: dict[str, Any] = {"eps": 0.05, "step": 0.01, "steps": 3, "samples": samples, "delta": 0.02}
    found = attacks.spsa(model, x, y, keys=keys(3), early_stop=False, rows=100, **settings)
    for row, stream in enumerate(streams_of(3)):

        def margin(image: Tensor, label: int = int(y[row])) -> float:
            z = model(image.unsqueeze(0))[0].tolist()
            return float(max(score for place, score in enumerate(z) if place != label) - z[label])

        by_hand = reference.spsa(margin, x[row], reference.child(stream, 0), **settings)
        torch.testing.assert_close(found[row], by_hand, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "attack",
    [
        attacks.fgsm_attack(eps=EPS),
        attacks.fgsm_attack(eps=0.3, norm="l2"),
        attacks.pgd_attack(eps=EPS),
        attacks.pgd_attack(eps=EPS, loss="margin", restarts=2),
        attacks.pgd_attack(eps=0.3, norm="l2", random_start=False),
        attacks.pgd_attack(eps=EPS, targeted=True),
        attacks.spsa_attack(eps=EPS, steps=5, samples=64, early_stop=False),
    ],
    ids=repr,
)
def test_raises_what_it_maximizes(attack: Attack) -> None:
    """On average over 64 images, and by more than random points of the same ball do."""
    model, x, y = convolutional().eval(), images(64), targets(64)
    loss = attacks.LOSSES[str(attack.loss)]
    sign = -1 if attack.targeted else 1
    random = attack.threat.around(x, (0.0, 1.0))(x + attack.threat.start(x, keys(64)))
    before, chance, after = (sign * loss(model(z), y).mean() for z in (x, random, attack(model, x, y, keys=keys(64))))
    assert after > before + 2 * abs(chance - before)


def test_any_loss_of_single_examples_can_be_raised() -> None:
    model, x, y = smooth(), images(5, dtype=torch.float64), targets(5)

    def size(logits: Tensor, _: Tensor) -> Tensor:
        return logits.square().sum(1)

    found = attacks.pgd(model, x, y, loss=size, steps=5)
    assert (size(model(found), y) > size(model(x), y)).all()


def test_soft_targets_are_attacked_as_they_are() -> None:
    model, x, y = smooth(), images(5, dtype=torch.float64), targets(5)
    hard = F.one_hot(y, 4).double()
    again = attacks.pgd(model, x, hard, keys=keys(5))
    torch.testing.assert_close(attacks.pgd(model, x, y, keys=keys(5)), again, rtol=0, atol=1e-12)
    soft = 0.6 * hard + 0.1
    found = attacks.fgsm(model, x, soft)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(-(soft * model(leaf).log_softmax(1)).sum(), leaf)
    torch.testing.assert_close(found, (x + EPS * gradient.sign()).clamp(0, 1), rtol=0, atol=1e-15)


def test_more_steps_and_more_starts_raise_more() -> None:
    model, x, y = convolutional().eval(), images(64), targets(64)
    longer = [
        attacks.pgd_attack(eps=0.1, step=0.01, steps=steps, restarts=restarts)
        for steps, restarts in ((1, 1), (4, 1), (20, 1), (20, 4))
    ]
    values = [F.cross_entropy(model(attack(model, x, y, keys=keys(64))), y).item() for attack in longer]
    assert values == sorted(values)


def test_an_end_without_a_number_gives_way() -> None:
    values = iter([torch.nan, 1.0])
    x, y = images(3, dtype=torch.float64), targets(3)

    def once(logits: Tensor, _: Tensor) -> Tensor:
        return torch.full((len(logits),), next(values))

    settings: dict[str, Any] = {"steps": 0, "keys": keys(3), "targeted": True}
    found = attacks.pgd(smooth(), x, (smooth()(x).argmax(1) + 1) % 4, loss=once, restarts=2, **settings)
    assert not torch.equal(found, attacks.pgd(smooth(), x, y, **settings))


def test_of_several_ends_the_best_counts() -> None:
    """Restart r alone is the attack with the streams that restart r takes."""
    model, x, y = smooth(), images(8, dtype=torch.float64), targets(8)
    settings: dict[str, Any] = {"eps": 0.2, "steps": 2, "step": 0.02}
    best = attacks.pgd(model, x, y, keys=keys(8), restarts=3, **settings)
    ends = []
    for restart in range(3):
        search = attacks.pgd_attack(**settings, restarts=restart + 1)
        ends.append(search(model, x, y, keys=keys(8)))
    values = [F.cross_entropy(model(end), y, reduction="none") for end in ends]
    wrong = [model(end).argmax(1) != y for end in ends]
    for row in range(8):
        for earlier, later in ((0, 1), (1, 2)):  # never worse than with fewer restarts
            assert wrong[later][row] >= wrong[earlier][row]
            if wrong[later][row] == wrong[earlier][row]:
                assert values[later][row] >= values[earlier][row]
    assert torch.equal(ends[2], best)
    assert not torch.equal(ends[0], best)
