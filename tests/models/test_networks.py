"""Every named network: its published size, and the laws that all of them keep."""

import math
from typing import cast

import pytest
import torch
from torch import nn

from elinvar.check import InputError
from elinvar.models import MODELS, ResNet, WideResNet, architecture
from elinvar.models.resnet import SHORTCUTS, Block, Pad
from elinvar.models.wide_resnet import PreActivationBlock

# parameters with 10 and with 100 classes
SIZES = {
    "wrn-16-4": (2_748_890, 2_772_020),
    "wrn-28-2": (1_467_610, 1_479_220),
    "wrn-28-10": (36_479_194, 36_536_884),
    "wrn-40-2": (2_243_546, 2_255_156),
    "preact-resnet-18": (11_172_170, 11_218_340),
    "resnet-20": (269_722, 275_572),
    "resnet-32": (464_154, 470_004),
    "resnet-44": (658_586, 664_436),
    "resnet-56": (853_018, 858_868),
    "resnet-110": (1_727_962, 1_733_812),
}

# what the papers print, in millions, with 10 classes: Zagoruyko and Komodakis 2016, table 4; He et al. 2016, table 6
PRINTED = {
    "wrn-40-1": "0.6",
    "wrn-40-2": "2.2",
    "wrn-40-4": "8.9",
    "wrn-40-8": "35.7",
    "wrn-28-10": "36.5",
    "wrn-28-12": "52.5",
    "wrn-22-8": "17.2",
    "wrn-22-10": "26.8",
    "wrn-16-8": "11.0",
    "wrn-16-10": "17.1",
    "resnet-20": "0.27",
    "resnet-32": "0.46",
    "resnet-44": "0.66",
    "resnet-56": "0.85",
    "resnet-110": "1.7",
}


def make(name: str, **options: object) -> nn.Module:
    row = architecture(name)
    return row.make(**{**row.settings, **options})


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", SIZES)
def test_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        assert (size(make(name)), size(make(name, classes=100))) == SIZES[name]


@pytest.mark.parametrize("name", PRINTED)
def test_number_of_parameters_that_the_paper_prints(name: str) -> None:
    with torch.device("meta"):
        millions = size(make(name)) / 1e6
    digits = len(PRINTED[name].split(".")[1])
    assert abs(millions - float(PRINTED[name])) <= 0.6 * 10**-digits  # the paper cuts some, and rounds others


@pytest.mark.parametrize(("name", "count"), [("wrn-28-2", 3_616), ("wrn-28-10", 17_952), ("wrn-40-2", 5_408)])
def test_one_more_branch_of_gamma_and_beta(name: str, count: int) -> None:
    with torch.device("meta"):
        assert sum(size(module) for module in make(name).modules() if isinstance(module, nn.BatchNorm2d)) == count


@pytest.mark.parametrize("widths", [(16,), (16, 32), (16, 32, 64), (64, 128, 256, 512)])
def test_size_of_the_small_resnets_by_hand(widths: tuple[int, ...]) -> None:
    name = f"resnet-{4 * len(widths) + 2}"
    total = 27 * widths[0] + 2 * widths[0]
    for number, width in enumerate(widths):
        before = widths[max(number - 1, 0)]
        total += 9 * before * width + 3 * 9 * width**2 + 4 * 2 * width
        total += 2 * before if number else 0  # the normalization in the shortcut
    total += 10 * widths[-1] + 10
    assert size(make(name)) == total


@pytest.mark.parametrize("name", MODELS)
def test_depth_is_in_the_name(name: str) -> None:
    with torch.device("meta"):
        model = make(name)
    weighted = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    main = [module for module in weighted if isinstance(module, nn.Linear) or module.kernel_size == (3, 3)]
    first, *rest = [int(part) for part in name.split("-") if part.isdigit()]
    if name.startswith("wrn"):
        assert len(main) == first - 2  # its depth counts the three shortcut convolutions, and not the linear layer
        assert rest == [cast(nn.Linear, main[-1]).in_features // 64]
    else:
        assert len(main) == first


@pytest.mark.parametrize("name", ["wrn-10-1", "resnet-6", "resnet-14", "resnet-20", "preact-resnet-18"])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (32, 32), (28, 28), (33, 47)])
def test_takes_any_size_and_every_weight_gets_a_gradient(name: str, height: int, width: int) -> None:
    model = make(name, classes=7, in_channels=1)
    for block in model.modules():
        if isinstance(block, Block):
            nn.init.ones_(block.bn2.weight)  # at 0 it keeps the gradient from everything before it
    logits = model(torch.rand(3, 1, height, width, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (3, 7)
    logits.square().sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.any()


@pytest.mark.parametrize("name", ["wrn-16-1", "resnet-14", "resnet-20", "preact-resnet-18"])
def test_convolutions_start_as_he_normal_fan_out(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = make(name)
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]
    scaled = torch.cat([(w * math.sqrt(w.shape[0] * w.shape[2] * w.shape[3] / 2)).flatten() for w in weights]).detach()
    # five standard errors of a standard normal's mean, variance and fourth moment
    n = len(scaled)
    assert abs(scaled.mean()) < 5 / math.sqrt(n)
    assert abs(scaled.var() - 1) < 5 * math.sqrt(2 / n)
    assert abs(scaled.pow(4).mean() - 3) < 5 * math.sqrt(96 / n)


def test_wide_resnets_start_with_a_zero_bias_and_unit_norms() -> None:
    model = WideResNet(16, 2)
    assert not model.fc.bias.any()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert not module.bias.any()


def test_blocks_of_the_small_resnets_start_as_their_shortcut() -> None:
    first, _, second, _ = [module for module in make("resnet-10").eval().modules() if isinstance(module, Block)]
    x = torch.rand(2, 16, 8, 8)
    assert torch.equal(first(x), x)
    skip = second(x)
    torch.testing.assert_close(skip[:, :16], x[:, :, ::2, ::2], rtol=1e-4, atol=1e-4)  # eval: x / sqrt(1 + eps)
    assert not skip[:, 16:].any()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (2, 4, 7, 9)])
