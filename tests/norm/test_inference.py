"""Laws of the test-time rules: by memory, by the own batch, by example, with a reference batch, frozen."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from elinvar import norm
from elinvar.check import InputError
from elinvar.norm.moments import mixed
from elinvar.routing import Routing, Trace, route
from norm_reference import example_weighted

C = 6


def values(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).mul(2).add(1).to(dtype)


def trained(policy: norm.NormPolicy, dtype: torch.dtype = torch.float64) -> Any:
    """A layer that has seen a few batches, in eval mode."""
    layer = norm.Norm(C, policy).to(dtype)
    with torch.no_grad():
        for index, parameter in enumerate(layer.parameters()):
            parameter.copy_(values(C, seed=10 + index))
    for step in range(3):
        with route(layer, Routing(layer.policy.branches, (5,) * len(layer.policy.branches)), Trace.COMMIT):
            layer(values(5 * len(layer.policy.branches), C, 3, 3, seed=step, dtype=dtype))
    return layer.eval()


def with_inference(layer: norm.Norm, inference: norm.Inference) -> Any:
    other = copy.deepcopy(layer)
    other.policy = replace(other.policy, inference=inference)
    return other


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("alpha", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("channels_last", [False, True])
def test_example_weighting_is_the_mixture_of_raw_moments(width: int, alpha: float, channels_last: bool) -> None:
    policy = norm.batch_norm() if width == 1 else norm.batch_group(C // width)
    layer = trained(policy)
    x = values(4, C, 5, 3, seed=7)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    weighted = with_inference(layer, norm.ExampleWeighted(alpha))
    plain = example_weighted(x, layer.running_mean, layer.running_var, alpha=alpha, width=width)
    expected = plain * layer.weight[:, None, None] + layer.bias[:, None, None]
    with torch.no_grad():
        kernel = weighted(x)
    differentiable = weighted(x)  # gamma wants gradients: the path that autograd can follow
    torch.testing.assert_close(kernel, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(differentiable, expected, rtol=1e-9, atol=1e-9)
    assert kernel.stride() == x.stride()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_example_weighting_in_narrow_numbers(dtype: torch.dtype) -> None:
    layer = with_inference(trained(norm.batch_norm(), torch.float32), norm.ExampleWeighted(0.3))
    x = values(4, C, 9, 9, seed=7, dtype=dtype)
    with torch.no_grad():
        y = layer(x)
    expected = example_weighted(x, layer.running_mean, layer.running_var, alpha=0.3)
    expected = expected * layer.weight.double()[:, None, None] + layer.bias.double()[:, None, None]
    tolerance = 1e-5 if dtype is torch.float32 else 1e-2
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), expected.detach(), rtol=tolerance, atol=10 * tolerance)


def test_the_neutral_weights() -> None:
    layer, x = trained(norm.batch_norm()), values(4, C, 5, 3, seed=7)
    torch.testing.assert_close(with_inference(layer, norm.ExampleWeighted(0.0))(x), layer(x), rtol=1e-12, atol=1e-12)
    one = with_inference(layer, norm.ExampleWeighted(1.0))
    torch.testing.assert_close(one(x), F.instance_norm(x, weight=layer.weight, bias=layer.bias))
    groups = trained(norm.batch_group(2))
    one = with_inference(groups, norm.ExampleWeighted(1.0))
    torch.testing.assert_close(one(x), F.group_norm(x, 2, groups.weight, groups.bias))
    without = replace(norm.group_norm(2), inference=norm.ExampleWeighted(1.0))
    forgetful = norm.Norm(C, without).double().eval()
    torch.testing.assert_close(forgetful(x), F.group_norm(x, 2))


@pytest.mark.parametrize("policy", [norm.batch_norm(), norm.batch_group(2), norm.ghost(2)], ids=str)
def test_other_images_of_the_batch_change_nothing(policy: norm.NormPolicy) -> None:
    layer = with_inference(trained(policy), norm.ExampleWeighted(0.4))
    x = values(6, C, 4, 4, seed=3)
    with torch.no_grad():
        together = layer(x)
        for row in range(6):
            assert torch.equal(layer(x[row : row + 1]), together[row : row + 1])


def test_each_branch_weighs_its_own_memory() -> None:
    layer = trained(norm.split() | norm.example_weighted(0.25))
    x = values(5, C, 4, 4, seed=3)
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            with route(layer, Routing(("aux", "main"), (2, 3)), Trace.NOTHING):
                y = layer(x)
            with norm.branch(layer, "aux"):
                aux = layer(x[:2])
            torch.testing.assert_close(y, torch.cat([aux, layer(x[2:])]))
    assert not torch.allclose(aux, layer(x[:2]))


def test_gradients_through_example_weighting() -> None:
    layer = with_inference(trained(norm.batch_norm()), norm.ExampleWeighted(0.3))
    assert torch.autograd.gradcheck(layer, (values(3, C, 2, 2).requires_grad_(),))


@given(alpha=st.floats(0, 1), seed=st.integers(0, 2**31))
def test_the_mixed_variance_is_that_of_raw_moments_and_never_negative(alpha: float, seed: int) -> None:
    own, memory = ((values(1, 3, seed=seed + i), values(1, 3, seed=seed + 2 + i).square()) for i in (0, 10))
    mean, variance = mixed(own, memory, alpha)
    second = alpha * (own[1] + own[0].square()) + (1 - alpha) * (memory[1] + memory[0].square())
    torch.testing.assert_close(variance, second - mean.square(), rtol=1e-9, atol=1e-9)
    assert (variance >= 0).all()


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.5])
def test_vectors_have_the_bound_of_training(alpha: float) -> None:
    """|x_hat| < sqrt((1 - a) / a), which at a = 1 / B is training's sqrt(B - 1)."""
    layer = norm.Norm(1, norm.example_weighted(alpha)).double().eval()
    bound = ((1 - alpha) / alpha) ** 0.5
    assert float(layer(torch.full((1, 1), 1e6, dtype=torch.float64)).detach()) == pytest.approx(bound, rel=1e-6)
    assert float(layer(torch.full((1, 1), 3.0, dtype=torch.float64)).detach()) < bound


