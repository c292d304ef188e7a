"""torch.compile, torch.func, copies and casts over a table of policies."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elinvar import norm

POLICIES = {
    "plain": norm.batch_norm(),
    "average": norm.NormPolicy(memory=norm.Average()),
    "ghost": norm.ghost(4),
    "batch_group": norm.batch_group(2),
    "group_norm": norm.group_norm(2),
    "example_weighted": norm.example_weighted(0.2),
    "frozen": norm.NormPolicy(memory=norm.Frozen()),
    "renorm": norm.NormPolicy(memory=norm.Renorm(start=0, r_end=2, d_end=2)),
    "split": norm.split() | norm.ghost(2),
}


def network(policy: norm.NormPolicy) -> nn.Sequential:
    torch.manual_seed(0)
    return norm.convert(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()), policy)


def test_every_policy_compiles_into_one_graph() -> None:
    # In a process of its own: the shape checks of the tests cannot be compiled.
    code = """
import copy, sys, warnings
import torch
warnings.simplefilter("error")
sys.path.insert(0, sys.argv[1])
from test_transforms import POLICIES, network
for name, policy in POLICIES.items():
    model = network(policy)
    plain = copy.deepcopy(model)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for mode in (True, True, False):
        model.train(mode), plain.train(mode)
        x, y = (torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2))
        a, b = compiled(x), plain(y)
        a.square().sum().backward(), b.square().sum().backward()
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=lambda text: f"{name}: {text}")
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(dict(model.state_dict()), dict(plain.state_dict()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, __file__.rpartition("/")[0]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", POLICIES)
def test_functional_calls_and_derivatives_of_functions(name: str) -> None:
    model = network(POLICIES[name]).eval()
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(2))

    def loss(x: Tensor, parameters: Mapping[str, Tensor]) -> Any:
        return torch.func.functional_call(model, dict(parameters), (x,)).square().sum()

    parameters = dict(model.named_parameters())
    by_func = torch.func.grad(loss, argnums=1)(x, {name: p.detach() for name, p in parameters.items()})
    by_autograd = torch.autograd.grad(loss(x, parameters), list(parameters.values()), allow_unused=True)
    for ours, theirs in zip(by_func.values(), by_autograd, strict=True):
        torch.testing.assert_close(ours, torch.zeros_like(ours) if theirs is None else theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in POLICIES if name not in ("split",)])
def test_gradients_of_single_examples_by_vmap(name: str) -> None:
    model = network(POLICIES[name]).eval()
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(2))
    parameters = {key: p.detach() for key, p in model.named_parameters()}

    def loss(parameters: dict[str, Tensor], image: Tensor) -> Any:
        return torch.func.functional_call(model, parameters, (image.unsqueeze(0),)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    for row in range(4):
        alone = torch.func.grad(loss)(parameters, x[row])
        for key in parameters:
            torch.testing.assert_close(each[key][row], alone[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", POLICIES)
def test_copies_and_pickles_behave_alike(name: str) -> None:
    model = network(POLICIES[name])
    x = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    model(x)
    copies = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    expected = model(x), model.eval()(x)
    for other in copies:
        assert torch.equal(other(x), expected[0])
        assert torch.equal(other.eval()(x), expected[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("name", POLICIES)
def test_cast_layers_keep_their_memory_in_float32(name: str, dtype: torch.dtype) -> None:
    layer = norm.Norm(8, POLICIES[name]).to(dtype)
    wide = norm.Norm(8, POLICIES[name])
    for step in range(2):
        x = torch.randn(8, 8, 5, 5, generator=torch.Generator().manual_seed(step)).to(dtype)
        y = layer(x)
        assert y.dtype == dtype
        torch.testing.assert_close(y.float(), wide(x.float()), rtol=2e-2, atol=2e-2)
    for key, buffer in layer.named_buffers():
        if "running" in key:
            assert buffer.dtype == torch.promote_types(dtype, torch.float32)
            torch.testing.assert_close(buffer.float(), dict(wide.named_buffers())[key], rtol=1e-3, atol=1e-4)
