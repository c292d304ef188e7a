"""Inference: which statistics normalize at test time."""

from abc import ABC
from dataclasses import dataclass


class Inference(ABC):
    """Whether a rule reads the layer's memory, or the batch before it."""

    needs_memory: bool


@dataclass(frozen=True)
class Remembered(Inference):
    """What training remembered: `nn.BatchNorm2d` in eval mode."""

    needs_memory = True


@dataclass(frozen=True)
class OwnBatch(Inference):
    """The statistics of the test batch itself, which leave no trace. Predictions then depend on their neighbours."""

    needs_memory = False
