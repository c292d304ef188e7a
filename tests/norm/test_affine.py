"""Parameter groups: everything once, and gamma decays toward where it was told, in every optimizer, once a step."""

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elinvar import norm
from elinvar.check import InputError
from elinvar.norm import decay
from elinvar.recipe import Sgd

LR, WD = 0.1, 0.5


def model() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.GroupNorm(2, 4), nn.Flatten())
    return net.append(nn.Linear(4 * 36, 5)).append(nn.LayerNorm(5)).append(nn.BatchNorm1d(5, affine=False))


def by_name(groups: list[dict[str, object]]) -> dict[str, Any]:
    return {str(group["name"]): group for group in groups}


def members(net: nn.Module, group: dict[str, Any]) -> list[str]:
    names = {id(p): name for name, p in net.named_parameters()}
    return [names[id(p)] for p in group["params"]]


def test_every_trainable_parameter_is_in_one_group() -> None:
    net = norm.convert(model(), norm.split(("main", "aux")))
    net[0].bias.requires_grad_(False)
    groups = by_name(norm.parameter_groups(net, 5e-4, norm_decay=0.0, bias_decay=1e-3))
    assert {name: group["weight_decay"] for name, group in groups.items()} == {
        "weights": 5e-4,
        "norm": 0.0,
        "bias": 1e-3,
    }
    assert members(net, groups["weights"]) == ["0.weight", "2.weight", "5.weight"]
    assert members(net, groups["bias"]) == ["5.bias"]
    of_norm = [f"{at}.{what}" for at in ("1", "1.branches.aux", "3", "6") for what in ("weight", "bias")]
    assert members(net, groups["norm"]) == of_norm
    assert not any(decay.KEY in group for group in groups.values())


def test_gamma_and_beta_apart_where_they_differ() -> None:
    net = model()
    groups = by_name(norm.parameter_groups(net, 5e-4, norm_decay=1e-4, beta_decay=0.0))
    assert [(name, group["weight_decay"]) for name, group in groups.items()] == [
        ("weights", 5e-4), ("gamma", 1e-4), ("beta", 0.0), ("bias", 5e-4),
    ]  # fmt: skip
    assert members(net, groups["gamma"]) == ["1.weight", "3.weight", "6.weight"]
    assert members(net, groups["beta"]) == ["1.bias", "3.bias", "6.bias"]
    to_one = by_name(norm.parameter_groups(net, 5e-4, gamma_to=1.0))
    assert to_one["gamma"] == {**to_one["gamma"], "weight_decay": 5e-4, decay.KEY: 1.0}
    assert decay.KEY not in to_one["beta"]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"weight_decay": -1.0}, "weight decay of weights"),
        ({"weight_decay": 0.0, "norm_decay": float("nan")}, "weight decay of gamma"),
        ({"weight_decay": 0.0, "beta_decay": -1.0}, "weight decay of beta"),
        ({"weight_decay": 0.0, "bias_decay": float("inf")}, "weight decay of bias"),
        ({"weight_decay": 0.0, "gamma_to": float("nan")}, "gamma_to"),
    ],
)
def test_meaningless_settings_are_refused(settings: dict[str, float], text: str) -> None:
    with pytest.raises(InputError, match=text):
        norm.parameter_groups(model(), **settings)


# optimizers with their own settings; all decay; `True` where decay goes to the weight, not to the gradient
OPTIMIZERS: list[tuple[type[torch.optim.Optimizer], dict[str, Any], bool]] = [
    (torch.optim.SGD, {}, False),
    (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}, False),
    (torch.optim.SGD, {"maximize": True}, False),
    (torch.optim.SGD, {"fused": True}, False),
    (torch.optim.SGD, {"foreach": True, "momentum": 0.9}, False),
    (torch.optim.Adam, {}, False),
    (torch.optim.Adam, {"maximize": True}, False),
    (torch.optim.AdamW, {}, True),
    (torch.optim.AdamW, {"maximize": True}, True),
    (torch.optim.AdamW, {"fused": True}, True),
    (torch.optim.NAdam, {"decoupled_weight_decay": True}, True),
    (torch.optim.NAdam, {}, False),
    (torch.optim.RAdam, {}, False),
    (torch.optim.RAdam, {"decoupled_weight_decay": True}, True),
    (torch.optim.Adamax, {}, False),
    (torch.optim.RMSprop, {}, False),
    (torch.optim.Adagrad, {}, False),
    (torch.optim.Adadelta, {}, False),
    (torch.optim.ASGD, {"lambd": 0.0}, False),
]


