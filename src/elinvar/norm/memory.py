"""Memory: what a normalization layer remembers of the batches it saw in training."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..check import InputError
from .moments import Moments


class Bank(nn.Module):
    """Memory, gamma and beta of one branch, under the names that torch gives them; None where there is none.

    The memory stays float32 (or float64) when the module is cast to half precision: a small update would be lost in
    the rounding of bfloat16.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
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

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        before = self.running_mean, self.running_var
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, old in zip(("running_mean", "running_var"), before, strict=True):
            new = self._buffers[name]
            if old is not None and new is not None and new.dtype in (torch.float16, torch.bfloat16):
                self._buffers[name] = old.to(device=new.device)
        return self


class Memory(ABC):
    """How a bank changes when a step commits the moments that its forward saw."""

    remembers = True
    frozen = False  # whether training is normalized by the memory, which then never changes
    by_torch = False  # whether torch's own kernel can move it: new = (1 - weight) * old + weight * seen

    def for_layer(self, momentum: float | None) -> "Memory":
        """This memory for a layer that brings its own `momentum` (None means an average, as in torch)."""
        return self

    @abstractmethod
    def weight(self, bank: Bank) -> float | Tensor:
        """The weight of the next update, after `bank` has counted it; the old value keeps the rest."""

    def commit(self, bank: Bank, seen: Moments) -> None:
        """Move `bank` toward `seen`: v <- (1 - w) v + w b, for b the mean and the unbiased variance."""
        if bank.running_mean is None or bank.running_var is None or bank.num_batches_tracked is None:
            return
        with torch.no_grad():
            bank.num_batches_tracked.add_(1)
            self.move(bank.running_mean, bank.running_var, seen, self.weight(bank))

    def move(self, mean: Tensor, variance: Tensor, seen: Moments, weight: float | Tensor) -> None:
        """Change both in place."""
        mean.lerp_(seen.mean.to(mean.dtype), weight)
        variance.lerp_(seen.variance.to(variance.dtype), weight)


@dataclass(frozen=True)
class Ema(Memory):
    """Exponential moving average of means and unbiased variances, as torch keeps it.

    momentum  weight of the new value, in [0, 1] (papers often state the weight of the old one, 1 - momentum);
              None: what the converted layer has, 0.1 for a new one
    """

    momentum: float | None = None

    by_torch = True

    def __post_init__(self) -> None:
        if self.momentum is not None:
            _check_momentum(self.momentum)

    def for_layer(self, momentum: float | None) -> Memory:
        if self.momentum is not None:
            return self
        return Average() if momentum is None else Ema(momentum)

    def weight(self, bank: Bank) -> float:
        assert self.momentum is not None, "a layer resolves its memory by for_layer"
        return self.momentum


@dataclass(frozen=True)
class Average(Memory):
    """Equal weight for every batch so far: torch's `momentum=None`, but empty batches are not counted."""

    @property
    def by_torch(self) -> bool:  # type: ignore[override]
        return not torch.compiler.is_compiling()  # torch's kernel wants a number, which a graph would have to wait for

    def weight(self, bank: Bank) -> float | Tensor:
        assert bank.num_batches_tracked is not None
        if torch.compiler.is_compiling():
            return (1.0 / bank.num_batches_tracked).to(bank.running_mean.dtype)  # type: ignore[union-attr]
        return 1.0 / float(bank.num_batches_tracked)


@dataclass(frozen=True)
class MomentEma(Memory):
    """Exponential moving average of the means of x and of x^2, so that the variance holds that of batch means as well.

        M <- (1 - w) M + w m,   V <- (1 - w) V + w v + w (1 - w) (m - M)^2        with the biased variance v

    which is that average, kept as mean and variance.

    Source   Summers, thesis, section 4.3.1, and its released layer, whose decay of 0.99 is this momentum of 0.01.
    """

    momentum: float = 0.01

    def __post_init__(self) -> None:
        _check_momentum(self.momentum)

    def weight(self, bank: Bank) -> float:
        return self.momentum

    def move(self, mean: Tensor, variance: Tensor, seen: Moments, weight: float | Tensor) -> None:
        variance.lerp_(seen.biased().to(variance.dtype), weight)
        variance.add_((seen.mean - mean).square() * (weight * (1 - weight)))
        mean.lerp_(seen.mean.to(mean.dtype), weight)