def test_alpha_one_needs_more_than_one_value() -> None:
    layer = norm.Norm(C, norm.example_weighted(1.0)).eval()
    with pytest.raises(InputError, match="use a smaller alpha"):
        layer(torch.randn(4, C))
    assert layer(torch.randn(4, C, 2)).isfinite().all()
    assert layer(torch.randn(0, C, 2)).shape == (0, C, 2)


def test_memories_are_pooled_over_channel_groups() -> None:
    layer, x = trained(norm.batch_group(2)), values(3, C, 4, 4, seed=5)
    mean, variance = layer.running_mean.reshape(2, 3), layer.running_var.reshape(2, 3)
    center = mean.mean(1, keepdim=True)
    spread = (variance + (mean - center).square()).mean(1, keepdim=True)
    shape = (1, 2, 3, 4, 4)
    normalized = (x.reshape(3, 2, 3, 4, 4) - center.reshape(1, 2, 1, 1, 1)) / (
        spread.reshape(1, 2, 1, 1, 1) + 1e-5
    ).sqrt()
    assert normalized.shape[1:] == shape[1:]
    expected = normalized.reshape(x.shape) * layer.weight[:, None, None] + layer.bias[:, None, None]
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("prior", [0.0, 4.0, 1e12])
def test_the_own_batch_with_a_prior(prior: float) -> None:
    layer, x = trained(norm.batch_norm()), values(8, C, 4, 4, seed=5)
    own = with_inference(layer, norm.OwnBatch(prior))
    before = {key: value.clone() for key, value in own.state_dict().items()}
    share = prior / (prior + 8)
    mean = share * layer.running_mean + (1 - share) * x.mean((0, 2, 3))
    variance = share * layer.running_var + (1 - share) * x.var((0, 2, 3), correction=0)
    torch.testing.assert_close(own(x), F.batch_norm(x, mean, variance, layer.weight, layer.bias))
    assert all(torch.equal(before[key], value) for key, value in own.state_dict().items())


