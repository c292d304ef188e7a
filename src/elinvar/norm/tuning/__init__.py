"""Tuning of inference on validation data: the weight of an example, and the mix of branches."""

from .report import Point as Point
from .report import Tuned as Tuned
from .tune import tune as tune