@dataclass(frozen=True)
class Nothing(Memory):
    """No memory: torch's `track_running_stats=False`. Inference must then use its own batch."""

    remembers = False

    def weight(self, bank: Bank) -> float:
        return 0.0


@dataclass(frozen=True)
class Frozen(Memory):
    """The memory normalizes in training too, and never changes: `norm.freeze`.

    before   the memory rule that `norm.unfreeze` gives back
    stopped  "weight", "bias": gamma and beta, if `norm.unfreeze` is to let them train again
    """

    before: Memory = field(default_factory=Ema)
    stopped: tuple[str, ...] = ()

    frozen = True

    def for_layer(self, momentum: float | None) -> Memory:
        return replace(self, before=self.before.for_layer(momentum))

    def weight(self, bank: Bank) -> float:
        return 0.0

    def commit(self, bank: Bank, seen: Moments) -> None:
        pass


@dataclass(frozen=True)
class Renorm(Memory):
    """Batch renormalization: training is corrected toward what the memory would have said.

        y = (x - mean) / s * r + d,   s = sqrt(var + eps),   S = sqrt(VAR + eps)
        r = clip(s / S, 1 / r_max, r_max),   d = clip((mean - MEAN) / S, -d_max, d_max)      both without gradient

    r_max and d_max are 1 and 0 (plain BatchNorm) for the first `start` updates, then rise linearly to their final
    values at updates `r_end` and `d_end`. The number of updates is the layer's `num_batches_tracked`, so a resumed run
    goes on where it was. Scale the three numbers with the length of the run.

    Source   Ioffe, "Batch Renormalization", 2017, section 3; constants from there. The memory there averages standard
             deviations, here variances, so that checkpoints stay those of `nn.BatchNorm2d`.
    """

    momentum: float = 0.01
    r_max: float = 3.0
    d_max: float = 5.0
    start: int = 5_000
    r_end: int = 40_000
    d_end: int = 25_000

    def __post_init__(self) -> None:
        _check_momentum(self.momentum)
        if not (self.r_max >= 1.0 and self.d_max >= 0.0):
            raise InputError(f"r_max must be at least 1 and d_max at least 0, got {self.r_max} and {self.d_max}")
        if not 0 <= self.start <= min(self.r_end, self.d_end):
            raise InputError(f"updates must be in order 0 <= start <= r_end, d_end; got {self}")

    def weight(self, bank: Bank) -> float:
        return self.momentum

    def limits(self, updates: Tensor) -> tuple[Tensor, Tensor]:
        """r_max and d_max after so many updates of the memory."""
        of_r, of_d = self._part(updates, self.r_end), self._part(updates, self.d_end)
        # Not limit * part: an infinite limit must stay plain BatchNorm until `start`.
        room = (self.r_max - 1.0) * of_r, self.d_max * of_d
        return 1.0 + room[0].where(of_r > 0, 0.0), room[1].where(of_d > 0, 0.0)

    def _part(self, updates: Tensor, end: int) -> Tensor:
        if end == self.start:
            return (updates >= end).float()
        return ((updates - self.start) / (end - self.start)).clamp(0.0, 1.0)

    def correction(
        self, own: tuple[Tensor, Tensor], memory: tuple[Tensor, Tensor], updates: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """r and d of each group, whose memory was moved `updates` times."""
        r_max, d_max = (limit.to(own[0].dtype).unsqueeze(1) for limit in self.limits(updates))
        spread = (memory[1] + eps).sqrt()
        ratio = ((own[1] + eps).sqrt() / spread).clamp(1 / r_max, r_max)
        return ratio, ((own[0] - memory[0]) / spread).clamp(-d_max, d_max)


def _check_momentum(momentum: float) -> None:
    if not 0.0 <= momentum <= 1.0:
        raise InputError(
            f"momentum is the weight of the new value and lies in [0, 1], got {momentum}; "
            "a decay of 0.99 is a momentum of 0.01"
        )
