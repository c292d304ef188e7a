"""Predictions reduced to what metrics need: one forward over the images serves every number that is asked for later."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from .. import metrics
from .evaluation import Reliability, Scores

ROWS = 1 << 16  # pieces that stay small when they become float64


@dataclass(frozen=True)
class Predictions:
    """n predictions, without their logits: 33 bytes each, however many classes there are.

    predicted   class of the largest logit
    targets     class numbers
    confidence  largest probability
    nll         -log p of the target, in nats
    brier       squared distance to the one-hot target over all classes, 0 to 2

    Logits with NaN or +inf, and rows of -inf alone, have no softmax: their confidence is NaN. They count as
    misclassified, as `metrics.error_rate` counts them; a set with such rows has no likelihood, Brier score or
    calibration.
    """

    predicted: Int64[Tensor, " n"]
    targets: Int64[Tensor, " n"]
    confidence: Float64[Tensor, " n"]
    nll: Float64[Tensor, " n"]
    brier: Float64[Tensor, " n"]

    @classmethod
    def of(cls, logits: Float[Tensor, "n classes"], targets: Int64[Tensor, " n"]) -> "Predictions":
        """Reduce logits, in float64."""
        pieces = [
            cls._piece(z, y)
            for z, y in zip(logits.split(ROWS), targets.split(ROWS), strict=True)  # type: ignore[no-untyped-call]
        ]
        return cls.pooled(pieces)

    @classmethod
    def _piece(cls, logits: Float[Tensor, "n classes"], targets: Int64[Tensor, " n"]) -> "Predictions":
        z = logits.double()
        probabilities, own = z.softmax(1), targets.unsqueeze(1)
        return cls(
            predicted=logits.argmax(1),
            targets=targets,
            confidence=probabilities.amax(1),
            nll=z.logsumexp(1) - z.gather(1, own).squeeze(1),
            brier=probabilities.square().sum(1) - 2 * probabilities.gather(1, own).squeeze(1) + 1,
        )

    @classmethod
    def pooled(cls, parts: Sequence["Predictions"]) -> "Predictions":
        """All predictions of several sets, one set after the other."""
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__})

    @property
    def correct(self) -> Bool[Tensor, " n"]:
        """Whether the target was predicted."""
        return (self.predicted == self.targets) & self.confidence.isfinite()

    @property
    def not_finite(self) -> int:
        """How many predictions are of logits without a softmax."""
        return int((~self.confidence.isfinite()).sum())

    @property
    def error(self) -> float:
        """Share of wrong predictions, in per cent."""
        return 100.0 * (int((~self.correct).sum()) / len(self.targets))

    def scores(self) -> Scores:
        """Every number about these predictions; those of probabilities only where all have some."""
        if lost := self.not_finite:
            none = Reliability(confidence=[], accuracy=[], count=[])
            return Scores(
                n=len(self.targets),
                error=self.error,
                nll=math.nan,
                brier=math.nan,
                rms_calibration=math.nan,
                reliability=none,
                not_finite=lost,
            )
        bins = metrics.reliability_bins(self.confidence, self.correct)
        filled = bins.count > 0
        return Scores(
            n=len(self.targets),
            error=self.error,
            nll=float(self.nll.mean()),
            brier=metrics.top_label_brier_score(self.confidence, self.correct),
            rms_calibration=100.0 * metrics.rms_calibration_error(self.confidence, self.correct),
            reliability=Reliability(
                confidence=bins.confidence[filled].tolist(),
                accuracy=bins.accuracy[filled].tolist(),
                count=bins.count[filled].tolist(),
            ),
        )

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """As named tensors, for a file."""
        return {f"{prefix}.{name}": getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor], prefix: str) -> "Predictions":
        """What `tensors` gave."""
        return cls(**{name: tensors[f"{prefix}.{name}"] for name in cls.__dataclass_fields__})


def scores(logits: Float[Tensor, "n classes"], targets: Int64[Tensor, " n"]) -> Scores:
    """Every number about one set of predictions."""
    return Predictions.of(logits, targets).scores()
