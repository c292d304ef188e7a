"""BC+ and VH-BC+: zero means, equal loudness, kept variance."""

from typing import get_args

import pytest
import torch
from torch import Tensor

from elinvar.check import InputError
from elinvar.mixing import BCPlus, Mix, VHBCPlus, blend, mix, zero_mean
from elinvar.mixing.backend import Backend
from elinvar.mixing.maps import Balanced

from .conftest import keys, noise

on_both = pytest.mark.parametrize("backend", get_args(Backend))


def mixed(first: Tensor, second: Tensor, weight: float, backend: Backend, center: bool = True) -> Tensor:
    draws = torch.full((len(first), 2), weight, dtype=torch.float64)
    size = (first.shape[1], first.shape[2], first.shape[3])
    return blend(first, second, BCPlus(center=center).draw(draws, keys(len(first)), size).map, backend=backend)


def pair(spread: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(4, 3, 40, 40, generator=generator, dtype=torch.float64) for _ in range(2))
    exact = [zero_mean(x) / x.std((1, 2, 3), correction=0, keepdim=True) for x in (first, second)]
    return exact[0] + 3.0, exact[1] * spread - 1.0


@on_both
@pytest.mark.parametrize("weight", [0.0, 0.1, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("spread", [1.0, 0.25, 5.0])
def test_weights_follow_the_balance(weight: float, spread: float, backend: Backend) -> None:
    """p / (1 - p) = (s2 / s1) l / (1 - l), found again by projecting the mixture on both images."""
    first, second = pair(spread)
    made = mixed(first, second, weight, backend)
    basis = torch.stack([zero_mean(first).flatten(1), zero_mean(second).flatten(1)], 2)
    one, other = torch.linalg.lstsq(basis, made.flatten(1)[..., None]).solution[..., 0].unbind(1)
    p = weight * spread / (weight * spread + 1 - weight)
    assert torch.allclose(one / (one + other), torch.full_like(one, p), atol=1e-6)
    assert torch.allclose(one**2 + other**2, torch.ones_like(one), atol=1e-6)


@on_both
def test_at_lambda_one_it_is_the_first_image_without_its_mean(backend: Backend) -> None:
    first, second = pair(2.0)
    assert torch.allclose(mixed(first, second, 1.0, backend), zero_mean(first), atol=1e-12)
    assert torch.allclose(mixed(first, second, 0.0, backend), zero_mean(second), atol=1e-12)


@on_both
def test_scale_of_an_image_does_not_change_the_balance(backend: Backend) -> None:
    """Scaling the first image by k leaves the ratio of the energies of p x1 and (1 - p) x2."""
    first, second = pair(1.0)
    for scale in (1.0, 7.0, 0.1):
        made = mixed(first * scale, second, 0.3, backend)
        basis = torch.stack([zero_mean(first * scale).flatten(1), zero_mean(second).flatten(1)], 2)
        one, other = torch.linalg.lstsq(basis, made.flatten(1)[..., None]).solution[..., 0].unbind(1)
        assert torch.allclose(one * scale / other, torch.full_like(one, 0.3 / 0.7), atol=1e-6)


@on_both
def test_uncorrelated_images_of_equal_spread_keep_their_variance(backend: Backend) -> None:
    first, second = pair(1.0, seed=5)
    for weight in (0.2, 0.5, 0.9):
        made = mixed(first, second, weight, backend)
        # Correlations of 4,800 independent values are within .05 in all but 1 of 1,000 pairs; the seed is fixed.
        assert torch.allclose(made.std((1, 2, 3), correction=0), torch.ones(4).double(), atol=0.05)


@on_both
def test_images_of_one_color_are_finite(backend: Backend) -> None:
    flat, other = torch.full((3, 3, 8, 8), 0.5), noise(3, 3, 8, 8)
    for weight in (0.0, 0.5, 1.0):
        for first, second in ((flat, other), (other, flat), (flat, flat)):
            assert bool(torch.isfinite(mixed(first, second, weight, backend)).all())


@on_both
def test_concatenations_are_what_is_balanced(backend: Backend) -> None:
    """The deviations are those of the concatenations, and means go before they are made."""
    first, second = noise(2, 3, 12, 10, dtype=torch.float64), 5 * noise(2, 3, 12, 10, dtype=torch.float64, seed=1)
    u = torch.tensor([[0.4, 0, 0.7, 0, 0.3, 0]] * 2, dtype=torch.float64)
    made = blend(first, second, VHBCPlus().draw(u, keys(2), (3, 12, 10)).map, backend=backend)
    one, two = zero_mean(first), zero_mean(second)
    a, b = torch.cat([one[:, :, :4], two[:, :, 4:]], 2), torch.cat([one[..., :7], two[..., 7:]], 3)
    loud_a, loud_b = (x.std((1, 2, 3), correction=0, keepdim=True) for x in (a, b))
    p = 0.3 * loud_b / (0.3 * loud_b + 0.7 * loud_a)
    assert torch.allclose(made, (p * a + (1 - p) * b) / (p**2 + (1 - p) ** 2).sqrt(), atol=1e-6)


@on_both
def test_means_that_are_off_already_are_not_taken_again(backend: Backend) -> None:
    first, second = pair(2.0)
    crop_1, crop_2 = (zero_mean(x)[..., :20, :20] for x in (first, second))
    made = mixed(crop_1, crop_2, 1.0, backend, center=False)
    assert torch.allclose(made, crop_1, atol=1e-12)
    assert not torch.allclose(mixed(crop_1, crop_2, 1.0, backend), crop_1, atol=1e-3)


def test_zero_mean() -> None:
    images = noise(5, 3, 9, 7, dtype=torch.uint8)
    made = zero_mean(images)
    assert made.dtype == torch.float32
    expected = images.double() / 255 - (images.double() / 255).mean((1, 2, 3), keepdim=True)
    assert torch.allclose(made.double(), expected, atol=1e-6)
    assert torch.allclose(zero_mean(images[0]), made[0])
    assert zero_mean(made.double()).dtype == torch.float64
    with pytest.raises(InputError, match=r"expected \(\.\.\., C, H, W\), uint8 or floating point"):
        zero_mean(torch.zeros(3, 4, 4, dtype=torch.int32))
    with pytest.raises(InputError, match=r"of shape \(4, 4\)"):
        getattr(zero_mean, "__wrapped__", zero_mean)(torch.zeros(4, 4))


@on_both
def test_bytes_become_unit_scale(backend: Backend) -> None:
    images, targets = noise(8, 3, 8, 8, dtype=torch.uint8), torch.arange(8)
    for name in ("bcplus", "vh_bcplus"):
        mixing = Mix(name, classes=8, backend=backend)
        made = mixing(images, targets, keys=keys(8))[0]
        assert made.dtype == torch.float32
        assert made.equal(mixing(images.float() / 255, targets, keys=keys(8))[0])


def test_labels_follow_lambda_not_p() -> None:
    first = noise(100, 3, 8, 8)
    soft = mix("bcplus", 0.01 * first, torch.zeros(100, dtype=torch.int64), classes=2, keys=keys(100),
               partner=(first, torch.ones(100, dtype=torch.int64)))[1]  # fmt: skip
    drawn = BCPlus().plan(keys(100), (3, 8, 8))
    assert isinstance(drawn.map, Balanced)
    assert soft[:, 0].equal(drawn.map.weight)
