"""Jensen-Shannon divergence: identities, bounds, symmetry, gradients, extremes, and the reference's clamp."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from elinvar.check import InputError
from elinvar.objectives import jensen_shannon

LOG3 = math.log(3)


def draw(*shape: int, scale: float = 3.0, seed: int = 0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def entropy(p: Tensor) -> Tensor:
    return -torch.xlogy(p, p).sum(-1)


@pytest.mark.parametrize("views", [1, 2, 3, 5])
@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0])
def test_is_the_entropy_of_the_mean_less_the_mean_entropy(views: int, scale: float) -> None:
    logits = draw(views, 6, 4, scale=scale)
    p = logits.softmax(-1)
    torch.testing.assert_close(jensen_shannon(logits), entropy(p.mean(0)) - entropy(p).mean(0), rtol=1e-9, atol=1e-14)


def test_is_the_mean_kullback_leibler_divergence_to_the_mean() -> None:
    p = draw(3, 2, 4).softmax(-1)
    m = p.mean(0).tolist()
    for n, value in enumerate(jensen_shannon(draw(3, 2, 4)).tolist()):
        by_hand = sum(q[n][c] * math.log(q[n][c] / m[n][c]) for q in p.tolist() for c in range(4)) / 3
        assert value == pytest.approx(by_hand, rel=1e-12)


def test_two_views_of_two_classes_by_hand() -> None:
    p = torch.tensor([[[0.9, 0.1]], [[0.3, 0.7]]], dtype=torch.float64)
    by_hand = (0.9 * math.log(0.9 / 0.6) + 0.1 * math.log(0.1 / 0.4) + 0.3 * math.log(0.5) + 0.7 * math.log(1.75)) / 2
    assert jensen_shannon(p.log()).item() == pytest.approx(by_hand, rel=1e-12)


def test_the_order_of_the_views_does_not_matter() -> None:
    logits = draw(4, 8, 5)
    for order in ([1, 0, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1]):
        torch.testing.assert_close(jensen_shannon(logits[order]), jensen_shannon(logits), rtol=1e-13, atol=0)


def test_a_constant_added_to_the_logits_of_a_view_does_not_matter() -> None:
    logits = draw(3, 8, 5)
    shift = draw(3, 8, 1, seed=1)
    torch.testing.assert_close(jensen_shannon(logits + shift), jensen_shannon(logits), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
def test_views_that_agree_have_no_divergence_and_no_gradient(dtype: torch.dtype, scale: float) -> None:
    logits = draw(1, 16, 10, scale=scale).to(dtype).expand(3, 16, 10).clone().requires_grad_()
    divergence = jensen_shannon(logits)
    assert not divergence.any()
    (gradient,) = torch.autograd.grad(divergence.sum(), logits)
    assert gradient.abs().max() <= 2 * torch.finfo(dtype).eps


def test_gradient_is_that_of_the_formula() -> None:
    logits = draw(3, 2, 4).requires_grad_()
    assert torch.autograd.gradcheck(jensen_shannon, (logits,))
    assert torch.autograd.gradgradcheck(jensen_shannon, (logits,))


def test_gradient_in_closed_form_flows_into_every_view() -> None:
    logits = draw(3, 5, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(jensen_shannon(logits).sum(), logits)
    p = logits.detach().softmax(-1)
    ratio = p.log() - p.mean(0).log()
    torch.testing.assert_close(gradient, p * (ratio - (p * ratio).sum(-1, keepdim=True)) / 3)


@pytest.mark.parametrize("views", [2, 3, 4])
@pytest.mark.parametrize("size", [30.0, 1e4, 1e38])
def test_views_sure_of_different_classes_are_log_views_apart(views: int, size: float) -> None:
    logits = (size * torch.eye(views)).unsqueeze(1).requires_grad_()
    divergence = jensen_shannon(logits)
    torch.testing.assert_close(divergence, torch.tensor([math.log(views)]))
    torch.autograd.backward(divergence.sum())
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("size", [1e4, -1e4, 1e38])
def test_one_extreme_view_gives_finite_values_and_gradients(size: float) -> None:
    logits = torch.zeros(3, 1, 10)
    logits[1, 0, 3] = size
    logits.requires_grad_()
    divergence = jensen_shannon(logits)
    torch.autograd.backward(divergence.sum())
    assert divergence.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    exact = jensen_shannon(logits.detach().double()).float()
    torch.testing.assert_close(divergence.detach(), exact)


@settings(deadline=None, max_examples=60)
@given(
    views=st.integers(1, 4),
    n=st.integers(0, 5),
    classes=st.integers(1, 12),
    scale=st.sampled_from([1e-6, 1e-3, 1.0, 30.0, 1e4]),
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from([torch.bfloat16, torch.float32, torch.float64]),
)
def test_stays_between_zero_and_log_views(
    views: int, n: int, classes: int, scale: float, seed: int, dtype: torch.dtype
) -> None:
    divergence = jensen_shannon(draw(views, n, classes, scale=scale, seed=seed).to(dtype))
    assert divergence.shape == (n,)
    assert ((divergence >= 0) & (divergence <= torch.tensor(math.log(views), dtype=divergence.dtype))).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_compared_in_float32(dtype: torch.dtype) -> None:
    logits = draw(3, 8, 10).to(dtype).requires_grad_()
    divergence = jensen_shannon(logits)
    assert divergence.dtype == torch.float32
    assert torch.equal(divergence, jensen_shannon(logits.float()))
    torch.autograd.backward(divergence.sum())
    assert logits.grad is not None
    assert logits.grad.dtype == dtype


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_float32_is_close_to_float64(scale: float) -> None:
    logits = draw(3, 500, 10, scale=scale)
    torch.testing.assert_close(jensen_shannon(logits.float()).double(), jensen_shannon(logits), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("scale", [0.1, 3.0, 20.0])
def test_the_clamp_of_the_reference_differs_within_its_bound(scale: float) -> None:
    logits = draw(3, 500, 10, scale=scale)
    p = logits.softmax(-1)
    log_m = p.mean(0).clamp(1e-7, 1).log()
    reference = torch.stack([torch.nn.functional.kl_div(log_m, q, reduction="none").sum(-1) for q in p]).mean(0)
    missing = jensen_shannon(logits) - reference
    assert missing.min() > -1e-12
    assert missing.max() <= 10 * 1e-7 / math.e
    if scale == 20.0:
        assert missing.max() > 1e-8  # the clamp does act


def test_refuses_no_views() -> None:
    with pytest.raises(InputError, match="at least one view"):
        jensen_shannon(torch.zeros(0, 2, 3))