def gammas(kind: Any, options: dict[str, Any], gamma_to: float, start: Tensor, gradients: list[Tensor]) -> Tensor:
    """Gamma after one step for each gradient."""
    layer = nn.BatchNorm1d(len(start)).to(start.dtype)
    with torch.no_grad():
        layer.weight.copy_(start)
    optimizer = kind(norm.parameter_groups(layer, WD, gamma_to=gamma_to), lr=LR, **options)
    for gradient in gradients:
        layer.weight.grad = gradient.clone()
        optimizer.step()
    return layer.weight.detach()


@pytest.mark.parametrize(("kind", "options", "decoupled"), OPTIMIZERS, ids=lambda v: getattr(v, "__name__", str(v)))
def test_decay_to_one_is_decay_to_zero_of_gamma_minus_one(kind: Any, options: dict[str, Any], decoupled: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(4, generator=generator, dtype=torch.float64)
    gradients = [torch.randn(4, generator=generator, dtype=torch.float64) for _ in range(4)]
    to_one = gammas(kind, options, 1.0, start, gradients)
    shifted = 1.0 + gammas(kind, options, 0.0, start - 1.0, gradients)
    torch.testing.assert_close(to_one, shifted, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(to_one, gammas(kind, options, 0.0, start, gradients), atol=1e-4)
    if decoupled:  # one step of decoupled decay without a gradient is known in closed form
        still = gammas(kind, options, 1.0, start, [torch.zeros_like(start)])
        torch.testing.assert_close(still, start - LR * WD * (start - 1.0), rtol=1e-12, atol=1e-12)


def test_one_step_of_sgd_without_loss() -> None:
    layer: Any = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    with torch.no_grad():
        layer[1].weight.fill_(3.0), layer[1].bias.fill_(2.0)
    before: Any = copy.deepcopy(layer)
    optimizer = torch.optim.SGD(norm.parameter_groups(layer, 0.0, norm_decay=WD, gamma_to=1.0), lr=LR)
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(layer[1].weight, torch.full((3,), 3.0 - LR * WD * 2.0))
    torch.testing.assert_close(layer[1].bias, torch.full((3,), 2.0 * (1 - LR * WD)))
    assert torch.equal(layer[0].weight, before[0].weight)
    assert torch.equal(layer[0].bias, before[0].bias)


@pytest.fixture
def layer() -> Any:
    made = nn.BatchNorm1d(3)
    with torch.no_grad():
        made.weight.fill_(3.0)
    return made


@pytest.mark.parametrize(("kind", "expected"), [(torch.optim.SGD, 2.9), (torch.optim.AdamW, 2.9)])
def test_accumulated_backwards_decay_once(kind: Any, expected: float, layer: Any) -> None:
    optimizer = kind(norm.parameter_groups(layer, WD, gamma_to=1.0), lr=LR)
    for _ in range(3):
        (layer.weight.sum() * 0.0).backward()
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), torch.full((3,), expected))


