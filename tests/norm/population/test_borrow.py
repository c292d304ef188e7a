"""A model for the duration of a procedure: unwrapped, eager, with `Norm` layers that share everything."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elinvar import norm
from elinvar.check import InputError
from elinvar.norm.conversion.borrow import borrowed, peel
from elinvar.norm.population import precise
from population_nets import images, memory_of, mixed, parts

X = images(12)


def test_norms_share_parameters_and_memory_and_the_model_comes_back() -> None:
    model = mixed().train()
    model.add_module("again", model.bn1)
    modules, plain = dict(model.named_modules()), copy.deepcopy(model)
    with borrowed(model) as inside:
        assert inside is model
        assert isinstance(model.bn1, norm.Norm)
        assert model.again is model.bn1
        assert model.bn1.weight is modules["bn1"].weight
        assert model.bn1.running_var is modules["bn1"].running_var
        assert model.bn1.num_batches_tracked is modules["bn1"].num_batches_tracked
        torch.manual_seed(0)
        y = inside(X)
    torch.manual_seed(0)
    torch.testing.assert_close(y, plain(X), rtol=0, atol=0)
    assert all(module is modules[name] for name, module in model.named_modules())
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=0, atol=0)  # training was remembered


def test_what_cannot_be_lent_is_refused_and_nothing_has_changed() -> None:
    class Unknown(nn.BatchNorm2d):
        pass

    net = nn.Sequential(nn.BatchNorm2d(3), Unknown(3))
    with pytest.raises(InputError, match="Unknown"), borrowed(net):
        pass
    assert type(net[0]) is nn.BatchNorm2d


def test_a_model_that_is_a_layer_and_layers_without_memory() -> None:
    layer = nn.BatchNorm2d(3)
    with borrowed(layer) as inside:
        assert isinstance(inside, norm.Norm)
        inside(X)
    assert layer.running_mean is not None
    assert layer.running_mean.abs().min() > 0
    forgetful = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)).eval()
    with borrowed(forgetful) as inside:
        torch.testing.assert_close(inside(X).mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-6)
    ours = norm.convert(mixed(), norm.split())
    own = ours.bn1
    with borrowed(ours):
        assert ours.bn1 is own


def test_a_memory_in_half_precision_is_lent_in_float32_and_rounded_back() -> None:
    model = mixed().bfloat16().train()
    buffers = dict(model.named_buffers())
    with borrowed(model):
        assert model.bn1.running_mean.dtype == torch.float32
        model(X.bfloat16())
        wide = model.bn1.running_mean.clone()
    assert all(buffer is buffers[name] for name, buffer in model.named_buffers())
    torch.testing.assert_close(model.bn1.running_mean, wide.bfloat16(), rtol=0, atol=0)
    assert memory_of(model)["bn1.running_var"].dtype == torch.bfloat16


def test_lent_layers_fire_the_hooks_of_the_layers() -> None:
    model, calls = mixed().eval(), []

    def before(module: nn.Module, args: tuple[Tensor]) -> None:
        calls.append(type(module).__name__)

    model.bn1.register_forward_pre_hook(before)
    with borrowed(model) as inside:
        inside(X)
    model(X)
    assert calls == ["Norm", "BatchNorm2d"]


def test_wrappers_and_compiled_parts_are_left_out() -> None:
    # In a process of its own: the shape checks of the tests cannot be compiled.
    code = f"""
import sys, torch
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from population_nets import Mixed, images, memory_of
from elinvar.norm.conversion.borrow import bare
from elinvar.norm.population import precise
torch.set_num_threads(1)
plain = Mixed()
precise(plain, images(12).split(4), method="layerwise")
def wrapped():
    model = Mixed()
    whole = torch.compile(torch.nn.DataParallel(model), backend="eager")
    model.stem = torch.compile(model.stem, backend="eager")
    model.left.compile(backend="eager")
    return model.eval(), whole
model, whole = wrapped()
stem, call = model.stem, model.left._compiled_call_impl
with bare(whole) as inside:
    assert inside is model and type(inside.stem) is torch.nn.Sequential
    assert inside.left._compiled_call_impl is None
assert model.stem is stem and model.left._compiled_call_impl is call is not None
for method in ("joint", "layerwise"):
    model, whole = wrapped()
    whole(images(4))
    report = precise(whole, images(12).split(4), method=method)
    report.undo()
    fresh = Mixed()
    torch.testing.assert_close([*memory_of(model).values()], [*memory_of(fresh).values()], rtol=0, atol=0)
    precise(whole, images(12).split(4), method=method)
    if method == "layerwise":
        torch.testing.assert_close([*memory_of(model).values()], [*memory_of(plain).values()], rtol=0, atol=0)
    assert whole(images(4)).shape == (4, 4)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_everything_comes_back_after_an_error() -> None:
    model = mixed()
    model.stem = nn.DataParallel(model.stem)
    stem, modules = model.stem, dict(model.named_modules())
    with pytest.raises(KeyError), borrowed(model) as inside:
        assert inside is model
        assert isinstance(model.bn1, norm.Norm)
        assert model.stem is peel(stem) is stem.module
        raise KeyError
    assert all(module is modules[name] for name, module in model.named_modules())


@pytest.mark.parametrize("method", ["joint", "layerwise"])
def test_hooks_of_the_user_take_part_and_can_remove_themselves(method: str) -> None:
    model, plain, calls = mixed(), mixed(), []
    once: list[Any] = []

    def before(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        return (args[0] + 1,)

    def after(module: nn.Module, args: Any, kwargs: dict[str, Any], out: Tensor) -> None:
        calls.append(type(module).__name__)
        once[0].remove()

    model.bn1.register_forward_pre_hook(before)
    once.append(model.bn1.register_forward_hook(after, with_kwargs=True, always_call=True))
    precise(model, parts(X, 4), method=method)
    precise(plain, parts(X, 4), method=method)
    assert calls == ["BatchNorm2d"]
    torch.testing.assert_close(model.bn1.running_mean, plain.bn1.running_mean + 1, rtol=1e-5, atol=1e-6)
    assert len(model.bn1._forward_pre_hooks) == 1


def test_a_model_may_be_one_layer_and_take_its_input_by_name() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn = nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.bn(input=x)
            return out

    layer, named = nn.BatchNorm2d(3), Named()
    precise(layer, [X])
    precise(named, [X])
    assert layer.running_mean is not None
    torch.testing.assert_close(layer.running_mean, X.mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(named.bn.running_mean, layer.running_mean, rtol=0, atol=0)
