"""Fused models predict as before, say what became of each layer, and object to training."""

import copy
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elinvar import norm
from elinvar.check import InputError


def settled(net: Any) -> Any:
    """`net` in eval mode, with statistics, gamma and beta that are all different."""
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, norm.Norm | nn.modules.batchnorm._BatchNorm):
            for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
                if tensor.is_floating_point():
                    spread = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
                    tensor.data.copy_(spread + (0.5 if name == "running_var" else -0.4))
    return net.eval()


def pair(taker: Any, *shape: int) -> tuple[Any, Tensor]:
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[len(shape)]
    channels = taker.out_features if isinstance(taker, nn.Linear) else taker.out_channels
    net = settled(nn.Sequential(taker, kind(channels, eps=1e-3)).double())
    return net, torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


PAIRS: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (lambda: nn.Linear(4, 6), (3, 4)),
    (lambda: nn.Linear(4, 6, bias=False), (3, 4)),
    (lambda: nn.Conv1d(4, 6, 3), (2, 4, 9)),
    (lambda: nn.Conv2d(4, 6, 3, padding=1, bias=False), (2, 4, 5, 5)),
    (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2, stride=2, padding_mode="reflect"), (2, 4, 5, 5)),
    (lambda: nn.Conv2d(4, 4, 3, groups=4), (2, 4, 5, 5)),
    (lambda: nn.Conv3d(4, 6, 2), (2, 4, 3, 3, 3)),
    (lambda: nn.ConvTranspose1d(4, 6, 3), (2, 4, 5)),
    (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2, stride=2, output_padding=1), (2, 4, 5, 5)),
    (lambda: nn.ConvTranspose2d(4, 6, 3, bias=False), (2, 4, 5, 5)),
    (lambda: nn.ConvTranspose3d(4, 4, 2, groups=4), (2, 4, 3, 3, 3)),
]


