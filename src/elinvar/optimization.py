"""How weights move: the settings of an optimizer, and a schedule for its learning rate."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import nn

from .check import InputError
from .norm import parameter_groups


class Optimizer(ABC):
    """Settings that build a torch optimizer for a model."""

    lr: float

    @abstractmethod
    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer over the model's trainable parameters, in groups that say what is decayed."""


@dataclass(frozen=True, kw_only=True)
class Sgd(Optimizer):
    """Stochastic gradient descent with momentum.

        v <- momentum v + g + decay w,     w <- w - lr (g + decay w + momentum v)   (Nesterov)

    lr             peak learning rate, before the schedule
    norm_decay     decay of gamma and beta; None: as weight_decay
    gamma_to       what gamma decays to: 0, or 1 as in the thesis' layer
    bias_decay     decay of other biases; None: as weight_decay
    """

    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    norm_decay: float | None = None
    gamma_to: float = 0.0
    bias_decay: float | None = None

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise InputError(f"lr: got {self.lr}, expected a number above 0")
        if not 0.0 <= self.momentum < 1.0:
            raise InputError(f"momentum: got {self.momentum}, expected a number in [0, 1)")
        if self.nesterov and not self.momentum:
            raise InputError("nesterov needs a momentum above 0; set nesterov to false")
        for decay in (self.weight_decay, self.norm_decay, self.bias_decay):
            if decay is not None and not decay >= 0.0:
                raise InputError(f"weight decay: got {decay}, expected a number of at least 0")

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        groups = parameter_groups(
            model,
            self.weight_decay,
            norm_decay=self.norm_decay,
            gamma_to=self.gamma_to,
            bias_decay=self.bias_decay,
        )
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov)


class Schedule(ABC):
    """How the learning rate moves, step by step."""

    @abstractmethod
    def factor(self, step: int, steps: int, steps_per_epoch: int) -> float:
        """What the peak learning rate is multiplied with in step `step` (from 0) of `steps`."""


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Linear warm-up, then half a cosine down to `final` times the peak.

    f(t) = t' / w                                    for the first w steps, t' = t + 1
    f(t) = final + (1 - final) (1 + cos(pi u)) / 2   after, u in [0, 1) the part of the rest that is done
    """

    warmup_epochs: float = 0.0
    final: float = 1e-5

    def __post_init__(self) -> None:
        if not (self.warmup_epochs >= 0 and 0 <= self.final <= 1):
            raise InputError(
                f"cosine: got warmup_epochs {self.warmup_epochs}, final {self.final}; expected at least 0, and 0 to 1"
            )

    def factor(self, step: int, steps: int, steps_per_epoch: int) -> float:
        warmup = min(round(self.warmup_epochs * steps_per_epoch), steps)
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(steps - warmup, 1)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True, kw_only=True)
class Steps(Schedule):
    """Warm-up, then the peak, multiplied with `by` at each of some epochs.

    at              epochs, whole or not, that are done when a drop comes; negative ones count from the end of the run
    by              factor of each drop
    warmup_epochs   w, rising linearly, or held at `warmup`
    """

    at: tuple[float, ...]
    by: float = 0.1
    warmup_epochs: float = 0.0
    warmup: float | None = None

    def __post_init__(self) -> None:
        if not (self.warmup_epochs >= 0 and 0 < self.by <= 1 and (self.warmup is None or 0 <= self.warmup <= 1)):
            raise InputError(
                f"steps: got by {self.by}, warmup_epochs {self.warmup_epochs}, warmup {self.warmup}; "
                "expected above 0 to 1, at least 0, and 0 to 1 or null"
            )

    def factor(self, step: int, steps: int, steps_per_epoch: int) -> float:
        warmup = min(round(self.warmup_epochs * steps_per_epoch), steps)
        if step < warmup:
            return (step + 1) / warmup if self.warmup is None else self.warmup
        drops = (round(epoch * steps_per_epoch) + (steps if epoch < 0 else 0) for epoch in self.at)
        return float(self.by ** sum(step >= drop for drop in drops))
