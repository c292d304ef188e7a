"""What tuning changes about a run, what that is worth on which images, and how sure that is."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from ..infer import Scores
from ..infer.judge import scores
from ..norm import Point, Tuned
from ..norm.tuning.losses import Loss
from ..norm.tuning.report import Z

AS_TRAINED, PRECISE = "as trained", "precise"
METRICS = {"error": ("error, %", 100.0, 2), "negative_log_likelihood": ("NLL, nats", 1.0, 4)}
"""metric -> heading, factor, decimals"""
COLUMNS = {**METRICS, "overconfidence": ("conf. - acc., %", 100.0, 2)}
"""what is shown of every candidate"""

Rows = tuple[Tensor, Tensor]
"""logits and targets"""


@dataclass(frozen=True)
class Gain:
    """By how much a mean loss is lower after than before on the same images; standard error image by image."""

    before: Scores
    after: Scores
    mean: float
    error: float

    @classmethod
    def of(cls, before: Rows, after: Rows, loss: Loss) -> "Gain":
        """From the logits of both."""
        gains = loss(*before) - loss(*after)
        error = float(gains.std()) / len(gains) ** 0.5 if len(gains) > 1 else float("inf")
        return cls(scores(*before), scores(*after), float(gains.mean()), error)

    @property
    def interval(self) -> tuple[float, float]:
        """95 %."""
        return self.mean - Z * self.error, self.mean + Z * self.error

    @property
    def supported(self) -> bool:
        """Whether the interval lies above 0."""
        return self.interval[0] > 0

    def agrees(self, other: "Gain") -> bool:
        """Whether the gain on other images is the same within the chance of both."""
        return abs(self.mean - other.mean) <= Z * math.hypot(self.error, other.error)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "before": asdict(self.before),
            "after": asdict(self.after),
            "gain": self.mean,
            "gain_error": self.error,
            "interval": list(self.interval),
        }


def same(first: Scores, second: Scores) -> bool:
    """Whether two measurements on the same images agree: one image more or less, rounding of the NLL."""
    near = abs(first.error - second.error) <= 1.5 * 100 / first.n
    return first.n == second.n and near and abs(first.nll - second.nll) <= 1e-3 * (1 + abs(first.nll))


@dataclass(frozen=True)
class Outcome:
    """What was found: the curve for each kind of statistics, and the candidate with the lowest mean of all.

    before    the run as it came, on every image that chose
    gain      of the best candidate over it on every one of these; None: the run itself has the lowest mean
    measured  mean loss of the best candidate on every one of these
    others    the gain on images that chose nothing; None: there are none
    """

    curves: dict[str, Tuned]
    statistics: str
    best: Point
    before: Scores
    gain: Gain | None = None
    measured: float | None = None
    others: Gain | None = None

    @property
    def supported(self) -> bool:
        """Whether the run is changed: only if the interval of the gain lies above 0."""
        return self.gain is not None and self.gain.supported
