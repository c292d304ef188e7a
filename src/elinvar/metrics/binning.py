"""Sort predictions into bins by confidence: three ways to cut, one table of counts and means."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from ..check import InputError


@dataclass(frozen=True)
class Bins:
    """What a reliability diagram shows, for each bin in order of confidence. Means of empty bins are NaN.

    count        predictions in the bin
    confidence   their mean confidence
    accuracy     share of them that are right
    examples     number of all predictions
    """

    count: Int64[Tensor, " bins"]
    confidence: Float64[Tensor, " bins"]
    accuracy: Float64[Tensor, " bins"]
    examples: int

    @classmethod
    def of(
        cls, index: Int64[Tensor, " n"], bins: int, confidence: Float[Tensor, " n"], correct: Bool[Tensor, " n"]
    ) -> "Bins":
        """Counts and means, summed in float64, of predictions whose bins are known."""
        count = torch.bincount(index, minlength=bins)
        sums = [torch.bincount(index, values.double(), minlength=bins) for values in (confidence, correct)]
        return cls(count, sums[0] / count, sums[1] / count, len(confidence))


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
    """Consecutive predictions in ascending order of confidence; equal ones stay in the order in which they came."""

    @abstractmethod
    def sizes(self, n: int) -> Int64[Tensor, " bins"]:
        """How many predictions each bin takes; their sum is n."""

    def assign(self, confidence: Float[Tensor, " n"]) -> tuple[Int64[Tensor, " n"], int]:
        sizes = self.sizes(len(confidence))
        index = torch.empty(len(confidence), dtype=torch.int64)
        index[confidence.argsort(stable=True)] = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        return index, len(sizes)


@dataclass(frozen=True)
class EqualSize(ByRank):
    """Bins of `size` predictions; the last one takes the remainder too. Fewer predictions than `size` are one bin.

    Source   Hendrycks et al., "AugMix", ICLR 2020, appendix E; hendrycks/outlier-exposure, calibration_tools.py.
    """

    size: int = 100

    def __post_init__(self) -> None:
        _positive("size", self.size)

    def sizes(self, n: int) -> Int64[Tensor, " bins"]:
        sizes = torch.full((max(n // self.size, 1),), self.size)
        sizes[-1] = n - self.size * (len(sizes) - 1)
        return sizes


@dataclass(frozen=True)
class EqualMass(ByRank):
    """A given number of bins with the same number of predictions; the first ones take one more where n is no multiple.

    Source   as torch-uncertainty cuts, adaptive_calibration_error.py.
    """

    bins: int = 10

    def __post_init__(self) -> None:
        _positive("bins", self.bins)

    def sizes(self, n: int) -> Int64[Tensor, " bins"]:
        return n // self.bins + (torch.arange(self.bins) < n % self.bins).long()


def _positive(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"{name}: got {value}, expected at least 1")
