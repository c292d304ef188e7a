"""A short training loop, and errors by each kind of statistics: what the experiments are made of."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..check import InputError
from ..norm import Inference, Norm, OwnBatch

Pair = tuple[Tensor, Tensor]
"""inputs and targets, with as many rows"""


@dataclass(frozen=True, kw_only=True)
class Sgd:
    """SGD with Nesterov's momentum of 0.9; the learning rate rises over `warmup` steps, then falls by half a cosine."""

    lr: float
    steps: int
    weight_decay: float = 0.0
    warmup: int = 0

    def rate(self, step: int) -> float:
        """The learning rate of step number `step`, from 0 on."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(self.steps - self.warmup, 1)))


def training(model: nn.Module, batches: Iterable[Pair], plan: Sgd) -> Iterator[int]:
    """Train, and give the number of steps done after each step, so that the caller may look in between.

    Raises `InputError` when the batches run out, and when the loss is not finite.
    """
    optimizer = torch.optim.SGD(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=plan.lr, momentum=0.9, nesterov=True, weight_decay=plan.weight_decay,
    )  # fmt: skip
    source = iter(batches)
    for step in range(plan.steps):
        pair = next(source, None)
        if pair is None:
            raise InputError(f"the batches end after {step} steps, expected {plan.steps}")
        optimizer.param_groups[0]["lr"] = plan.rate(step)
        model.train()
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(pair[0]), pair[1])
        if not math.isfinite(loss.item()):
            raise InputError(f"the loss is {loss.item()} in step {step + 1}: lower the learning rate {plan.lr}")
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield step + 1


def trained(model: nn.Module, batches: Iterable[Pair], plan: Sgd) -> nn.Module:
    """The model after all steps."""
    for _ in training(model, batches, plan):
        pass
    return model


def error(model: nn.Module, batches: Iterable[Pair]) -> float:
    """Percentage of wrong answers in eval mode, batch by batch; the memory stays as it was."""
    wrong, total = 0, 0
    model.eval()
    with torch.no_grad():
        for x, y in batches:
            wrong += int((model(x).argmax(1) != y).sum())
            total += len(y)
    return 100.0 * wrong / total


@contextmanager
def inferring(model: nn.Module, rule: Inference) -> Iterator[None]:
    """Inside, every `Norm` layer follows `rule` at test."""
    before = [(layer, layer.policy) for layer in model.modules() if isinstance(layer, Norm)]
    try:
        for layer, policy in before:
            layer.policy = replace(policy, inference=rule)
        yield
    finally:
        for layer, policy in before:
            layer.policy = policy


def error_by_batch(model: nn.Module, batches: Iterable[Pair]) -> float:
    """As `error`, normalized by each test batch, grouped as in training."""
    with inferring(model, OwnBatch()):
        return error(model, batches)
