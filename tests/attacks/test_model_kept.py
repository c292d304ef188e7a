"""A model is after an attack what it was before, whatever happens; and meanwhile it is normalized as asked."""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from elinvar import attacks, norm
from elinvar.check import InputError
from elinvar.context import Context
from elinvar.rng import Seeds
from elinvar.routing import Routed, Routing, Trace, route

from .nets import EPS, convolutional, images, smooth, targets

ATTACKS = {
    "fgsm": attacks.fgsm_attack(),
    "pgd": attacks.pgd_attack(steps=3),
    "pgd-l2": attacks.pgd_attack(steps=3, eps=0.5, norm="l2", restarts=2),
    "spsa": attacks.spsa_attack(steps=2, samples=4, early_stop=False),
}


class Interrupt(BaseException):
    """What no attack may swallow."""


class Fragile(nn.Module):
    """Raises in forward number `at`, counted from 0, after layers below have run; counts in a buffer."""

    calls: Tensor
    replaced: Tensor

    def __init__(self, model: nn.Module, at: int = -1, error: type[BaseException] = RuntimeError) -> None:
        super().__init__()
        self.model, self.at, self.error = model, at, error
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("replaced", torch.zeros(3))
        self.register_buffer("absent", None)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        number = int(self.calls)
        self.calls += 1
        self.replaced = self.replaced + 1.0
        if number == self.at:
            raise self.error("broken")
        return logits


def prepared(model: nn.Module) -> nn.Module:
    """In training, with exceptions; with gradients here and there, a frozen weight, and hooks."""
    model.train()
    modules, parameters = list(model.modules()), list(model.parameters())
    modules[-2].eval()
    modules[2].eval()
    parameters[0].requires_grad_(False)
    parameters[1].grad = torch.full_like(parameters[1], 3.0)
    modules[3].register_forward_hook(lambda *_: None)
    modules[3].register_full_backward_hook(lambda *_: None)
    return model


def snapshot(model: nn.Module) -> list[Any]:
    state: list[Any] = []
    for name, module in model.named_modules():
        state.append((name, module.training, getattr(module, "track_running_stats", None)))
        state.append((name, getattr(module, "session", None), list(getattr(module, "_proposals", ()))))
        state += [(name, kind, list(getattr(module, kind))) for kind in ("_forward_hooks", "_backward_hooks")]
        state += [(name, id(held), None if held is None else held.tolist()) for held in module._buffers.values()]
    for name, parameter in model.named_parameters():
        gradient = None if parameter.grad is None else (id(parameter.grad), parameter.grad.tolist())
        state.append((name, id(parameter), parameter.tolist(), parameter.requires_grad, gradient))
    return state


@contextmanager
def bfloat16() -> Iterator[None]:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        yield


def instance(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True, track_running_stats=True)


def split(channels: int) -> nn.Module:
    return norm.Norm(channels, norm.split())


SURROUNDINGS: dict[str, Any] = {
    "plain": nullcontext,
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "bf16": bfloat16,
}
MAKES: dict[str, Any] = {"torch": nn.BatchNorm2d, "elinvar": norm.Norm, "instance": instance}


@pytest.mark.parametrize("make", sorted(MAKES))
@pytest.mark.parametrize("mode", ["eval", "batch"])
@pytest.mark.parametrize("around", sorted(SURROUNDINGS))
@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_the_model_is_left_as_it_was(name: str, around: str, mode: Any, make: str) -> None:
    model = prepared(Fragile(convolutional(MAKES[make])))
    before, here = snapshot(model), torch.is_grad_enabled()
    with SURROUNDINGS[around]():
        inside = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_cache_enabled()
        found = ATTACKS[name](model, images(6), targets(6), mode=mode)
        assert inside == (
            torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_cache_enabled()
        )  # fmt: skip
    assert snapshot(model) == before
    assert torch.is_grad_enabled() == here
    assert not found.requires_grad
    assert not torch.equal(found, images(6))


@pytest.mark.parametrize("error", [RuntimeError, Interrupt])
@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("mode", ["eval", "batch"])
@pytest.mark.parametrize("make", ["torch", "elinvar"])
@pytest.mark.parametrize("name", ["pgd", "spsa"])
def test_also_when_it_raises(name: str, make: str, mode: Any, at: int, error: type[BaseException]) -> None:
    model = prepared(Fragile(convolutional(MAKES[make]), at, error))
    before = snapshot(model)
    with pytest.raises(error, match="broken"):
        ATTACKS[name](model, images(6), targets(6), mode=mode)
    assert snapshot(model) == before


def test_also_when_the_loss_raises_or_the_input_is_refused() -> None:
    model = prepared(convolutional(norm.Norm))
    before = snapshot(model)

    def broken(logits: Tensor, _: Tensor) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        attacks.pgd(model, images(4), targets(4), loss=broken)
    with pytest.raises(InputError, match="class numbers 0 to 9"):
        attacks.pgd(model, images(4), torch.tensor([0, 1, 2, 9]))
    with pytest.raises(InputError, match="names the branch 'x'"):
        attacks.pgd(prepared(convolutional(split)), images(4), targets(4), branch="x")
    assert snapshot(model) == before


def test_proposals_and_routing_of_a_step_survive() -> None:
    model = convolutional(norm.Norm).train()
    with route(model, Routing(("main",)), Trace.PROPOSE):
        model(images(6))
        before = snapshot(model)
        attacks.pgd(model, images(4), targets(4), mode="batch")
        assert snapshot(model) == before
    layers = [module for module in model.modules() if isinstance(module, norm.Norm)]
    assert all(len(layer.take()) == 1 for layer in layers)


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


def test_a_model_on_several_workers_trains_on(tmp_path: Path) -> None:
    """An attack goes around its wrapper, which talks to the other workers in every forward."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        model = nn.parallel.DistributedDataParallel(convolutional())
        forwards: list[int] = []
        model.register_forward_hook(lambda *_: forwards.append(1))
        for step in range(2):
            attacks.pgd(model, images(6), targets(6), steps=3)
            assert len(forwards) == step
            torch.autograd.backward(F.cross_entropy(model(images(6)), targets(6)))
        assert all(parameter.grad is not None for parameter in model.parameters())
        assert model.training
    finally:
        dist.destroy_process_group()


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


def test_training_goes_on_inside_of_one_autocast_context() -> None:
    """Autocast keeps cast weights: copies made by a forward without gradients would cut training off from them."""
    for attack in ATTACKS.values():
        model = convolutional().train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            attack(model, images(6), targets(6))
            loss = F.cross_entropy(model(images(6)), targets(6))
        torch.autograd.backward(loss)
        assert all(parameter.grad is not None for parameter in model.parameters())


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
    model, x, y = convolutional(split).double(), images(8, dtype=torch.float64), targets(8)
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


@pytest.mark.parametrize("model", [lambda x: x, "resnet"])
def test_refuses_what_is_no_model(model: Any) -> None:
    with pytest.raises(InputError, match=r"expected a torch\.nn\.Module"):
        attacks.still(model).__enter__()
    with pytest.raises(InputError, match="unknown normalization mode 'trian'"):
        attacks.still(smooth(), "trian").__enter__()
