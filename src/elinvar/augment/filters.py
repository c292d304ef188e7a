"""The filters that images are resampled with, in the fixed point of Pillow."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Interpolation = Literal["bilinear", "bicubic"]

# How far from its centre, in pixels, a filter reaches.
SUPPORT: Mapping[Interpolation, float] = MappingProxyType({"bilinear": 1.0, "bicubic": 2.0})

# Bits of a coefficient after the point: 32, less 8 of a pixel and 2 for sums beyond its range.
BITS = 22
