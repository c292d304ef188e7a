"""How logits are spread: what regularizers of logits change, and what fools attacks."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..check import InputError


@dataclass(frozen=True)
class Distribution:
    """All N * K logits of a set of images, as one sample.

    values      how many
    mean, variance, low, high   of those that are finite
    infinite    how many are not finite
    edges       len(counts) + 1 edges of equal intervals from `low` to `high`
    counts      logits in each interval, the upper edge counting only in the last one
    margin      mean over the images of the largest logit minus the second largest, of images where both are finite;
                NaN if there is no such image
    """

    values: int
    mean: float
    variance: float
    low: float
    high: float
    infinite: int
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    margin: float

    @property
    def range(self) -> float:
        """The largest logit minus the smallest."""
        return self.high - self.low

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "edges": list(self.edges), "counts": list(self.counts)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Distribution":
        """What `to_dict` gave."""
        margin = math.nan if raw["margin"] is None else raw["margin"]  # JSON has no NaN
        return cls(**{**raw, "margin": margin, "edges": tuple(raw["edges"]), "counts": tuple(raw["counts"])})

    @classmethod
    def of(cls, logits: Float[Tensor, "n classes"], *, bins: int = 50) -> "Distribution":
        """The distribution of some logits.

        Raises `InputError` without a finite logit, for fewer than two classes, and for bins below 1.

        >>> Distribution.of(torch.tensor([[0.0, 1.0, 3.0]]), bins=2).counts
        (2, 1)
        """
        if bins < 1:
            raise InputError(f"bins: got {bins}, expected at least 1")
        if logits.shape[1] < 2:
            raise InputError(f"logits: got shape {tuple(logits.shape)}, expected at least two classes")
        wide = logits.detach().cpu().double()
        finite = wide[wide.isfinite()]
        if not len(finite):
            raise InputError(f"no finite logit among {wide.numel()}: there is no distribution to show")
        counts, edges = torch.histogram(finite, bins)
        best = wide.topk(2, 1).values
        apart = (best[:, 0] - best[:, 1])[best.isfinite().all(1)]
        return cls(
            values=wide.numel(),
            mean=finite.mean().item(),
            variance=finite.var(correction=0).item(),
            low=finite.min().item(),
            high=finite.max().item(),
            infinite=wide.numel() - len(finite),
            edges=tuple(edges.tolist()),
            counts=tuple(int(count) for count in counts.tolist()),
            margin=apart.mean().item() if len(apart) else math.nan,
        )
