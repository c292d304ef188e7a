"""Frozen layers stand still through everything that happens to a model, and thaw to what they were."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from elinvar import norm
from elinvar.check import InputError


def model(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.01), nn.ReLU(), nn.Conv2d(4, 4, 1))
    net.append(nn.BatchNorm2d(4, affine=False, momentum=None))
    for _ in range(3):
        net(torch.randn(6, 3, 8, 8))
    return net


def state(net: nn.Module) -> dict[str, Any]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


X = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_a_frozen_model_normalizes_in_training_as_at_test_and_remembers_nothing() -> None:
    net = model()
    expected = copy.deepcopy(net).eval()(X)
    frozen = norm.freeze(net)
    before = state(frozen)
    for again in (frozen, copy.deepcopy(frozen), pickle.loads(pickle.dumps(frozen))):
        again.eval().train()
        assert torch.equal(again(X), expected)
        assert again[1].training
        assert same(state(again), before)
        assert str(again).count("Frozen(") == 2


def test_gradients_pass_through_a_fixed_line() -> None:
    net = norm.freeze(model().double())
    layer, x = net[1], torch.randn(2, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    layer(x).sum().backward()
    line = layer.weight / (layer.running_var + layer.eps).sqrt()
    torch.testing.assert_close(x.grad, line.detach().reshape(1, 4, 1, 1).expand_as(x))
    assert layer.weight.grad is None


def test_what_froze_thaws_to_what_it_was() -> None:
    net = model()
    net[1].bias.requires_grad_(False)
    plain = copy.deepcopy(net)
    thawed = norm.unfreeze(norm.freeze(norm.freeze(net, affine=False)))
    assert thawed[1].policy.memory == norm.Ema(0.01)
    assert thawed[4].policy.memory == norm.Average()
    assert thawed[1].weight.requires_grad
    assert not thawed[1].bias.requires_grad
    assert torch.equal(thawed(X), plain(X))
    torch.testing.assert_close(thawed.state_dict(), plain.state_dict())
    assert [str(a) for a in norm.restore(thawed)] == [str(b) for b in plain]


def test_a_momentum_that_is_set_waits_until_the_layer_thaws() -> None:
    net = norm.freeze(model())
    for module in net.modules():
        if hasattr(module, "momentum"):
            module.momentum = 0.5
    before = state(net)
    net(X)
    assert same(state(net), before)
    assert norm.unfreeze(net)[4].policy.memory == norm.Ema(0.5)


def test_gamma_and_beta_may_go_on_training() -> None:
    net = norm.freeze(model(), affine=False)
    assert net[1].weight.requires_grad
    assert norm.freeze(net)[1].weight.requires_grad is False
    assert norm.unfreeze(net)[1].weight.requires_grad


def test_every_branch_freezes_and_a_policy_waits_until_the_layer_thaws() -> None:
    net = norm.freeze(norm.convert(model(), norm.split()))
    before = state(net)
    for name in ("main", "aux"):
        with norm.branch(net, name):
            net(X)
    assert same(state(net), before)
    assert not net[1].branches["aux"].weight.requires_grad
    norm.convert(net, norm.split(("main", "aux", "third"), momentum=0.5))
    assert "Frozen(before=Ema(momentum=0.5)" in str(net[1])
    assert not net[1].branches["third"].weight.requires_grad
    assert norm.unfreeze(net)[1].policy.memory == norm.Ema(0.5)
    assert net[1].branches["third"].weight.requires_grad


def test_checkpoints_of_frozen_and_plain_models_are_alike() -> None:
    plain, frozen = model(seed=1), norm.freeze(model(seed=2))
    assert list(plain.state_dict()) == list(frozen.state_dict())
    frozen.load_state_dict(plain.state_dict())
    frozen.train()(X)
    assert same(state(frozen), state(plain))
    plain.load_state_dict(frozen.state_dict())


class FrozenBatchNorm2d(nn.Module):
    """As in detection libraries: everything is a buffer."""

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        for name, value in (("weight", 2.0), ("bias", 1.0), ("running_mean", 0.5), ("running_var", 4.0)):
            self.register_buffer(name, torch.full((num_features,), value))

    def forward(self, x: Any) -> Any:
        weight, bias, mean, var = (b.reshape(1, -1, 1, 1) for b in self.buffers())
        return (x - mean) / (var + self.eps).sqrt() * weight + bias


def test_frozen_layers_of_other_libraries_stay_frozen_until_they_are_thawed() -> None:
    theirs: Any = nn.Sequential(FrozenBatchNorm2d(3, eps=1e-3))
    ours = norm.convert(copy.deepcopy(theirs), norm.split())
    assert ours[0].eps == 1e-3
    assert not any(parameter.requires_grad for parameter in ours.parameters())
    before = state(ours)
    torch.testing.assert_close(ours.train()(X), theirs(X))
    assert same(state(ours), before)
    back: Any = norm.restore(ours)
    assert type(back[0]) is FrozenBatchNorm2d
    assert same(state(back), state(theirs))
    ours.load_state_dict(theirs.state_dict())  # which counts no batches
    for thawed in (norm.unfreeze(ours), norm.unfreeze(copy.deepcopy(theirs))):
        assert all(parameter.requires_grad for parameter in thawed.parameters())
        assert not isinstance(thawed[0].policy.memory, norm.Frozen)
        thawed(X)
        assert thawed[0].num_batches_tracked == 1
        assert type(norm.restore(thawed)[0]) is nn.BatchNorm2d


def test_what_cannot_be_frozen_is_refused_and_nothing_changes() -> None:
    class Unknown(nn.BatchNorm2d):
        pass

    with pytest.raises(InputError, match="no BatchNorm layer to freeze"):
        norm.freeze(nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)))
    with pytest.raises(InputError, match="no memory to freeze"):
        norm.freeze(norm.convert(model(), norm.no_memory()))
    net = nn.Sequential(nn.BatchNorm2d(3), norm.Norm(3), Unknown(3))
    with pytest.raises(InputError, match="Unknown"):
        norm.freeze(net)
    assert type(net[0]) is nn.BatchNorm2d
    assert net[1].policy == norm.Norm(3).policy
    with pytest.raises(InputError, match=r"norm\.unfreeze"):
        norm.restore(norm.freeze(model()))
    with pytest.raises(InputError, match=r"norm\.unfreeze"):
        norm.convert(norm.freeze(model()), norm.no_memory())
    with pytest.raises(InputError, match="`eps`"):
        bare: Any = FrozenBatchNorm2d(3)
        del bare.eps
        norm.convert(bare, norm.batch_norm())
