"""A network's own mean and std are found where libraries put them.

Kind     what a model says about its images is passed over in silence
Case     `pretrained_cfg` of timm with 0.5 and 0.5; the command line's part is in tests/cli/test_other_models.py
Besides  in a wrapper, in DataParallel, as an object, `default_cfg`, two that differ, weights of torchvision by name and
         as a member, `image_mean` of transformers, constants of grey images, in units of 0..255, none at all
"""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import libraries
from elinvar.check import InputWarning
from elinvar.models import Standardize, Standardized
from elinvar.models.constants import Constants, own_constants, tell_constants, tell_size, unwrapped, with_own_constants

HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "input_size": (3, 224, 224), "crop_pct": 0.9}
DATA = Constants((0.4,) * 3, (0.2,) * 3)


def saying(**attributes: Any) -> nn.Module:
    module: Any = nn.Linear(3, 2)
    for name, value in attributes.items():
        setattr(module, name, value)
    return module  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "network",
    [
        saying(pretrained_cfg=HALF),
        saying(default_cfg=HALF),
        saying(pretrained_cfg=SimpleNamespace(**HALF)),
        saying(pretrained_cfg=HALF, default_cfg=HALF),
        nn.DataParallel(saying(pretrained_cfg=HALF)),
        nn.Sequential(nn.Identity(), saying(pretrained_cfg=HALF)),
        saying(image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5]),
        saying(config=SimpleNamespace(image_mean=[0.5] * 3, image_std=[0.5] * 3)),
    ],
)
def test_constants_are_found(network: nn.Module) -> None:
    own = own_constants(network)
    assert own is not None
    assert (own.mean, own.std) == ((0.5,) * 3, (0.5,) * 3)
    assert own.usable(3)
    assert not own.usable(1)


@pytest.mark.parametrize(
    "network",
    [
        nn.Linear(3, 2),
        saying(pretrained_cfg=None),
        saying(pretrained_cfg={"mean": None, "std": None}),
        saying(pretrained_cfg={"mean": "imagenet", "std": "imagenet"}),
        nn.Sequential(saying(pretrained_cfg=HALF), saying(pretrained_cfg={**HALF, "mean": (0.1,) * 3})),
    ],
)
def test_nothing_is_made_up(network: nn.Module) -> None:
    assert own_constants(network) is None


def test_timm_says_them() -> None:
    timm = libraries.load("timm")
    own = own_constants(timm.create_model("vit_tiny_patch16_224", num_classes=10))
    assert own is not None
    assert str(own) == "mean 0.5,0.5,0.5 and std 0.5,0.5,0.5"
    assert own.size == (224, 224)
    assert own.resizing == "interpolation bicubic, crop_pct 0.9, crop_mode center"


def test_torchvision_says_them_with_its_weights() -> None:
    weights = libraries.load("torchvision.models").ResNet18_Weights
    for given in ("DEFAULT", "IMAGENET1K_V1", "ResNet18_Weights.IMAGENET1K_V1", weights.DEFAULT):
        own = own_constants(nn.Linear(3, 2), "torchvision.models:resnet18", {"weights": given})
        assert own is not None
        assert own.mean == (0.485, 0.456, 0.406)
        assert own.size == (224, 224)
    assert own_constants(nn.Linear(3, 2), "torchvision.models:resnet18", {"weights": None}) is None
    assert own_constants(nn.Linear(3, 2), "torch.nn:Linear", {"weights": "DEFAULT"}) is None


def test_training_takes_them_with_pretrained_weights_alone() -> None:
    def model() -> Standardized:
        return Standardized(Standardize(DATA.mean, DATA.std), saying(pretrained_cfg=HALF))

    with pytest.warns(InputWarning, match=r"own constants, mean 0.5,0.5,0.5 .* those of the data set are mean 0.4"):
        trained = with_own_constants(model(), "a.net", {"pretrained": True})
    assert trained.standardize.mean.tolist() == [0.5] * 3
    assert with_own_constants(model(), "a", {"pretrained": True}, tell=False).standardize.mean.tolist() == [0.5] * 3
    for options in ({}, {"pretrained": False}, {"weights": None}):
        assert Constants.of(with_own_constants(model(), "a.net", options)).mean == pytest.approx(DATA.mean)


@pytest.mark.parametrize("mean", [(123.7, 116.3, 103.5), (0.5,), (0.5, float("nan"), 0.5)])
def test_constants_that_cannot_be_used_are_told(mean: tuple[float, ...]) -> None:
    network = saying(pretrained_cfg={"mean": mean, "std": (0.5,) * len(mean)})
    model = Standardized(Standardize(DATA.mean, DATA.std), network)
    with pytest.warns(InputWarning, match="are none for"):
        with_own_constants(model, "net", {"pretrained": True})
    assert Constants.of(model).mean == pytest.approx(DATA.mean)


def test_the_same_constants_and_sizes_are_no_news() -> None:
    model = Standardized(Standardize(DATA.mean, DATA.std), nn.Identity())
    tell_constants("net", DATA, model, Constants(DATA.mean, tuple(torch.tensor(DATA.std).tolist())))
    tell_size("net", DATA, (32, 32))
    tell_size("net", Constants((0.5,), (0.5,), (32, 32)), (32, 32))
    with pytest.warns(InputWarning, match="224 x 224 pixels, and these have 32 x 32"):
        tell_size("net", Constants((0.5,), (0.5,), (224, 224)), (32, 32))


def test_wrappers_are_taken_off() -> None:
    inner = nn.Linear(3, 2)
    compiled = nn.Module()  # as torch.compile holds what it compiles
    compiled._orig_mod = inner
    for wrapped in (inner, nn.DataParallel(inner), compiled, nn.DataParallel(nn.DataParallel(inner))):
        assert unwrapped(wrapped) is inner
