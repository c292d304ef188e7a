"""Cross-entropy: closed forms, gradients, extremes."""

import math
from inspect import unwrap

import pytest
import torch
from torch import Tensor

from elinvar.check import InputError
from elinvar.objectives import cross_entropy


def draw(*shape: int, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def by_hand(logits: Tensor, targets: Tensor) -> list[float]:
    values = []
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        top = max(row)
        log_sum = top + math.log(sum(math.exp(z - top) for z in row))
        weights = target if isinstance(target, list) else [float(c == target) for c in range(len(row))]
        values.append(sum(w * (log_sum - z) for w, z in zip(weights, row, strict=True)))
    return values


SOFT = draw(6, 5).softmax(-1)
HARD = torch.tensor([0, 4, 2, 2, 1, 3])


@pytest.mark.parametrize("targets", [HARD, SOFT])
def test_equals_the_formula(targets: Tensor) -> None:
    logits = draw(6, 5)
    torch.testing.assert_close(cross_entropy(logits, targets).tolist(), by_hand(logits, targets))


def test_class_numbers_are_one_hot_targets() -> None:
    logits = draw(6, 5)
    one_hot = torch.nn.functional.one_hot(HARD, 5).double()
    torch.testing.assert_close(cross_entropy(logits, HARD), cross_entropy(logits, one_hot))


@pytest.mark.parametrize("targets", [HARD, SOFT])
def test_gradient_is_that_of_the_formula(targets: Tensor) -> None:
    logits = draw(6, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: cross_entropy(z, targets), (logits,))


def test_minimum_over_logits_is_the_entropy_of_the_target() -> None:
    logits = SOFT.log().requires_grad_()
    loss = cross_entropy(logits, SOFT)
    torch.testing.assert_close(loss, -(SOFT * SOFT.log()).sum(-1))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("targets", [HARD, SOFT.float()])
def test_half_precision_logits_are_judged_in_float32(dtype: torch.dtype, targets: Tensor) -> None:
    logits = draw(6, 5).to(dtype)
    loss = cross_entropy(logits, targets)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, cross_entropy(logits.float(), targets))


@pytest.mark.parametrize("size", [1e4, 1e38])
@pytest.mark.parametrize("soft", [False, True])
def test_extreme_logits_give_finite_values_and_gradients(size: float, soft: bool) -> None:
    logits = torch.tensor([[size, -size, 0.0], [-size, size, 0.0]], requires_grad=True)
    targets = torch.tensor([0, 0])
    loss = cross_entropy(logits, torch.nn.functional.one_hot(targets, 3).float() if soft else targets)
    torch.testing.assert_close(loss, torch.tensor([0.0, 2 * size]))
    torch.autograd.backward(loss.sum())
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([[0.0, 0, 0], [-1, 1, 0]]))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.tensor([0, 1]), r"expected \(3,\) or \(3, 4\)"),
        (torch.rand(3, 5), r"expected \(3,\) or \(3, 4\)"),
        (torch.tensor([0, 1, 4]), "class numbers 0 to 4, expected 0 to 3"),
        (torch.tensor([0, -100, 1]), "class numbers -100 to 1"),
    ],
)
def test_refuses_targets_that_do_not_fit(targets: Tensor, message: str) -> None:
    as_users_call_it = unwrap(cross_entropy)  # without the tests' check of the signature, which would object first
    with pytest.raises(InputError, match=message):
        as_users_call_it(torch.zeros(3, 4), targets)
