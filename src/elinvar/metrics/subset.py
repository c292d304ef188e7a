"""A mean that knows what it is a mean of."""

import math
from collections.abc import Mapping
from typing import ClassVar, TypeVar

M = TypeVar("M", bound="SubsetMean")


class SubsetMean(float):
    """A number, the mean of the values of a named subset of nuisances; printed, it names the subset.

    subset   its name
    each     the value of each nuisance in it
    """

    kind: ClassVar[str]
    subset: str
    each: Mapping[str, float]

    def __new__(cls: type[M], each: Mapping[str, float], subset: str) -> M:
        self = super().__new__(cls, math.fsum(each.values()) / len(each))
        self.subset, self.each = subset, dict(each)
        return self

    def __reduce__(self) -> tuple[type["SubsetMean"], tuple[Mapping[str, float], str]]:
        return type(self), (self.each, self.subset)

    @property
    def over(self) -> str:
        """What it is a mean of, for people."""
        return f"{len(self.each)} {self.kind} ({self.subset})"

    def __repr__(self) -> str:
        return f"{float(self)!r}, mean over {self.over}"