@pytest.mark.parametrize(("taker", "shape"), PAIRS)
def test_each_kind_of_layer_takes_the_normalization_behind_it(
    taker: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    net, x = pair(taker(), *shape)
    before = copy.deepcopy(net)
    fused = norm.fuse(net)
    torch.testing.assert_close(fused(x), before(x), rtol=1e-12, atol=1e-12)
    assert fused.fusion == norm.Fusion({"1": "0"}, {})
    assert [str(a) for a in net] == [str(b) for b in before]  # a copy
    torch.testing.assert_close(net.state_dict(), before.state_dict(), rtol=0, atol=0)
    assert list(fused.state_dict()) == ["0.weight", "0.bias"]
    assert not any(parameter.requires_grad for parameter in fused.parameters())
    assert "into='0'" in str(fused)


class Blocks(nn.Module):
    """A residual block, normalization before a convolution, a layer that is called twice, and one in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.pre, self.conv3 = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)
        self.twice = nn.BatchNorm2d(4)
        self.aux = nn.BatchNorm2d(4)
        self.conv4, self.bn4 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.conv5, self.bn5 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.conv5.weight = self.conv3.weight
        self.conv6, self.bn6 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.conv7, self.bn7, self.bn8 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.bn9 = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = x + self.bn2(self.conv2(x))
        x = self.twice(self.conv3(torch.relu(self.pre(x))))
        x = self.twice(x)
        if self.training:
            x = self.aux(x)
        raw = self.conv4(x)
        x = self.bn4(raw) + raw
        x = self.bn5(self.conv5(x))
        x = self.bn6(self.conv6(x)) * self.conv6.weight.mean()
        x = self.bn8(self.conv7(self.bn7(self.conv7(x))))
        return self.head(self.bn9(torch.relu(x)).mean((2, 3)))


def test_a_layer_that_nothing_can_take_stays_and_says_why() -> None:
    net, x = settled(Blocks()), torch.randn(2, 3, 6, 6)
    fused: Any = norm.fuse(net)
    torch.testing.assert_close(fused(x), net(x), rtol=1e-5, atol=1e-6)
    assert fused.fusion.folded == {"bn1": "conv1", "bn2": "conv2"}
    reasons = {
        "pre": "comes from add, which is no layer",
        "twice": "several times",
        "aux": "not called in eval mode",
        "bn4": "others read the output of 'conv4'",
        "bn5": "others use the weight of 'conv5'",
        "bn6": "others use the weight of 'conv6'",
        "bn7": "'conv7' runs several times",
        "bn8": "'conv7' runs several times",
        "bn9": "comes from relu",
    }
    assert fused.fusion.kept.keys() == reasons.keys()
    for name, text in reasons.items():
        assert text in fused.fusion.kept[name]
    with pytest.warns(norm.FusedTrainingWarning) as warned:
        fused.train()
    assert len(warned) == 1
    fixed = copy.deepcopy(fused.pre.state_dict())
    fused(x)
    torch.testing.assert_close(fused.pre.state_dict(), fixed, rtol=0, atol=0)  # constants in training mode too


def test_hooks_and_unknown_convolutions_are_left_alone() -> None:
    class Standardized(nn.Conv2d):
        def forward(self, input: Any) -> Any:
            return self._conv_forward(input, self.weight - self.weight.mean(), self.bias)

    x = torch.randn(2, 3, 5, 5)
    for taker, text in ((Standardized(3, 4, 1), "conv2d, which is no layer"), (nn.Conv2d(3, 4, 1), "has hooks")):
        taker.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
        net = settled(nn.Sequential(taker, nn.BatchNorm2d(4)))
        fused: Any = norm.fuse(net)
        assert text in fused.fusion.kept["1"]
        torch.testing.assert_close(fused(x), net(x))


def test_training_is_warned_of_wherever_the_model_goes() -> None:
    net, _ = pair(nn.Conv2d(3, 4, 3), 1, 3, 5, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fused = norm.fuse(net.train())
        fused.eval()
    assert net.training
    assert not fused.training
    for again in (fused, copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        assert again.fusion == norm.Fusion({"1": "0"}, {})
        with pytest.warns(norm.FusedTrainingWarning, match=r"s\^2"):
            again.train()


def test_a_step_of_a_fused_weight_counts_s_squared() -> None:
    net, x = pair(nn.Linear(3, 2, bias=False), 4, 3)
    fused: Any = norm.fuse(net)
    fused[0].weight.requires_grad_()
    weights = torch.randn(4, 2, dtype=torch.float64)
    before = net(x).detach()
    for each in (net, fused):
        (each(x) * weights).sum().backward()
        with torch.no_grad():
            each[0].weight -= 0.01 * each[0].weight.grad
    s = net[1].weight / (net[1].running_var + net[1].eps).sqrt()
    torch.testing.assert_close((net(x) - before) / (fused(x) - before), s.square().expand(4, 2), rtol=1e-9, atol=0)


@pytest.mark.parametrize("branch", [None, "main", "aux"])
def test_one_branch_is_fused(branch: str | None) -> None:
    layers = [nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)]
    net = settled(norm.convert(nn.Sequential(*layers), norm.split()))
    x = torch.randn(2, 3, 5, 5)
    with norm.branch(net, branch or "main"):
        expected = net(x)
    torch.testing.assert_close(norm.fuse(net, branch=branch)(x), expected, rtol=1e-5, atol=1e-6)


def test_shared_channels_frozen_layers_and_half_precision_fold_too() -> None:
    x = torch.randn(2, 3, 5, 5)
    for policy in (norm.batch_group(2), norm.ghost(2), norm.NormPolicy(memory=norm.Frozen())):
        net = settled(norm.convert(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), policy))
        torch.testing.assert_close(norm.fuse(net)(x), net(x), rtol=1e-5, atol=1e-6)
    net = settled(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    fused = norm.fuse(copy.deepcopy(net).bfloat16())
    assert fused(x.bfloat16()).dtype == torch.bfloat16
    torch.testing.assert_close(fused(x.bfloat16()).float(), net(x), rtol=0.05, atol=0.05)


def test_a_layer_alone_becomes_constants() -> None:
    layer, x = settled(nn.BatchNorm1d(3)), torch.randn(4, 3)
    fused: Any = norm.fuse(layer)
    assert torch.equal(fused(x), layer(x))
    assert fused.fusion.kept == {"": "the model is this layer alone"}
    assert torch.equal(fused.train()(x), layer(x))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(3)

    def forward(self, x: Any) -> Any:
        return self.bn(x) if x.sum() > 0 else x


REFUSED: list[tuple[Callable[[], nn.Module], dict[str, Any], str]] = [
    (lambda: nn.Linear(3, 3), {}, "no BatchNorm layer to fuse"),
    (lambda: norm.Norm(3, norm.example_weighted(0.1)), {}, "ExampleWeighted.*rows at hand"),
    (lambda: norm.Norm(3, norm.no_memory()), {}, "OwnBatch.*rows at hand"),
    (lambda: nn.BatchNorm1d(3, track_running_stats=False), {}, "rows at hand"),
    (lambda: norm.Norm(3), {"branch": "aux"}, "no layer has a branch 'aux' to fuse; known: main"),
    (Branching, {}, r"torch\.fx cannot trace the forward of Branching.*one by one"),
]


@pytest.mark.parametrize(("make", "settings", "text"), REFUSED)
def test_what_cannot_be_fused_is_refused(make: Callable[[], nn.Module], settings: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        norm.fuse(make(), **settings)


def test_what_a_linear_layer_cannot_hold_is_noticed() -> None:
    net = settled(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))
    x = torch.randn(2, 4, 3)  # (N, C, L): the layer normalizes the second axis, not what the linear layer made
    net(x)
    with pytest.raises(InputError, match="second axis was normalized"):
        norm.fuse(net)(x)


def test_models_of_the_library_are_fused_behind_their_input_layer() -> None:
    # In a process of its own: the shape checks of the tests take no traced values.
    code = """
import torch
from elinvar import models, norm
net, x = models.build("resnet-20", classes=10, mean=(0.5,) * 3, std=(0.25,) * 3).eval(), torch.rand(2, 3, 32, 32)
fused = norm.fuse(net)
assert len(fused.fusion.folded) == 19 and not fused.fusion.kept, fused.fusion
torch.testing.assert_close(fused(x), net(x), rtol=1e-4, atol=1e-4)
assert sum(norm.reaches_output(net).values()) == 10  # the last of each block, and the first: shortcuts have none
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Checking(nn.Module):
    """Looks at values, and has nothing to fold."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_what_has_no_weights_may_do_as_it_likes() -> None:
    net = settled(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), Checking(), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    )
    net[4].weight = net[4].bias = None
    x = torch.randn(2, 3, 5, 5)
    fused = norm.fuse(net)
    assert fused.fusion.folded == {"1": "0", "4": "3"}
    torch.testing.assert_close(fused(x), net(x), rtol=1e-5, atol=1e-6)


class Paths(nn.Module):
    """Two residual blocks; only the second is met by no normalization afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.BatchNorm1d(3), nn.GroupNorm(1, 3), nn.BatchNorm1d(3)
        self.skip, self.aux = nn.LayerNorm(3), nn.BatchNorm1d(3)
        self.fc = nn.Linear(3, 3)

    def forward(self, x: Any) -> Any:
        x = self.fc(self.first(x))
        x = self.second(x) + self.fc(torch.relu(self.third(self.skip(x))))
        if self.training:
            x = self.aux(x)
        return torch.relu(x)


def test_layers_whose_scale_reaches_the_output() -> None:
    net = Paths().train()
    assert norm.reaches_output(net) == {"first": False, "skip": False, "second": True, "third": True}
    assert all(module.training for module in net.modules())
    chain = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3), nn.BatchNorm1d(3), nn.ReLU())
    assert norm.reaches_output(norm.convert(chain, norm.batch_norm())) == {"0": False, "2": True}


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(3)

    def forward(self, x: Any) -> Any:
        return nn.functional.layer_norm(self.bn(x), (3,))


def test_a_function_normalizes_as_a_layer_does() -> None:
    assert norm.reaches_output(Functional()) == {"bn": False}
