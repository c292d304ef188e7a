"""What runs while a model is attacked: as it is asked to be normalized and called, and no pass too many."""

import math
from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from elinvar import attacks, norm
from elinvar.check import InputError
from elinvar.context import Context
from elinvar.rng import Seeds
from elinvar.routing import Routed, Routing, Trace, route

from .nets import EPS, convolutional, images, smooth, targets, two_branches

MAKES: dict[str, Any] = {"torch": nn.BatchNorm2d, "elinvar": norm.Norm}


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what runs, by name; of a convolution's backward also which gradients it makes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        self.seen[f"{name} {args[-1]}" if "convolution_backward" in name else name] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("asks", [True, False])
def test_no_gradient_of_a_weight_is_computed(asks: bool) -> None:
    """Of the convolution only that of its input; of the linear layer one product of matrices instead of two."""
    with Operations() as operations:
        attacks.pgd(smooth(dtype=torch.float32).requires_grad_(asks), images(4), targets(4), steps=5)
    seen = operations.seen
    assert {name: count for name, count in seen.items() if "convolution_backward" in name} == {
        "aten.convolution_backward.default [True, False, False]": 5
    }
    assert seen["aten.mm.default"] == 5


def test_costs_as_many_passes_as_it_has_steps() -> None:
    forwards: list[int] = []
    model = smooth()
    model.register_forward_hook(lambda *_: forwards.append(1))
    x, y = images(4, dtype=torch.float64), targets(4)
    attacks.pgd(model, x, y, steps=7)
    assert len(forwards) == 7
    attacks.fgsm(model, x, y)
    assert len(forwards) == 8
    attacks.pgd(model, x, y, steps=7, restarts=3)
    assert len(forwards) == 8 + 3 * 8


def signed(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(leaf), y, reduction="sum"), leaf)
    return (x + EPS * gradient.sign()).clamp(0, 1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("make", ["torch", "elinvar"])
def test_normalizes_as_asked_whatever_the_mode_was(make: str, training: bool) -> None:
    model, x, y = convolutional(MAKES[make]).double(), images(8, dtype=torch.float64), targets(8)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    by_batch = signed(model, x, y)  # and remembers it
    by_memory = signed(model.eval(), x, y)
    assert not torch.equal(by_memory, by_batch)
    model.train(training)
    torch.testing.assert_close(attacks.fgsm(model, x, y), by_memory, rtol=0, atol=1e-12)
    torch.testing.assert_close(attacks.fgsm(model, x, y, mode="batch"), by_batch, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", ["eval", "batch"])
def test_attacks_the_branch_that_is_named(mode: Any) -> None:
    model, x, y = convolutional(two_branches).double(), images(8, dtype=torch.float64), targets(8)
    for module in model.modules():
        if isinstance(module, norm.Norm):
            module.branches["aux"].running_mean += 0.7
            with torch.no_grad():
                module.branches["aux"].weight *= -1.0
    found = {name: attacks.fgsm(model, x, y, branch=name, mode=mode) for name in ("main", "aux")}
    assert not torch.equal(found["main"], found["aux"])
    assert torch.equal(attacks.fgsm(model, x, y, mode=mode), found["main"])
    model.eval()
    if mode == "batch":
        for module in model.modules():
            module.training = isinstance(module, Routed)
    with route(model, Routing(("aux",)), Trace.NOTHING):
        torch.testing.assert_close(found["aux"], signed(model, x, y), rtol=0, atol=1e-12)


def test_frozen_layers_stay_frozen_in_batch_mode() -> None:
    model, x, y = convolutional(norm.Norm).double(), images(8, dtype=torch.float64), targets(8)
    frozen = norm.freeze(model)
    torch.testing.assert_close(attacks.fgsm(frozen, x, y, mode="batch"), attacks.fgsm(frozen, x, y), rtol=0, atol=1e-12)


def test_forward_says_how_the_model_is_called() -> None:
    model, x, y = smooth(), images(5, dtype=torch.float64), targets(5)
    context = Context(Seeds(0), 0, model, lambda z: model(z.flip(3)))
    without = attacks.pgd(model, x, y, forward=context.forward, random_start=False)
    mirrored = attacks.pgd(model, x.flip(3), y, random_start=False).flip(3)
    torch.testing.assert_close(without, mirrored, rtol=0, atol=1e-12)


def test_a_model_without_gradients_is_pointed_to_spsa() -> None:
    class Rounds(nn.Module):
        def __init__(self, how: str) -> None:
            super().__init__()
            self.inner, self.how = smooth(), how

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x.detach()) if self.how == "detach" else self.inner(torch.zeros_like(x))  # type: ignore[no-any-return]

    x, y = images(4, dtype=torch.float64), targets(4)
    for how in ("detach", "ignore"):
        model = Rounds(how)
        for asks in (True, False):
            with pytest.raises(InputError, match=r"no gradient .* attacks\.spsa"):
                attacks.pgd(model.requires_grad_(asks), x, y)
    found = attacks.spsa(Rounds("detach"), x, y, steps=2, samples=8, early_stop=False)
    assert not torch.equal(found, x)


def test_gradients_that_are_not_finite_leave_images_finite() -> None:
    class Breaks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([(x - x.detach()).sqrt().sum((1, 2, 3)), x.sum((1, 2, 3))], 1) * math.inf

    for attack in (attacks.pgd_attack(steps=3), attacks.pgd_attack(steps=3, norm="l2", eps=0.5, restarts=2)):
        found = attack(Breaks(), images(4), torch.zeros(4).long())
        assert attack.threat.size(found.double() - images(4).double()).max() <= attack.threat.eps
