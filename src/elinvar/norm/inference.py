"""Inference: which statistics normalize at test time."""

from abc import ABC
from dataclasses import dataclass

from ..check import InputError


class Inference(ABC):
    """Whether a rule reads the layer's memory, the rows before it, or both."""

    needs_memory: bool
    needs_rows: bool


@dataclass(frozen=True)
class Remembered(Inference):
    """What training remembered: `nn.BatchNorm2d` in eval mode."""

    needs_memory = True
    needs_rows = False


@dataclass(frozen=True)
class OwnBatch(Inference):
    """The statistics of the test batch itself, shared as in training; they leave no trace.

    Predictions then depend on their neighbours: only legitimate where a batch belongs together.

    prior  pseudo-examples N of the memory that join n rows: mean = (N M + n m) / (N + n), variances likewise; 0 forgets
           the memory

    Source   Schneider et al., "Improving robustness against common corruptions by covariate shift adaptation", 2020,
             section 3 (prior); it mixes variances without the distance of the means, and so do we here.
    """

    prior: float = 0.0

    needs_rows = True

    def __post_init__(self) -> None:
        if not self.prior >= 0.0:
            raise InputError(f"prior counts pseudo-examples of the memory: got {self.prior}, expected at least 0")

    @property
    def needs_memory(self) -> bool:  # type: ignore[override]
        return self.prior > 0.0


@dataclass(frozen=True)
class ExampleWeighted(Inference):
    """Each example by the memory and by itself: it takes part in its own normalization, as it did in training.

        mean = a m_i + (1 - a) M,   var = a v_i + (1 - a) V + a (1 - a) (m_i - M)^2

    alpha  weight a of the example's own moments, in [0, 1]; 0 is `Remembered`, 1 is instance (or group) normalization.
           Choose it on validation data: `norm.tune`

    Other images of the batch change nothing. Moments are over the example's positions and, with `channel_groups`, over
    neighbouring channels. Works on a model that was trained long ago.

    Source   Summers, thesis, section 4.3.1. Its released code mixes means of x and of x^2, which is the same; it starts
             from memories of x^2, we from the memory of variances that torch keeps, so that a = 0 changes nothing.
    """

    alpha: float

    needs_rows = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha <= 1.0:
            raise InputError(f"alpha is the weight of the example's own statistics in [0, 1], got {self.alpha}")

    @property
    def needs_memory(self) -> bool:  # type: ignore[override]
        return self.alpha < 1.0
