"""Models of torchvision and timm are converted, restored, frozen and fused, and nothing about them is lost."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import libraries
from elinvar import norm
from elinvar.check import InputError
from elinvar.routing import Routing, Trace, route

tv: Any = libraries.load("torchvision").models
ops: Any = libraries.load("torchvision.ops.misc")
timm: Any = libraries.load("timm")
layers: Any = libraries.load("timm.layers")


def inception() -> nn.Module:
    made: nn.Module = tv.inception_v3(weights=None, init_weights=False, transform_input=False)
    return made


MODELS: dict[str, Callable[[], Any]] = {
    "torchvision resnet": lambda: tv.resnet18(weights=None),
    "torchvision mobilenet": lambda: tv.mobilenet_v3_small(weights=None),
    "torchvision efficientnet": lambda: tv.efficientnet_b0(weights=None),
    "torchvision densenet": lambda: tv.DenseNet(4, (2, 2), 8),
    "torchvision inception": inception,
    "torchvision regnet": lambda: tv.regnet_x_400mf(weights=None),
    "torchvision shufflenet": lambda: tv.shufflenet_v2_x0_5(weights=None),
    "timm resnet": lambda: timm.create_model("test_resnet"),
    "timm efficientnet": lambda: timm.create_model("test_efficientnet"),
    "timm efficientnet, padded as TensorFlow": lambda: timm.create_model("tf_mobilenetv3_small_minimal_100"),
    "timm mobilenet": lambda: timm.create_model("mobilenetv3_small_050"),
    "timm densenet": lambda: timm.create_model("densenet121", growth_rate=4, block_config=(2, 2)),
    "timm regnet": lambda: timm.create_model("regnety_002"),
}
IMAGES = torch.rand(2, 3, 80, 80, generator=torch.Generator().manual_seed(0))


def settled(net: Any) -> Any:
    """`net` in eval mode, with statistics, gamma and beta that are all different."""
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        for name in ("weight", "bias", "running_mean", "running_var"):
            tensor = getattr(module, name, None) if hasattr(module, "running_var") else None
            if tensor is not None:
                spread = torch.rand(tensor.shape, generator=generator)
                tensor.data.copy_(spread * 0.4 - 0.2 + (name in ("weight", "running_var")))
    return net.eval()


def make(name: str) -> Any:
    torch.manual_seed(0)
    return settled(MODELS[name]())


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", list(MODELS))
def test_a_model_is_converted_used_and_restored(name: str) -> None:
    net = make(name)
    with torch.no_grad():
        expected = net(IMAGES)
    kinds, weights = [type(module) for module in net.modules()], list(net.parameters())
    before = {key: value.clone() for key, value in net.state_dict().items()}

    fused = norm.fuse(net)
    norm.convert(net, norm.split())
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules())
    held = {id(parameter) for parameter in net.parameters()}
    assert all(id(parameter) in held for parameter in weights)
    norm.convert(net, norm.batch_norm())
    assert same(net.state_dict(), before)
    with torch.no_grad():
        assert torch.equal(net(IMAGES), expected)
        torch.testing.assert_close(fused(IMAGES), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
        for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert torch.equal(again(IMAGES), expected)
    norm.restore(net)
    assert [type(module) for module in net.modules()] == kinds
    assert same(net.state_dict(), before)
    with torch.no_grad():
        assert torch.equal(net(IMAGES), expected)


@pytest.mark.parametrize("name", ["torchvision mobilenet", "timm efficientnet", "timm resnet"])
def test_training_is_bitwise_that_of_the_library(name: str) -> None:
    theirs = make(name)
    theirs.apply(lambda module: setattr(module, "p", 0.0) if isinstance(module, nn.Dropout) else None)
    ours = norm.convert(copy.deepcopy(theirs), norm.batch_norm())
    for net in (theirs.train(), ours.train()):
        net(IMAGES).square().mean().backward()
    assert same(ours.state_dict(), theirs.state_dict())
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_heads_that_only_train_are_converted_too() -> None:
    net = norm.convert(make("torchvision inception"), norm.batch_norm())
    assert isinstance(net.AuxLogits.conv0.bn, norm.Norm)
    assert set(norm.fuse(net).fusion.kept) == {"AuxLogits.conv0.bn", "AuxLogits.conv1.bn"}


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_a_model_without_batchnorm_says_so(name: str) -> None:
    with pytest.raises(InputError, match=r"has no BatchNorm layer to convert; its .*LayerNorm.* never looks at other"):
        norm.convert(timm.create_model(name), norm.batch_norm())


def noisy(channels: int, act: type[nn.Module] = nn.Sigmoid) -> Any:
    return layers.BatchNormAct2d(channels, act_layer=act, drop_layer=lambda: nn.Dropout(0.5))


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "1d": lambda: nn.BatchNorm1d(4),
    "2d": lambda: nn.BatchNorm2d(4, momentum=0.01, eps=1e-3),
    "3d": lambda: nn.BatchNorm3d(4, momentum=None),
    "without gamma and beta": lambda: nn.BatchNorm2d(4, affine=False),
    "synchronized": lambda: nn.SyncBatchNorm(4),
    "frozen": lambda: ops.FrozenBatchNorm2d(4, eps=1e-3),
    "activated": lambda: layers.BatchNormAct2d(4, act_layer=nn.SiLU),
    "dropped and activated": lambda: noisy(4),
    "activated by parameters": lambda: noisy(4, nn.PReLU),
    "not activated": lambda: layers.BatchNormAct2d(4, apply_act=False),
    "frozen, activated": lambda: layers.FrozenBatchNormAct2d(4, act_layer=nn.SiLU),
    "synchronized, activated": lambda: layers.convert_sync_batchnorm(noisy(4)),
}


@pytest.mark.parametrize("name", list(LAYERS))
def test_every_known_layer_comes_back_as_it_was(name: str) -> None:
    theirs = settled(LAYERS[name]())
    shape = {"1d": (5, 4), "3d": (5, 4, 3, 3, 3)}.get(name, (5, 4, 3, 3))
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    ours: Any = norm.convert(copy.deepcopy(theirs), norm.batch_norm())
    assert isinstance(ours, norm.Norm)
    if "frozen" not in name:  # there torch's kernel rounds otherwise than theirs, and batches are counted
        assert same(ours.state_dict(), theirs.state_dict())
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-6, atol=1e-6)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    torch.manual_seed(2)
    drawn = ours.train()(x)
    torch.manual_seed(2)
    torch.testing.assert_close(drawn, theirs.train()(x), rtol=1e-6, atol=1e-6)  # the dropout draws
    back = norm.restore(ours)
    assert type(back) is type(theirs)
    assert sorted(str(back).splitlines()) == sorted(str(theirs).splitlines())
    assert same(back.state_dict(), theirs.state_dict())
    assert [p.requires_grad for p in back.parameters()] == [p.requires_grad for p in theirs.parameters()]


def test_activations_have_no_gamma() -> None:
    net: Any = norm.convert(nn.Sequential(noisy(4, nn.PReLU)), norm.batch_norm())
    groups: Any = {group["name"]: group["params"] for group in norm.parameter_groups(net, 0.1)}
    assert groups["weights"] == [net[0].act.weight]
    assert groups["norm"] == [net[0].weight, net[0].bias]


def split(net: Any, splits: int) -> Any:
    net = layers.convert_splitbn_model(net, num_splits=splits)
    with torch.no_grad():
        for number, (name, tensor) in enumerate(net.state_dict().items()):
            if name.endswith(("running_mean", "1.weight", "3.weight")):
                tensor.add_(number)
    return net


def test_splits_become_branches() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), layers.BatchNormAct2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    theirs: Any = split(net, 3)
    x = torch.randn(6, 3, 8, 8)
    names = ("main", "strong", "stronger")
    ours: Any = norm.convert(copy.deepcopy(theirs), norm.split(names))
    with route(ours.train(), Routing(names, (2, 2, 2)), Trace.COMMIT):
        torch.testing.assert_close(ours(x), theirs.train()(x))
    torch.testing.assert_close(ours[1].bank("strong").running_mean, theirs[1].aux_bn[0].running_mean)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    again: Any = norm.convert(split(copy.deepcopy(net), 3), norm.split(names))
    norm.import_state_dict(again, theirs.state_dict())
    assert torch.equal(again[3].bank("stronger").weight, theirs[3].aux_bn[1].weight)
    torch.testing.assert_close(again.eval()(x), theirs(x))
    one = norm.restore(copy.deepcopy(ours), branch="strong")
    assert [type(each) for each in (one[1], one[3])] == [layers.BatchNormAct2d, nn.BatchNorm2d]
    with norm.branch(ours, "strong"):
        assert torch.equal(one(x), ours(x))
    back: Any = norm.restore(ours)
    assert type(back[1]) is layers.SplitBatchNorm2d
    assert list(back.state_dict()) == list(theirs.state_dict())
    assert torch.equal(back[1].aux_bn[1].weight, theirs[1].aux_bn[1].weight)
    torch.testing.assert_close(back.train()(x), theirs.train()(x))
    tied: Any = norm.restore(
        norm.convert(norm.convert(copy.deepcopy(theirs), norm.split(names)), norm.split(names, "shared"))
    )
    assert len({id(parameter) for parameter in tied[3].parameters()}) == 6
    with pytest.raises(InputError, match="has 3 splits"):
        norm.convert(theirs, norm.split())
    with pytest.raises(InputError, match="'shared' would drop"):
        norm.convert(theirs, norm.split(names, affine="shared"))


@pytest.mark.parametrize("kind", ["GroupNormAct", "GroupNorm"])
def test_group_norm_of_timm_weighs_examples_and_comes_back(kind: str) -> None:
    theirs: Any = nn.Sequential(getattr(layers, kind)(8, num_groups=2))
    theirs[0].weight.data.normal_()
    x = torch.randn(3, 8, 4, 4)
    ours: Any = norm.convert(copy.deepcopy(theirs), norm.example_weighted(1.0), group_norm=True)
    torch.testing.assert_close(ours.eval()(x), theirs(x))
    back = norm.restore(ours)
    assert str(back) == str(theirs)
    assert torch.equal(back(x), theirs(x))


@pytest.mark.parametrize("cast", [torch.bfloat16, torch.float16, torch.float64])
def test_models_in_other_precisions(cast: torch.dtype) -> None:
    theirs, x = make("timm efficientnet").to(cast), IMAGES.to(cast)
    expected = theirs(x)
    ours = norm.convert(theirs, norm.batch_norm())
    slack = 1e-3 if cast is torch.float16 else 0.0  # where torch's kernel for gamma and memory in float16 rounds more
    torch.testing.assert_close(ours(x), expected, rtol=slack, atol=slack)
    memory = [value for key, value in ours.state_dict().items() if "running_" in key]
    assert {value.dtype for value in memory} == {torch.promote_types(cast, torch.float32)}
    norm.convert(ours.train(), norm.split())
    with norm.branch(ours, "aux"):
        ours(x).sum().backward()
    back = norm.restore(ours.eval())
    assert {value.dtype for value in back.state_dict().values()} == {cast, torch.int64}
    assert torch.equal(back(x), expected)


@pytest.mark.parametrize("policy", [norm.batch_norm(), norm.split(), norm.ghost(2), norm.example_weighted(0.3), None])
def test_gradients_of_each_example_by_vmap(policy: norm.NormPolicy | None) -> None:
    """At test always; in training where nothing is remembered, for vmap has no place where batches could add up."""
    net = make("timm resnet")
    net = norm.freeze(net) if policy is None else norm.convert(net, policy)
    parameters, buffers, labels = dict(net.named_parameters()), dict(net.named_buffers()), torch.tensor([3, 5])
    parameters = {name: p for name, p in parameters.items() if name.startswith("fc")}

    def loss(parameters: Any, image: Tensor, label: Tensor) -> Tensor:
        logits = torch.func.functional_call(net, (parameters, buffers), (image[None],))
        return nn.functional.cross_entropy(logits, label[None])

    def each() -> Any:
        return torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(parameters, IMAGES, labels)

    gradients = each()
    for row in range(2):
        alone = torch.autograd.grad(loss(parameters, IMAGES[row], labels[row]), list(parameters.values()))
        for name, gradient in zip(parameters, alone, strict=True):
            torch.testing.assert_close(gradients[name][row], gradient, rtol=1e-3, atol=1e-6)
    if policy is None:
        torch.testing.assert_close(net.train() and each(), gradients)
    elif policy != norm.example_weighted(0.3):
        with pytest.raises(RuntimeError, match="mutate a captured Tensor"):
            net.train() and each()
    with route(net.train(), Routing(("main",)), Trace.NOTHING):
        each()


def test_whole_models_compile_into_one_graph() -> None:
    # In a process of its own: the shape checks of the tests cannot be compiled.
    code = """
import sys, torch
sys.path.insert(0, "tests")
import libraries
from elinvar import norm
net, x = libraries.load("timm").create_model("test_efficientnet"), torch.rand(2, 3, 48, 48)
fused = norm.fuse(net)
for each in (fused, norm.convert(net, norm.batch_norm()).train(), norm.freeze(net)):
    torch._dynamo.reset()
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(each, fullgraph=True, backend="eager")(x), each(x))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
