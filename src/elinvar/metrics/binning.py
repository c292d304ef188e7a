"""Sort predictions into bins by confidence: three ways to cut, one table of counts and means.

Ties. Bins that hold a given number of predictions cut through equal confidences, and which of them come first says
nothing about the classifier. So all of them count with their common accuracy, wherever they lie: each bin gets its
share of those that are right, which is the mean over all orders. The order of the rows then changes no measure.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from ..check import InputError, unknown

Ties = Literal["shared", "rows"]
TIES = ("shared", "rows")


@dataclass(frozen=True)
class Bins:
    """What a reliability diagram shows, for each bin in order of confidence. Means of empty bins are NaN.

    count        predictions in the bin
    confidence   their mean confidence
    accuracy     share of them that are right
    examples     number of all predictions
    independent  predictions that the accuracy is a mean of: more than `count` where ties are shared with other bins
    """

    count: Int64[Tensor, " bins"]
    confidence: Float64[Tensor, " bins"]
    accuracy: Float64[Tensor, " bins"]
    examples: int
    independent: Float64[Tensor, " bins"]

    @classmethod
    def of(
        cls,
        index: Int64[Tensor, " n"],
        bins: int,
        confidence: Float[Tensor, " n"],
        correct: Bool[Tensor, " n"] | Float64[Tensor, " n"],
        shares: Float[Tensor, " n"] | None = None,
    ) -> "Bins":
        """Counts and means, summed in float64, of predictions whose bins are known.

        shares   of each prediction's tie, the part that lies in its bin; None: whole ties
        """
        count = torch.bincount(index, minlength=bins)
        sums = [torch.bincount(index, values.double(), minlength=bins) for values in (confidence, correct)]
        independent = count.double()
        if shares is not None:  # (sum of weights)^2 / sum of squared weights, over the predictions of whole ties
            independent = independent.square() / torch.bincount(index, shares.double(), minlength=bins)
        return cls(count, sums[0] / count, sums[1] / count, len(confidence), independent)


class Binning(ABC):
    """A way to cut; settings of a frozen dataclass."""

    @abstractmethod
    def assign(self, confidence: Float[Tensor, " n"]) -> tuple[Int64[Tensor, " n"], int]:
        """The bin of each prediction, and the number of bins."""

    def table(self, confidence: Float[Tensor, " n"], correct: Bool[Tensor, " n"]) -> Bins:
        """The bins of these predictions."""
        return Bins.of(*self.assign(confidence), confidence, correct)


@dataclass(frozen=True)
class EqualWidth(Binning):
    """Intervals (lo, hi] of the same width; the first one also holds 0.

    Edges are rounded to the dtype of the confidences, so that a float32 confidence of 0.2 lies on the edge 3/15.

    Source   Guo et al., "On calibration of modern neural networks", ICML 2017, section 2.
    Differs  torchmetrics closes intervals on the left, and a confidence of 1 is in a bin of its own there.
    """

    bins: int = 15

    def __post_init__(self) -> None:
        _positive("bins", self.bins)

    @property
    def edges(self) -> Float64[Tensor, " edges"]:
        """The bins + 1 edges from 0 to 1."""
        return torch.arange(self.bins + 1, dtype=torch.float64) / self.bins

    def assign(self, confidence: Float[Tensor, " n"]) -> tuple[Int64[Tensor, " n"], int]:
        return torch.bucketize(confidence, self.edges[1:-1].to(confidence.dtype)), self.bins


class ByRank(Binning):
    """Consecutive predictions in ascending order of confidence.

    ties   "shared": equal confidences count with their common accuracy in every bin that they reach into. "rows": they
           stay in the order in which they came, as in the authors' code, and the measures depend on that order
    """

    ties: Ties

    def __post_init__(self) -> None:
        if self.ties not in TIES:
            raise unknown("way to treat ties", self.ties, TIES)

    @abstractmethod
    def sizes(self, n: int) -> Int64[Tensor, " bins"]:
        """How many predictions each bin takes; their sum is n."""

    def assign(self, confidence: Float[Tensor, " n"]) -> tuple[Int64[Tensor, " n"], int]:
        sizes = self.sizes(len(confidence))
        index = torch.empty(len(confidence), dtype=torch.int64)
        index[confidence.argsort(stable=True)] = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        return index, len(sizes)

    def cut(self, confidence: Float[Tensor, " n"], correct: Bool[Tensor, " n"]) -> "Cut":
        """The predictions in order, with ties treated."""
        sizes = self.sizes(len(confidence))
        index = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        confidence, order = confidence.sort(stable=True)
        accuracy, changes = correct[order].double(), confidence[1:] != confidence[:-1]
        if self.ties == "rows" or bool(changes.all()):
            return Cut(index, len(sizes), confidence, accuracy, None)
        tie, piece = (_runs(starts) for starts in (changes, changes | (index[1:] != index[:-1])))
        in_tie = torch.bincount(tie)
        accuracy = (torch.bincount(tie, accuracy) / in_tie)[tie]
        return Cut(index, len(sizes), confidence, accuracy, torch.bincount(piece)[piece] / in_tie[tie])

    def table(self, confidence: Float[Tensor, " n"], correct: Bool[Tensor, " n"]) -> Bins:
        return Bins.of(*self.cut(confidence, correct))


class Cut(NamedTuple):
    """Predictions in ascending order of confidence.

    bin_of      bin of each
    bins        number of bins
    confidence  of each
    accuracy    whether each is right, or the share of its tie that is
    shares      part of each one's tie that lies in its bin; None where no tie is shared
    """

    bin_of: Int64[Tensor, " n"]
    bins: int
    confidence: Float[Tensor, " n"]
    accuracy: Float64[Tensor, " n"]
    shares: Float[Tensor, " n"] | None


def _runs(changes: Bool[Tensor, " n_minus_1"]) -> Int64[Tensor, " n"]:
    """The number of the run that each place belongs to, from the places at which another run starts."""
    return torch.nn.functional.pad(changes.long(), (1, 0)).cumsum(0)


@dataclass(frozen=True)
class EqualSize(ByRank):
    """Bins of `size` predictions; the last one takes the remainder too. Fewer predictions than `size` are one bin.

    Source   Hendrycks et al., "AugMix", ICLR 2020, appendix E; hendrycks/outlier-exposure, calibration_tools.py.
    Differs  ties are shared (see `ByRank`); there they stand in the order that an unstable sort leaves.
    """

    size: int = 100
    ties: Ties = "shared"

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("size", self.size)

    def sizes(self, n: int) -> Int64[Tensor, " bins"]:
        sizes = torch.full((max(n // self.size, 1),), self.size)
        sizes[-1] = n - self.size * (len(sizes) - 1)
        return sizes


@dataclass(frozen=True)
class EqualMass(ByRank):
    """A given number of bins with the same number of predictions; the first ones take one more where n is no multiple.

    Source   as torch-uncertainty cuts, adaptive_calibration_error.py.
    Differs  ties are shared (see `ByRank`); there they stay in some order.
    """

    bins: int = 10
    ties: Ties = "shared"

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("bins", self.bins)

    def sizes(self, n: int) -> Int64[Tensor, " bins"]:
        return n // self.bins + (torch.arange(self.bins) < n % self.bins).long()


def _positive(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"{name}: got {value}, expected at least 1")
