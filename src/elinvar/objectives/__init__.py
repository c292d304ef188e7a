"""Objectives: logits by view name in, one loss and its named parts out."""

from .cross_entropy import CrossEntropy as CrossEntropy
from .cross_entropy import cross_entropy as cross_entropy
from .jsd import Consistency as Consistency
from .jsd import jensen_shannon as jensen_shannon
from .total import Loss as Loss
from .total import Objective as Objective
from .total import Part as Part
from .total import WeightedSum as WeightedSum
