"""The architectures that have names, as data: one row each, and one pattern."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..check import unknown
from .resnet import ResNet
from .wide_resnet import PreActivationResNet, WideResNet


@dataclass(frozen=True)
class Architecture:
    """A named network.

    make       what builds it; takes `classes` and `in_channels` besides its settings
    settings   what the name stands for; options given to `build` replace them or add to them
    source     where it is defined
    """

    make: Callable[..., nn.Module]
    settings: Mapping[str, Any]
    source: str


def _wide(depth: int, widen: int) -> Architecture:
    return Architecture(WideResNet, {"depth": depth, "widen": widen}, "Zagoruyko and Komodakis 2016")


def _he(blocks: int) -> Architecture:
    settings = {"widths": (16, 32, 64), "blocks": (blocks,) * 3, "shortcut": "pad"}
    return Architecture(ResNet, settings, "He et al. 2016, section 4.2, option A")


def _summers(*widths: int) -> Architecture:
    settings = {"widths": widths, "blocks": (2,) * len(widths), "shortcut": "pad-norm", "zero_gamma": True}
    return Architecture(ResNet, settings, "Summers 2021, chapter 5")


MODELS: Mapping[str, Architecture] = {
    "wrn-10-1": _wide(10, 1),
    "wrn-16-1": _wide(16, 1),
    "wrn-16-2": _wide(16, 2),
    "wrn-28-2": _wide(28, 2),
    "wrn-28-10": _wide(28, 10),
    "wrn-40-2": _wide(40, 2),
    "resnet-6": _summers(16),
    "resnet-10": _summers(16, 32),
    "resnet-14": _summers(16, 32, 64),
    "resnet-18": _summers(64, 128, 256, 512),
    "resnet-20": _he(3),
    "resnet-32": _he(5),
    "resnet-44": _he(7),
    "resnet-56": _he(9),
    "resnet-110": _he(18),
    "preact-resnet-18": Architecture(
        PreActivationResNet,
        {"stem": 64, "widths": (64, 128, 256, 512), "blocks": (2, 2, 2, 2)},
        "He et al. 2016 (identity mappings); Summers 2021, chapter 2",
    ),
}
"""name -> architecture; any other `wrn-DEPTH-WIDEN` has a name too"""

_WIDE = re.compile(r"wrn-(\d+)-(\d+)")


def architecture(name: str) -> Architecture:
    """The row of `MODELS`, or the Wide ResNet that `name` describes. Raises `InputError` for any other name.

    >>> architecture("wrn-22-8").settings
    {'depth': 22, 'widen': 8}
    """
    if name in MODELS:
        return MODELS[name]
    if match := _WIDE.fullmatch(name):
        return _wide(int(match[1]), int(match[2]))
    raise unknown("model", name, [*MODELS, "wrn-DEPTH-WIDEN", "package.module:attribute"])
