"""SPSA's estimate: unbiased on quadratics, the examples' own signs, and what it finds where gradients vanish."""

from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from elinvar import attacks
from elinvar.attacks import Spsa
from elinvar.attacks.goal import Goal
from elinvar.attacks.spsa import signs
from elinvar.check import InputError

from .nets import Linear, convolutional, images, keys, smooth, targets

SHAPE = (3, 2, 2)


def quadratic() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    square = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    return square + square.T, torch.randn(12, generator=generator, dtype=torch.float64)


def estimates(count: int, samples: int, delta: float, key: int = 0) -> tuple[Tensor, Tensor]:
    """Independent estimates at one point, and the true gradient there."""
    square, slope = quadratic()
    point = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def value(x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return (0.5 * (flat @ square * flat).sum(1) + flat @ slope).unsqueeze(1)

    goal = Goal(value, torch.zeros(count).long(), lambda logits, _: logits[:, 0])
    points = point.expand(count, *SHAPE).contiguous()
    found = Spsa(samples=samples, delta=delta)(goal, points, keys(count, key), False).gradient
    assert found is not None
    return found.flatten(1), square @ point.flatten() + slope


@pytest.mark.parametrize("delta", [0.01, 1.0])
def test_is_unbiased_on_quadratics(delta: float) -> None:
    """12 coordinates, t-tests of 20,000 independent estimates; fails a right estimator once in a million keys."""
    found, gradient = estimates(20_000, 2, delta)
    errors = found - gradient
    assert stats.ttest_1samp(errors.numpy(), 0.0).pvalue.min() > 1e-6 / 12
    assert errors.std(0).min() > 0.1  # each single one is far off


def test_scatters_as_theory_says() -> None:
    """The variance of coordinate i is (|g|^2 - g_i^2) / pairs; 20,000 estimates know it to 1% (one sigma)."""
    found, gradient = estimates(20_000, 16, 0.1)
    expected = (gradient.square().sum() - gradient.square()) / 8
    torch.testing.assert_close(found.var(0), expected, rtol=0.07, atol=0)


def test_one_pair_on_a_linear_function_is_the_projection_on_its_signs() -> None:
    w = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    goal = Goal(Linear(w), torch.zeros(5).long(), attacks.LOSSES["margin"])
    found = Spsa(samples=2, delta=0.3)(goal, torch.rand(5, *SHAPE).double(), keys(5), False).gradient
    v = signs(keys(5), 1, 12)[:, 0].double()
    assert found is not None
    torch.testing.assert_close(found.flatten(1), (v @ w.flatten()).unsqueeze(1) * v)


def test_more_samples_point_closer_to_the_gradient() -> None:
    cosines = []
    for samples in (2, 32, 512, 8192):
        found, gradient = estimates(4, samples, 0.1)
        cosines.append(torch.cosine_similarity(found, gradient.unsqueeze(0)).mean().item())
    assert cosines == sorted(cosines)
    assert cosines[-1] > 0.99


def test_signs_are_fair_and_independent() -> None:
    """100,000 signs: their mean, and their products with the next sign and the next vector's, by z-tests at 1e-6."""
    drawn = signs(keys(100), 10, 100).double()
    assert drawn.abs().eq(1).all()
    for products in (drawn, drawn[:, :, 1:] * drawn[:, :, :-1], drawn[:, 1:] * drawn[:, :-1], drawn[1:] * drawn[:-1]):
        assert abs(products.mean()) * products.numel() ** 0.5 < stats.norm.isf(1e-6 / 8)


@pytest.mark.parametrize("length", [1, 12, 64, 65, 200])
def test_signs_do_not_depend_on_how_they_are_cut(length: int) -> None:
    whole = signs(keys(6), 9, length)
    assert whole.shape == (6, 9, length)
    assert torch.equal(signs(keys(6)[[4, 1]], 9, length), whole[[4, 1]])
    assert torch.equal(signs(keys(6), 4, length, 5), whole[:, 5:])


@pytest.mark.parametrize("rows", [1, 7, 64, 1024])
def test_how_many_images_the_model_sees_at_once_does_not_matter(rows: int) -> None:
    model, x, y = smooth(), images(5, dtype=torch.float64), targets(5)
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    settings: dict[str, Any] = {"steps": 2, "samples": 150, "keys": keys(5), "early_stop": False}
    found = attacks.spsa(model, x, y, rows=rows, **settings)
    assert max(seen) <= max(rows, Spsa.BLOCK)
    torch.testing.assert_close(found, attacks.spsa(model, x, y, rows=300, **settings), rtol=0, atol=1e-9)


def test_finds_what_a_vanishing_gradient_hides() -> None:
    """Logits times 1e6: the cross-entropy is exactly flat in float32, and PGD sees nothing; the margin is not."""

    class Loud(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = convolutional().eval()

        def forward(self, x: Tensor) -> Tensor:
            return 1e6 * self.inner(x)  # type: ignore[no-any-return]

    model, x = Loud(), images(16)[3:]
    y = model(x).argmax(1)
    blind = attacks.pgd(model, x, y, eps=0.3, step=0.05, random_start=False)
    assert torch.equal(blind, x)
    seeing = attacks.spsa(model, x, y, eps=0.3, step=0.05, steps=20, samples=64, keys=keys(13))
    assert (model(seeing).argmax(1) != y).float().mean() > 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 3}, "samples: got 3, expected an even number"),
        ({"samples": 0}, "samples: got 0"),
        ({"delta": 0.0}, "delta: got 0.0, expected a finite number above 0"),
        ({"delta": float("nan")}, "delta: got nan"),
        ({"rows": 0}, "rows: got 0"),
    ],
)
def test_refuses_settings_without_meaning(settings: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Spsa(**settings)