def test_ghosts_at_test_when_the_own_batch_normalizes() -> None:
    layer: Any = norm.Norm(C, norm.ghost(4) | norm.NormPolicy(inference=norm.OwnBatch())).double()
    x = values(12, C, 3, 3)
    training = layer(x)
    before = layer.running_mean.clone()
    assert torch.equal(layer.eval()(x), training)
    assert torch.equal(layer.running_mean, before)


# A reference batch


def network() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.BatchNorm2d(2)
    ).double()


def test_a_reference_batch_joins_the_statistics_without_gradients() -> None:
    model = norm.convert(network(), norm.batch_norm())
    plain = copy.deepcopy(model)
    x, reference = values(3, 3, 8, 8), values(5, 3, 8, 8, seed=1)
    virtual: Any = norm.VirtualBatch(model, reference)
    y = virtual(x)
    torch.testing.assert_close(y, plain(torch.cat([x, reference]))[:3])
    torch.testing.assert_close(dict(model.state_dict()), dict(plain.state_dict()))
    assert list(virtual.state_dict()) == [f"model.{key}" for key in model.state_dict()]
    # The first convolution learns from the batch alone, through statistics that hold the reference as a constant.
    y.square().sum().backward()
    weight = plain[0].weight
    constant = plain[0](reference).detach()
    after = F.conv2d(x, weight, plain[0].bias)
    hidden = torch.cat([after, constant])
    hidden = F.relu(F.batch_norm(hidden, None, None, training=True))
    joined = torch.cat([plain[3](hidden[:3]), plain[3](hidden[3:]).detach()])
    F.batch_norm(joined, None, None, training=True)[:3].square().sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(model[0].weight.grad, weight.grad)


def test_one_test_example_is_normalized_together_with_the_reference() -> None:
    model = norm.convert(network(), norm.batch_norm() | norm.NormPolicy(inference=norm.OwnBatch()))
    virtual = norm.VirtualBatch(model, values(5, 3, 8, 8, seed=1)).eval()
    x = values(1, 3, 8, 8)
    torch.testing.assert_close(virtual(x), model(torch.cat([x, virtual.reference]))[:1])
    remembering = norm.VirtualBatch(norm.convert(network(), norm.batch_norm()), virtual.reference).eval()
    assert torch.equal(remembering(x), remembering.model(x))


def test_reference_batches_that_make_no_sense() -> None:
    reference = values(2, 3, 8, 8)
    with pytest.raises(InputError, match="convert the model first"):
        norm.VirtualBatch(network(), reference)
    with pytest.raises(InputError, match="serves one branch"):
        norm.VirtualBatch(norm.convert(network(), norm.split()), reference)
    with pytest.raises(InputError, match="is empty"):
        norm.VirtualBatch(norm.convert(network(), norm.batch_norm()), reference[:0])
    with pytest.raises(InputError, match="joins one group of rows"):
        norm.VirtualBatch(norm.convert(network(), norm.ghost(2)), reference)(values(4, 3, 8, 8))
    virtual = norm.VirtualBatch(norm.convert(network(), norm.per_view()), reference)
    with (
        route(virtual, Routing(("main", "main"), (2, 2)), Trace.NOTHING),
        pytest.raises(InputError, match="joins one view"),
    ):
        virtual(values(4, 3, 8, 8))


# Frozen


@pytest.mark.parametrize(
    "policy", [norm.batch_norm(), norm.split(), norm.batch_group(2)], ids=["plain", "split", "group"]
)
def test_a_frozen_memory_normalizes_training_and_stays(policy: norm.NormPolicy) -> None:
    layer = trained(policy)
    layer.policy = replace(layer.policy, memory=norm.Frozen(layer.policy.memory))
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    x = values(5, C, 3, 3, seed=9).requires_grad_()
    expected = layer(x)
    y = layer.train()(x)
    assert torch.equal(y, expected)
    y.sum().backward()
    norm.commit(layer)
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())
    if policy == norm.batch_norm():
        slope = layer.weight / (layer.running_var + 1e-5).sqrt()
        torch.testing.assert_close(x.grad, slope[:, None, None].expand(5, C, 3, 3))
