"""A model is after an attack what it was before, whatever happens."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from elinvar import attacks, norm
from elinvar.check import InputError
from elinvar.routing import Routing, Trace, route

from .nets import convolutional, images, smooth, targets, two_branches

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
        attacks.pgd(prepared(convolutional(two_branches)), images(4), targets(4), branch="x")
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


def test_training_goes_on_inside_of_one_autocast_context() -> None:
    """Autocast keeps cast weights: copies made by a forward without gradients would cut training off from them."""
    for attack in ATTACKS.values():
        model = convolutional().train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            attack(model, images(6), targets(6))
            loss = F.cross_entropy(model(images(6)), targets(6))
        torch.autograd.backward(loss)
        assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("model", [lambda x: x, "resnet"])
def test_refuses_what_is_no_model(model: Any) -> None:
    with pytest.raises(InputError, match=r"expected a torch\.nn\.Module"):
        attacks.still(model).__enter__()
    with pytest.raises(InputError, match="unknown normalization mode 'trian'"):
        attacks.still(smooth(), "trian").__enter__()
