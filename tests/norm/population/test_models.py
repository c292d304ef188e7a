"""Models of other libraries: after exact statistics, a train-mode pass over the population and a test pass agree."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import libraries
from elinvar import norm
from elinvar.norm.population import precise
from population_nets import images, parts

BATCH_NORM = nn.modules.batchnorm._BatchNorm


def torchvision(name: str, **settings: Any) -> nn.Module:
    model: nn.Module = getattr(libraries.load("torchvision.models"), name)(**settings)
    return model


def timm(name: str) -> nn.Module:
    model: nn.Module = libraries.load("timm").create_model(name, num_classes=10)
    return model


def synchronized(model: nn.Module) -> nn.Module:
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return converted


MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "googlenet, heads for training": (lambda: torchvision("googlenet", init_weights=False), 2),
    "densenet121, concatenation": (lambda: torchvision("densenet121"), 0),
    "mobilenet_v3_small, squeeze and excitation": (lambda: torchvision("mobilenet_v3_small"), 0),
    "efficientnet_lite0, BatchNormAct2d": (lambda: timm("efficientnet_lite0"), 0),
    "hrnet_w18_small, branches": (lambda: timm("hrnet_w18_small"), 0),
    "the same, converted": (lambda: norm.convert(timm("efficientnet_lite0"), norm.ghost(4)), 0),
    "resnet18, synchronized": (lambda: synchronized(torchvision("resnet18")), 0),
}


@pytest.mark.parametrize("name", MODELS)
def test_train_and_test_agree_on_the_population(name: str) -> None:
    make, unused = MODELS[name]
    torch.manual_seed(0)
    model, x = make(), images(12, 3, 64, 64)
    whole = copy.deepcopy(model).eval()
    for module in whole.modules():
        module.training = isinstance(module, BATCH_NORM | norm.Norm) and not isinstance(module, nn.SyncBatchNorm)
    if "converted" in name:
        norm.convert(whole, norm.batch_norm())
    if "synchronized" in name:
        whole = torchvision("resnet18").eval()
        whole.load_state_dict(model.state_dict())
        for module in whole.modules():
            module.training = isinstance(module, BATCH_NORM)
    report = precise(model, parts(x, 5), method="layerwise")
    assert len(report.unused) == unused
    assert report.passes == 1.0
    with torch.no_grad():
        expected, found = whole(x), model.eval()(x)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