@pytest.mark.parametrize("keyword", [True, False])
def test_gradients_that_a_closure_makes_are_corrected(keyword: bool, layer: Any) -> None:
    optimizer = torch.optim.SGD(norm.parameter_groups(layer, WD, gamma_to=1.0), lr=LR)

    def closure() -> float:
        optimizer.zero_grad()
        (layer.weight.sum() * 0.0).backward()
        return 7.0

    loss = optimizer.step(closure=closure) if keyword else optimizer.step(closure)
    assert loss == 7.0
    torch.testing.assert_close(layer.weight.detach(), torch.full((3,), 2.9))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_scaled_gradients_decay_as_if_they_were_not(kind: Any, fused: bool, layer: Any) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = kind(norm.parameter_groups(layer, WD, gamma_to=1.0), lr=LR, fused=fused)
    scaler.scale(layer.weight.sum() * 0.0).backward()
    scaler.step(optimizer)
    scaler.update()
    torch.testing.assert_close(layer.weight.detach(), torch.full((3,), 2.9))
    optimizer.zero_grad()
    scaler.scale(layer.weight.sum() * float("inf")).backward()  # a step that overflows moves nothing
    scaler.step(optimizer)
    scaler.update()
    torch.testing.assert_close(layer.weight.detach(), torch.full((3,), 2.9))


def test_without_a_gradient_nothing_decays(layer: Any) -> None:
    for kind in (torch.optim.SGD, torch.optim.AdamW):
        kind(norm.parameter_groups(layer, WD, gamma_to=1.0), lr=LR).step()
    assert torch.equal(layer.weight.detach(), torch.full((3,), 3.0))


def test_a_schedule_of_the_decay_moves_the_correction_too(layer: Any) -> None:
    optimizer = torch.optim.SGD(norm.parameter_groups(layer, 0.25, gamma_to=1.0), lr=LR)
    by_name(optimizer.param_groups)["gamma"]["weight_decay"] = WD
    layer.weight.grad = torch.zeros(3)
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), torch.full((3,), 2.9))


class Elsewhere(torch.optim.SGD):
    pass


def test_an_unknown_optimizer_must_say_how_it_decays(layer: Any) -> None:
    layer.weight.grad = torch.zeros(3)
    groups = norm.parameter_groups(layer, WD, gamma_to=1.0)
    with pytest.raises(InputError, match=r"Elsewhere.*decoupled_weight_decay"):
        Elsewhere(groups, lr=LR).step()
    assert torch.equal(layer.weight.detach(), torch.full((3,), 3.0))
    Elsewhere([{**group, "decoupled_weight_decay": False} for group in groups], lr=LR).step()
    torch.testing.assert_close(layer.weight.detach(), torch.full((3,), 2.9))


def test_other_optimizers_go_on_as_they_did(layer: Any) -> None:
    norm.parameter_groups(layer, WD, gamma_to=1.0)  # from now on the hooks are there
    plain: Any = torch.optim.LBFGS(layer.parameters(), lr=LR)
    plain.step(lambda: layer.weight.sum() * 0.0)
    assert torch.equal(layer.weight.detach(), torch.full((3,), 3.0))


def test_a_compiled_step_decays_too() -> None:
    # In a process of its own: the shape checks of the tests cannot be compiled.
    code = """
import logging, torch
from torch import nn
from elinvar import norm
logging.disable()
for kind in (torch.optim.SGD, torch.optim.AdamW):
    layer = nn.BatchNorm1d(3)
    with torch.no_grad():
        layer.weight.fill_(3.0)
    optimizer = kind(norm.parameter_groups(layer, 0.5, gamma_to=1.0), lr=0.1)
    layer.weight.grad = torch.zeros(3)
    step = torch.compile(optimizer.step, backend="eager")
    for expected in (2.9, 2.805):
        layer.weight.grad = torch.zeros(3)
        step()
        torch.testing.assert_close(layer.weight.detach(), torch.full((3,), expected))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_recipe_says_what_gamma_decays_to(layer: Any) -> None:
    optimizer = Sgd(lr=LR, momentum=0.0, nesterov=False, weight_decay=0.0, norm_decay=WD, gamma_to=1.0).build(layer)
    layer.weight.grad = torch.zeros(3)
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), torch.full((3,), 2.9))
