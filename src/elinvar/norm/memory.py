"""Memory: what a normalization layer remembers of the batches it saw in training."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..check import InputError
from .moments import Moments


class Bank(nn.Module):
    """Memory, gamma and beta of one branch, under the names that torch gives them; None where there is none."""

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def hold(self, channels: int, *, affine: bool, remembers: bool) -> None:
        """Register what a fresh branch has: gamma 1, beta 0, mean 0, variance 1."""
        self.register_parameter("weight", nn.Parameter(torch.ones(channels)) if affine else None)
        self.register_parameter("bias", nn.Parameter(torch.zeros(channels)) if affine else None)
        self.register_buffer("running_mean", torch.zeros(channels) if remembers else None)
        self.register_buffer("running_var", torch.ones(channels) if remembers else None)
        self.register_buffer("num_batches_tracked", torch.tensor(0) if remembers else None)


class Memory(ABC):
    """How a bank changes when a step commits the moments that its forward saw."""

    remembers = True

    def for_layer(self, momentum: float | None) -> "Memory":
        """This memory for a layer that brings its own `momentum` (None means an average, as in torch)."""
        return self

    @abstractmethod
    def weight(self, bank: Bank) -> float:
        """The weight of the next update, after `bank` has counted it; the old value keeps the rest."""

    def commit(self, bank: Bank, seen: Moments) -> None:
        """Move `bank` toward `seen`: v <- (1 - w) v + w b, for b the mean and the unbiased variance."""
        if bank.running_mean is None or bank.running_var is None or bank.num_batches_tracked is None:
            return
        with torch.no_grad():
            bank.num_batches_tracked.add_(1)
            weight = self.weight(bank)
            bank.running_mean.mul_(1 - weight).add_(seen.mean, alpha=weight)
            bank.running_var.mul_(1 - weight).add_(seen.variance, alpha=weight)


@dataclass(frozen=True)
class Ema(Memory):
    """Exponential moving average of means and unbiased variances, as torch keeps it.

    momentum  weight of the new value, in [0, 1] (papers often state the weight of the old one, 1 - momentum);
              None: what the converted layer has, 0.1 for a new one
    """

    momentum: float | None = None

    def __post_init__(self) -> None:
        if self.momentum is not None and not 0.0 <= self.momentum <= 1.0:
            raise InputError(
                f"momentum is the weight of the new value and lies in [0, 1], got {self.momentum}; "
                "a decay of 0.99 is a momentum of 0.01"
            )

    def for_layer(self, momentum: float | None) -> Memory:
        if self.momentum is not None:
            return self
        return Average() if momentum is None else Ema(momentum)

    def weight(self, bank: Bank) -> float:
        assert self.momentum is not None, "a layer resolves its memory by for_layer"
        return self.momentum


@dataclass(frozen=True)
class Average(Memory):
    """Equal weight for every batch so far: torch's `momentum=None`."""

    def weight(self, bank: Bank) -> float:
        assert bank.num_batches_tracked is not None
        return 1.0 / float(bank.num_batches_tracked)


@dataclass(frozen=True)
class Nothing(Memory):
    """No memory: torch's `track_running_stats=False`. Inference must then use its own batch."""

    remembers = False

    def weight(self, bank: Bank) -> float:
        return 0.0
