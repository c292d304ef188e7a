"""AutoAugment: one of 25 pairs of operations for each image, as found on three data sets."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Float32, Float64, Int32, Int64
from torch import Tensor

from ..check import unknown
from ..rng import uniform
from .base import Programmed
from .fill import GREY, Fill, fill_values
from .levels import ORIGINAL_LEVELS, TORCHVISION_LEVELS, TPU_AUTOAUGMENT_LEVELS, Levels
from .ops import OPS
from .program import Program
from .published import SUB_POLICIES, PolicyName

Ranges = Literal["torchvision", "original", "tpu"]

# torchvision counts levels from 0 to 9; in the others 10 is the end of the range, which no published level reaches.
RANGES: Mapping[Ranges, Levels] = MappingProxyType(
    {
        "torchvision": replace(TORCHVISION_LEVELS, top=9.0),
        "original": ORIGINAL_LEVELS,
        "tpu": TPU_AUTOAUGMENT_LEVELS,
    }
)


@dataclass(frozen=True)
class AutoAugment(Programmed):
    """Put each image through one of 25 published pairs of operations, each of which happens with its own probability.

    policy        "cifar10" (for CIFAR-100 too), "imagenet" or "svhn": where the pairs were found
    ranges        what their levels mean, a scale of `elinvar.augment.LEVELS`: "torchvision", symmetric and relative to
                  the size; "original", of the code for CIFAR; "tpu", of the one for ImageNet, which weakens posterize
                  and solarize as levels grow
    overlap_free  leave out color, contrast, brightness and sharpness, which overlap the corruptions of the robustness
                  benchmarks: the other operation of a pair stays, and a pair that loses both does nothing
    fill          of pixels from outside of the image, 0 to 255, or one value for each channel

    uint8 images stay uint8; in floating point, values that change become one of 256.

    Source   Cubuk et al., AutoAugment, CVPR 2019, section 3 and appendix; overlap_free: Hendrycks et al., AugMix, ICLR
             2020, table 4, "AutoAugment*", which does not say what becomes of a pair that loses one.
    Differs  warps blend four pixels, where torchvision fetches the nearest; outside is grey, there black.

    >>> from elinvar.rng import streams
    >>> print(AutoAugment("cifar10").draw(streams(0, torch.arange(2)), height=32, width=32))
    0: equalize
    1: color(factor=1.3)
    """

    policy: PolicyName = "cifar10"
    ranges: Ranges = "torchvision"
    overlap_free: bool = False
    fill: Fill = GREY

    def __post_init__(self) -> None:
        if self.policy not in SUB_POLICIES:
            raise unknown("policy of AutoAugment", self.policy, SUB_POLICIES)
        if self.ranges not in RANGES:
            raise unknown("ranges", self.ranges, RANGES)
        fill_values(self.fill)

    def draw(self, keys: Int64[Tensor, " n"], *, height: int, width: int) -> Program:
        """Draw 0 says which pair, draws 1 and 2 whether its operations happen and with which sign."""
        p, codes, args = _table(self, height, width)
        u = uniform(keys.cpu(), 3)
        pair = (u[:, 0] * len(p)).long()
        often = p.index_select(0, pair)
        happens, negative = u[:, 1:] < often, u[:, 1:] < often / 2
        outcome = (torch.arange(0, 6, 3) + 6 * pair.unsqueeze(1) + happens.long() + negative).flatten()
        ops = codes.index_select(0, outcome).view(len(keys), 1, 2)
        return Program(ops, args.index_select(0, outcome).view(len(keys), 1, 2, 1), fill=fill_values(self.fill))


@lru_cache(maxsize=64)
def _table(
    policy: AutoAugment, height: int, width: int
) -> tuple[Float64[Tensor, "pairs 2"], Int32[Tensor, " outcomes"], Float32[Tensor, " outcomes"]]:
    """Probabilities; and for each operation of each pair what may come of it: nothing, itself, itself reversed."""
    applied = [each for pair in SUB_POLICIES[policy.policy] for each in pair]
    p = torch.tensor([[p for _, p, _ in pair] for pair in SUB_POLICIES[policy.policy]], dtype=torch.float64)
    kept = [OPS["identity" if policy.overlap_free and OPS[name].corrupts else name].code for name, _, _ in applied]
    codes = torch.tensor(kept).unsqueeze(1) * torch.tensor([0, 1, 1])
    level = torch.tensor([level for _, _, level in applied], dtype=torch.float64).unsqueeze(1).expand(codes.shape)
    sign = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64).expand(codes.shape)
    args = RANGES[policy.ranges].parameters(codes, level, sign, height=height, width=width)
    return p, codes.flatten().to(torch.int32), args.flatten()