def test_pad_shortcut_picks_pixels(stride: int, shape: tuple[int, ...]) -> None:
    x = torch.rand(shape).requires_grad_()
    y = Pad(4, 6, stride)(x)
    assert torch.equal(y[:, :4], x[:, :, ::stride, ::stride])
    assert not y[:, 4:].any()
    y.sum().backward()
    picked = torch.zeros(shape)
    picked[:, :, ::stride, ::stride] = 1
    assert x.grad is not None
    assert torch.equal(x.grad, picked)


def test_where_nothing_changes_the_shortcut_is_the_input() -> None:
    assert PreActivationBlock(8, 8, stride=1, dropout=0.0).shortcut is None
    changing = PreActivationBlock(8, 16, stride=1, dropout=0.0)
    seen: list[torch.Tensor] = []
    assert changing.shortcut is not None
    changing.shortcut.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    x = torch.randn(2, 8, 8, 8)
    changing(x)
    assert torch.equal(seen[0], changing.eval().relu1(nn.functional.batch_norm(x, None, None, training=True)))


@pytest.mark.parametrize("name", ["wrn-16-2", "resnet-14", "resnet-20", "preact-resnet-18"])
@pytest.mark.parametrize("training", [False, True])
def test_channels_last_stays_so_in_every_layer(name: str, training: bool) -> None:
    model = make(name).train(training).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    wrong: list[str] = []

    def look(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        for tensor in (inputs[0], output):
            spatial = tensor.ndim == 4 and tensor.shape[-1] > 1
            if spatial and not tensor.is_contiguous(memory_format=torch.channels_last):
                wrong.append(type(module).__name__)

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(look)
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.rand(2, 3, 32, 32).contiguous(memory_format=torch.channels_last))
    assert wrong == []


@pytest.mark.parametrize("name", ["wrn-10-1", "resnet-14", "resnet-20"])
def test_no_layer_writes_on_what_another_returned(name: str) -> None:
    model = make(name)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda module, inputs, output: seen.append((output, output.clone())))
    model(torch.rand(2, 3, 16, 16))
    assert all(torch.equal(output, copy) for output, copy in seen)


def test_dropout_acts_in_training_only_and_in_every_block() -> None:
    model = WideResNet(10, 1, dropout=0.3)
    assert sum(isinstance(module, nn.Dropout) for module in model.modules()) == 3
    x = torch.rand(2, 3, 16, 16)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_every_shortcut_fits(shortcut: str) -> None:
    model = ResNet(widths=(4, 8, 16), blocks=(1, 2, 1), shortcut=shortcut, classes=3)
    assert model(torch.rand(2, 3, 9, 8)).shape == (2, 3)


def test_projection_shortcuts_have_the_known_size() -> None:
    with torch.device("meta"):
        assert size(make("resnet-18", shortcut="project")) == 11_173_962


@pytest.mark.parametrize("depth", [4, 12, 27, 0, -2])
def test_depth_of_a_wide_resnet_is_6n_plus_4(depth: int) -> None:
    with pytest.raises(InputError, match=r"depth 6n \+ 4"):
        WideResNet(depth, 2)


def test_nearest_depths_are_named() -> None:
    with pytest.raises(InputError, match="nearest depths are 22 and 28"):
        WideResNet(26, 2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("wrn-10-1", {"dropout": 1.0}, "dropout: got"),
        ("wrn-10-0", {}, "positive widen"),
        ("wrn-10-1", {"classes": 0}, "classes"),
        ("preact-resnet-18", {"blocks": (2, 2)}, "for each stage"),
        ("resnet-20", {"shortcut": "padd"}, "did you mean 'pad'"),
        ("resnet-20", {"widths": ()}, "for each stage"),
    ],
)
def test_refuses(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(name, **options)
