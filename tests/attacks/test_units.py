"""Sizes are in the unit of the images, and images are what the sizes are meant for.

Kind     a number or an image in another unit than is meant: levels of 255, standardized, another layout
Case     eps=8 on images in [0, 1]
Besides  steps and deltas in levels, l2 norms that no two images are apart, eps=1, plans and recipes, bounds of 255 on
         [0, 1] images, images divided twice, in 0..255, standardized, integers, channels last, NaN; constants, noise
         and Fourier norms in levels
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elinvar import attacks, config, recipes, shift
from elinvar.augment import GaussianNoise, PatchGaussian, PatchUniform
from elinvar.check import InputError, InputWarning, check_images
from elinvar.data import load
from elinvar.infer import AttackPlan, Predictor
from elinvar.infer.attacked import Stage
from elinvar.models import Standardize, Standardized
from elinvar.precision import Compute, Precision
from elinvar.recipe import Infer

NET = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
MODEL = Standardized(Standardize((0.5,) * 3, (0.2,) * 3), NET)
X = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(5) % 4
LEVELS = (0.0, 255.0)

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "fgsm": (lambda: attacks.fgsm(NET, X, Y, eps=8), "eps: got 8, .* for 8 levels of 255 say 8/255"),
    "pgd": (lambda: attacks.pgd(NET, X, Y, eps=8.0), "for 8 levels of 255 say 8/255"),
    "spsa": (lambda: attacks.spsa(NET, X, Y, eps=2), "for 2 levels of 255 say 2/255"),
    "value": (lambda: attacks.pgd_attack(eps=16), "eps: got 16"),
    "step": (lambda: attacks.pgd(NET, X, Y, eps=8 / 255, step=2), "step: got 2"),
    "spsa's step": (lambda: attacks.spsa_attack(step=2), "step: got 2"),
    "delta": (lambda: attacks.spsa_attack(delta=2.55), "delta: got 2.55"),
    "adam in l2": (lambda: attacks.spsa_attack(norm="l2", eps=0.5, step=2), "step: got 2"),
    "l2": (lambda: attacks.fgsm(NET, X, Y, eps=128, norm="l2"), "eps: got 128, .* at most 13.86; .* 128/255"),
    "l2 step": (lambda: attacks.pgd(NET, X, Y, eps=0.5, step=32, norm="l2"), "step: got 32"),
    "plan": (lambda: AttackPlan(eps=4), "for 4 levels of 255 say 4/255"),
    "plan's step": (lambda: AttackPlan(step=2), "step: got 2"),
    "plan in l2": (lambda: Stage(AttackPlan(norm="l2", eps=128), load("digits").test), "eps: got 128"),
    "bounds": (lambda: attacks.Attack(threat=attacks.Linf(300), steps=1, rule=attacks.Steepest(step=1), bounds=LEVELS),
               "differ by at most 255"),
    "bytes": (lambda: attacks.pgd(NET, X.mul(255).to(torch.uint8), Y, eps=8), "for 8 levels"),
    "bytes, right eps": (lambda: attacks.pgd(NET, X.mul(255).to(torch.uint8), Y), "give images / 255, and eps"),
    "0..255": (lambda: attacks.pgd(NET, X * 255, Y), "divide 0..255 images by 255"),
    "channels last": (lambda: attacks.pgd(NET, X.permute(0, 2, 3, 1), Y), r"say images.permute\(0, 3, 1, 2\)"),
    "mean": (lambda: Standardize((123.7, 116.3, 103.5), (0.2,) * 3), "divide constants of 0..255 images by 255"),
    "std": (lambda: Standardize((0.5,) * 3, (58.4, 57.1, 57.4)), "divide constants of 0..255 images by 255"),
    "layout": (lambda: Standardize((0.5,) * 3, (0.2,) * 3)(X.permute(0, 2, 3, 1)), r"permute\(0, 3, 1, 2\)"),
    "noise": (lambda: GaussianNoise(25), "for levels of 255 say 25/255"),
    "patch": (lambda: PatchGaussian(sigma=25), "25/255"),
    "uniform": (lambda: PatchUniform(amplitude=128), "128/255"),
    "heatmap": (lambda: shift.fourier_heatmap(NET, X, Y, norm=1020.0), "norm: got 1020, .* at most 8"),
    "corrupt": (lambda: check_images(X.permute(0, 2, 3, 1)), r"permute\(0, 3, 1, 2\)"),
    "int64": (lambda: check_images((X * 255).long()), "got dtype torch.int64"),
}  # fmt: skip


def predictor() -> Predictor:
    return Predictor(MODEL, Infer(), Compute.choose(torch.device("cpu"), Precision.FLOAT32))


@pytest.mark.parametrize("name", REFUSED)
def test_another_unit_is_one_line(name: str) -> None:
    make, text = REFUSED[name]
    with pytest.raises(InputError, match=text) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_recipe_in_levels_is_refused() -> None:
    plain = config.to_config(recipes.recipe("pgd"))
    views = plain["train"]["views"]
    attack = views[-1]["transforms"][-1]["init_args"]["attack"]
    attack["threat"]["init_args"]["eps"] = 8.0
    with pytest.raises(InputError, match="for 8 levels of 255 say 8/255"):
        config.override(recipes.recipe("pgd"), [f"train.views={views}"])


@pytest.mark.parametrize(
    "images",
    [X * 255, (X - 0.5) / 0.2, X.log(), torch.full_like(X, torch.nan), (X * 255).int(), (X * 255).to(torch.int16)],
    ids=["0..255", "standardized", "logarithms", "NaN", "int32", "int16"],
)
def test_predictions_of_other_images_are_refused(images: Tensor) -> None:
    with pytest.raises(InputError, match=r"images: (values span|got dtype)"):
        predictor()(images)
    predictor()(X)
    predictor()((X * 255).to(torch.uint8))
    predictor()(shift.low_pass(X, 3))  # leaves [0, 1] a little


@pytest.mark.parametrize(
    "call",
    [
        lambda: check_images(X / 255),
        lambda: attacks.pgd(NET, X / 255, Y),
        lambda: attacks.fgsm(NET, X, Y, eps=8, bounds=LEVELS),
        lambda: attacks.pgd_attack(eps=1),
        lambda: attacks.fgsm(NET, torch.rand(2, 3, 8, 8), Y[:2], eps=1.0),
    ],
    ids=["divided twice", "attacked", "bounds of others", "one level", "one level, called"],
)
def test_what_may_not_be_meant_is_a_warning(call: Callable[[], Any]) -> None:
    with pytest.warns(InputWarning):
        call()


def test_l2_sizes_in_levels_that_fit_into_large_images_are_a_warning() -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    with pytest.warns(InputWarning, match="for 128 levels of 255 say 128/255"):
        attacks.fgsm(net, torch.rand(1, 3, 224, 224), Y[:1], eps=128, norm="l2")


def test_sizes_that_are_in_use_are_taken_in_silence() -> None:
    for eps in (0.0, 8 / 255, 0.3, 0.7):
        attacks.fgsm(NET, X, Y, eps=eps)
    for eps in (0.25, 128 / 255, 3.0, 10.0):
        attacks.pgd(NET, X, Y, eps=eps, norm="l2", steps=1)
    attacks.fgsm(NET, X * 255, Y, eps=8, bounds=LEVELS)
    attacks.fgsm(NET, torch.zeros_like(X), Y)  # black is black
    check_images(torch.zeros_like(X))
    check_images(torch.rand(2, 1, 8, 3))
    Standardize((0.0,) * 3, (1.0,) * 3)
    GaussianNoise(2.0)
