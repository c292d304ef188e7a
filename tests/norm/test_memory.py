"""Laws of what is remembered: averages in closed form, and batch renormalization."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from elinvar import norm
from elinvar.routing import Routing, Trace, route

C = 4


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).mul(2).add(1)


@pytest.mark.parametrize(
    "policy", [norm.batch_norm(), norm.ghost(2), norm.batch_group(2)], ids=["batch", "ghost", "group"]
)
def test_the_average_of_moments_is_the_thesis_recursion_whatever_shares(policy: norm.NormPolicy) -> None:
    layer: Any = norm.Norm(C, policy | norm.NormPolicy(memory=norm.MomentEma(0.1))).double()
    first, second = torch.zeros(C, dtype=torch.float64), torch.ones(C, dtype=torch.float64)
    for step in range(5):
        x = values(6, C, 3, seed=step)
        layer(x)
        first = 0.9 * first + 0.1 * x.mean((0, 2))
        second = 0.9 * second + 0.1 * x.square().mean((0, 2))
    torch.testing.assert_close(layer.running_mean, first)
    torch.testing.assert_close(layer.running_var, second - first.square())
    assert layer.num_batches_tracked == 5


def test_a_constant_batch_in_closed_form() -> None:
    layer: Any = norm.Norm(C, norm.NormPolicy(memory=norm.MomentEma(0.01))).double()
    x = values(6, C, 3)
    for _ in range(50):
        layer(x)
    rest = 0.99**50
    torch.testing.assert_close(layer.running_mean, (1 - rest) * x.mean((0, 2)))
    second = rest + (1 - rest) * x.square().mean((0, 2))
    torch.testing.assert_close(layer.running_var + layer.running_mean.square(), second)


def test_the_lag_of_an_average_on_a_ramp() -> None:
    """Means that rise by one each step are remembered (1 - m) / m steps late."""
    layer: Any = norm.Norm(1, norm.batch_norm(momentum=0.1)).double()
    for step in range(400):
        layer(step + torch.tensor([[-1.0], [1.0]], dtype=torch.float64))
    assert 399 - float(layer.running_mean) == pytest.approx(9.0, abs=1e-9)


def test_half_precision_does_not_stall_the_average() -> None:
    """In bfloat16 an average with weight 0.001 would stop half way (at 0.5 on its way to 1)."""
    layer: Any = norm.Norm(C, norm.batch_norm(momentum=0.001)).bfloat16()
    x = torch.tensor([0.0, 2.0]).reshape(2, 1, 1).expand(2, C, 8).bfloat16()
    for _ in range(3000):
        layer(x)
    torch.testing.assert_close(layer.running_mean, torch.full((C,), 1 - 0.999**3000), rtol=1e-3, atol=0)
    assert layer.weight.dtype == torch.bfloat16
    assert layer.half().running_var.dtype == torch.float32
    assert layer.double().running_var.dtype == torch.float64


# Batch renormalization


def renorm(**settings: float) -> Any:
    settings = {"start": 0, "r_end": 0, "d_end": 0, **settings}
    layer: Any = norm.Norm(C, norm.NormPolicy(memory=norm.Renorm(**settings))).double()  # type: ignore[arg-type]
    with torch.no_grad():
        for index, parameter in enumerate(layer.parameters()):
            parameter.copy_(values(C, seed=10 + index))
        layer.running_mean.copy_(values(C, seed=20))
        layer.running_var.copy_(values(C, seed=21).square() + 0.5)
    return layer


def test_without_room_it_is_batch_norm() -> None:
    layer, x = renorm(r_max=1.0, d_max=0.0), values(6, C, 3)
    torch.testing.assert_close(layer(x), F.batch_norm(x, None, None, layer.weight, layer.bias, training=True))


def test_gradients_through_both_passes_also_second_ones_and_twice() -> None:
    """Without room the correction is a constant, so that finite differences see what autograd sees."""
    layer = renorm(r_max=1.0, d_max=0.0)

    def run(x: Tensor, gamma: Tensor, beta: Tensor) -> Any:
        with route(layer, Routing(("main",)), Trace.NOTHING):
            return torch.func.functional_call(layer, {"weight": gamma, "bias": beta}, (x,))

    inputs = values(6, C, 3).requires_grad_(), layer.weight, layer.bias
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)
    loss = run(*inputs).square().sum()
    once = torch.autograd.grad(loss, inputs, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(loss, inputs), once)
    (of_gamma,) = torch.autograd.grad(run(*inputs).square().sum(), inputs[1:2])
    torch.testing.assert_close(of_gamma, once[1])


def test_with_all_room_training_is_inference_with_gradients_of_batch_norm() -> None:
    layer, x = renorm(r_max=math.inf, d_max=math.inf), values(6, C, 3).requires_grad_()
    expected = layer.eval()(x)
    spread = (layer.running_var + 1e-5).sqrt().clone()
    y = layer.train()(x)
    torch.testing.assert_close(y, expected)
    weights = values(6, C, 3, seed=1)
    (y * weights).sum().backward()
    twin = x.detach().clone().requires_grad_()
    ratio = (twin.var((0, 2), correction=0) + 1e-5).sqrt().detach() / spread
    plain = F.batch_norm(twin, None, None, layer.weight.detach(), None, training=True)
    (plain * weights * ratio[:, None]).sum().backward()
    torch.testing.assert_close(x.grad, twin.grad)


def test_corrections_are_clipped() -> None:
    layer, x = renorm(r_max=1.1, d_max=0.2), values(6, C, 3)
    mean, variance = x.mean((0, 2)), x.var((0, 2), correction=0)
    own, remembered = (variance + 1e-5).sqrt(), (layer.running_var + 1e-5).sqrt()
    ratio = (own / remembered).clamp(1 / 1.1, 1.1)
    distance = ((mean - layer.running_mean) / remembered).clamp(-0.2, 0.2)
    assert ((ratio == 1.1) | (ratio == 1 / 1.1)).any()
    line = (x - mean[:, None]) / own[:, None] * ratio[:, None] + distance[:, None]
    expected = line * layer.weight[:, None] + layer.bias[:, None]
    torch.testing.assert_close(layer(x), expected)


def test_the_memory_moves_by_the_batch() -> None:
    layer, x = renorm(momentum=0.25), values(6, C, 3)
    before = layer.running_mean.clone(), layer.running_var.clone()
    layer(x)
    torch.testing.assert_close(layer.running_mean, 0.75 * before[0] + 0.25 * x.mean((0, 2)))
    torch.testing.assert_close(layer.running_var, 0.75 * before[1] + 0.25 * x.var((0, 2)))


def test_the_schedule_counts_updates_of_the_memory() -> None:
    def limits(updates: int, **settings: float) -> tuple[float, float]:
        r_max, d_max = norm.Renorm(**settings).limits(torch.tensor(updates))  # type: ignore[arg-type]
        return float(r_max), float(d_max)

    assert limits(0) == limits(5_000) == (1.0, 0.0)
    assert limits(22_500)[0] == 2.0
    assert limits(15_000)[1] == 2.5
    assert limits(10**6) == (3.0, 5.0)
    assert limits(5_000, r_max=math.inf, d_max=math.inf) == (1.0, 0.0)
    layer = renorm(r_max=3.0, d_max=5.0, start=2, r_end=4, d_end=4)
    x = values(6, C, 3)
    plain = F.batch_norm(x, None, None, layer.weight, layer.bias, training=True)
    torch.testing.assert_close(layer(x), plain)
    layer(x), layer(x)
    assert not torch.allclose(layer(x), plain)


def test_renormalized_ghosts() -> None:
    settings = norm.Renorm(start=0, r_end=0, d_end=0, r_max=math.inf, d_max=math.inf)
    layer: Any = norm.Norm(C, norm.ghost(3) | norm.NormPolicy(memory=settings)).double()
    x = values(6, C, 3)
    torch.testing.assert_close(layer(x), norm.Norm(C).double().eval()(x))
