"""Converting whole models: what is kept, what is refused, and the way back."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from elinvar import norm
from elinvar.check import InputError


def layer(net: nn.Sequential, place: int) -> Any:
    """A layer of a Sequential, whose attributes mypy cannot know."""
    return net[place]


def model() -> nn.Sequential:
    torch.manual_seed(0)
    shared = nn.BatchNorm2d(4, momentum=0.01, eps=1e-3)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), shared, nn.ReLU(), nn.Conv2d(4, 4, 1), shared,
        nn.BatchNorm2d(4, momentum=None, affine=False), nn.Flatten(), nn.Linear(144, 5), nn.BatchNorm1d(5),
    )  # fmt: skip
    for _ in range(3):
        net(torch.randn(6, 3, 8, 8))
    return net


def test_conversion_changes_no_output_and_restoring_gives_the_model_back() -> None:
    net = model()
    ours = norm.convert(copy.deepcopy(net), norm.batch_norm())
    assert list(ours.state_dict()) == list(net.state_dict())
    assert layer(ours, 1) is layer(ours, 4)
    x = torch.randn(6, 3, 8, 8)
    for training in (True, False):
        net.train(training), ours.train(training)
        assert torch.equal(net(x), ours(x))
    again = norm.convert(ours, norm.batch_norm())
    assert layer(again, 1) is layer(ours, 1)
    back = norm.restore(ours)
    assert [str(a) for a in back] == [str(b) for b in net]
    assert torch.equal(net(x), back(x))
    assert not layer(back, 1).training


def test_branches_start_from_the_layers_own_state_and_checkpoints_load_both_ways() -> None:
    net = model()
    split = norm.convert(copy.deepcopy(net), norm.split(("main", "aux")))
    aux = layer(split, 1).branches["aux"]
    assert torch.equal(aux.running_mean, layer(net, 1).running_mean)
    assert torch.equal(aux.weight, layer(net, 1).weight)
    assert layer(split, 5).policy.affine is norm.Affine.NONE
    assert layer(split, 1).momentum == 0.01
    assert layer(split, 5).momentum is None
    fresh = norm.convert(model(), norm.split(("main", "aux")))
    with torch.no_grad():
        layer(net, 1).running_mean.add_(1)
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(layer(fresh, 1).branches["aux"].running_mean, layer(net, 1).running_mean)
    with torch.no_grad():
        layer(fresh, 1).branches["aux"].running_mean.add_(1)
        layer(fresh, 1).branches["aux"].weight.add_(1)
    restored = norm.restore(fresh, branch="aux")
    assert torch.equal(layer(restored, 1).running_mean, layer(net, 1).running_mean + 1)
    assert torch.equal(layer(restored, 1).weight, layer(net, 1).weight + 1)


def test_mode_dtype_and_frozen_parameters_are_kept() -> None:
    net = model().double().eval()
    layer(net, 1).weight.requires_grad_(False)
    ours = norm.convert(net, norm.split(("main", "aux")))
    assert not layer(ours, 1).training
    assert layer(ours, 1).branches["aux"].running_var.dtype == torch.float64
    assert not layer(ours, 1).weight.requires_grad
    assert not layer(ours, 1).branches["aux"].weight.requires_grad
    assert layer(ours, 1).bias.requires_grad


def test_a_bare_layer_is_converted_too() -> None:
    assert isinstance(norm.convert(nn.BatchNorm1d(3), norm.batch_norm()), norm.Norm)
    assert isinstance(norm.restore(norm.Norm(3)), nn.BatchNorm2d)


def test_what_cannot_be_converted_is_refused_by_name() -> None:
    class Activated(nn.BatchNorm2d):
        pass

    mixed = nn.Sequential(nn.BatchNorm2d(3), Activated(3))
    with pytest.raises(InputError, match="Activated"):
        norm.convert(mixed, norm.batch_norm())
    assert type(mixed[0]) is nn.BatchNorm2d  # an error changes nothing
    with pytest.raises(InputError, match="no_memory"):
        norm.convert(nn.BatchNorm2d(3, track_running_stats=False), norm.batch_norm())
    with pytest.raises(InputError, match="no branch 'x'"):
        norm.restore(norm.Norm(3), branch="x")


def test_an_optimizer_built_before_goes_on_training_the_same_parameters() -> None:
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    norm.convert(net, norm.batch_norm())
    assert {id(p) for p in net.parameters()} == held
    before = layer(net, 1).weight.detach().clone()
    net(torch.randn(6, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(layer(net, 1).weight, before)


def test_more_branches_and_old_checkpoints_start_from_the_first() -> None:
    two = norm.convert(model(), norm.split(("main", "aux")))
    with torch.no_grad():
        layer(two, 1).branches["aux"].running_mean.add_(1)
    old = {key: value for key, value in model().state_dict().items() if "num_batches" not in key}
    two.load_state_dict(old)
    layer(two, 1).branches["aux"].weight.requires_grad_(False)
    three = norm.convert(two, norm.split(("main", "aux", "third")))
    assert torch.equal(layer(three, 1).branches["third"].running_mean, layer(three, 1).running_mean)
    assert layer(three, 1).weight.requires_grad
    assert layer(three, 1).branches["third"].weight.requires_grad
    assert not layer(three, 1).branches["aux"].weight.requires_grad
