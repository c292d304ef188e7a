"""RandAugment: n random operations, all at one magnitude, and policies drawn from its space."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Float32, Int32, Int64
from torch import Tensor

from ..check import InputError, unknown
from ..rng import bits, check_seed, fold, streams, uniform
from .base import Programmed
from .fill import GREY, Fill, fill_values
from .levels import ORIGINAL_LEVELS, PYTORCH_RANDAUGMENT_LEVELS, TORCHVISION_LEVELS, TPU_LEVELS, Levels
from .ops import OPS, code
from .program import Program
from .regions import check_color

OpList = Literal["paper", "tpu"]
Ranges = Literal["torchvision", "original", "tpu", "pytorch_randaugment"]

CUTOUT = code("cutout")
_BOTH = (
    "autocontrast",
    "equalize",
    "rotate",
    "solarize",
    "color",
    "posterize",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)
OP_LISTS: Mapping[OpList, tuple[str, ...]] = MappingProxyType(
    {"paper": ("identity", *_BOTH), "tpu": (*_BOTH, "invert", "solarize_add", "cutout")}
)
RANGES: Mapping[Ranges, Levels] = MappingProxyType(
    {
        "torchvision": TORCHVISION_LEVELS,
        "original": ORIGINAL_LEVELS,
        "tpu": TPU_LEVELS,
        "pytorch_randaugment": PYTORCH_RANDAUGMENT_LEVELS,
    }
)


@dataclass(frozen=True)
class RandAugment(Programmed):
    """Put each image through `n` operations drawn with replacement, all at magnitude `m`.

        parameter = start + sign * span * m / magnitude_max,   sign ~ {-, +} where the operation goes both ways

    n              operations for each image, 0 or more
    m              magnitude, 0 to `magnitude_max`; "tpu" ranges may be left behind, as that code does
    ops            "paper": 14 with the identity; "tpu": 16, without it but with invert, solarize_add and cutout, for
                   which only the "tpu" and "pytorch_randaugment" ranges have levels; or names of `OPS`
    ranges         what a magnitude means, a scale of `elinvar.augment.LEVELS`; "tpu" and "pytorch_randaugment"
                   weaken posterize and solarize as m grows, and translate by pixels whatever the image's size
    magnitude_max  where operations reach the end of their range: 30 in the grids of the paper and in torchvision,
                   10 in the paper's text and in the TPU code
    fill           of pixels from outside of the image, 0 to 255, or one value for each channel

    uint8 images stay uint8; in floating point, values that change become one of 256.

    Source   Cubuk et al., RandAugment, CVPR workshops 2020, sections 3 and 4.
    Differs  warps blend four pixels, where torchvision fetches the nearest; outside is grey, there black.

    >>> from elinvar.rng import streams
    >>> print(RandAugment(n=2, m=9).draw(streams(0, torch.arange(2)), height=32, width=32))
    0: solarize(threshold=178.5) > color(factor=1.27)
    1: contrast(factor=0.73) > posterize(bits=7)
    """

    n: int = 2
    m: float = 9.0
    ops: OpList | tuple[str, ...] = "paper"
    ranges: Ranges = "torchvision"
    magnitude_max: float = 30.0
    fill: Fill = GREY

    def __post_init__(self) -> None:
        if self.n < 0:
            raise InputError(f"n: got {self.n}, expected 0 or more operations")
        if not (self.magnitude_max > 0 and math.isfinite(self.magnitude_max)):
            raise InputError(f"magnitude_max: got {self.magnitude_max}, expected a number above 0")
        if self.ranges not in RANGES:
            raise unknown("ranges", self.ranges, RANGES)
        if not 0 <= self.m <= (self.magnitude_max if self.ranges != "tpu" else math.inf) or self.m == math.inf:
            raise InputError(f"m: got {self.m}, expected 0 to {self.magnitude_max:g}; see magnitude_max")
        if isinstance(self.ops, str) and self.ops not in OP_LISTS:
            raise unknown("list of operations", self.ops, OP_LISTS)
        if not self.names:
            raise InputError("ops: got no operations, expected at least one; for no augmentation use n=0")
        for name in self.names:
            if name not in OPS:
                raise unknown("operation", name, OPS)
            if OPS[name].parameters and name not in RANGES[self.ranges].ranges:
                raise InputError(f"ops: got {name}, for which the ranges {self.ranges!r} have none")
        fill_values(self.fill)
        if "cutout" in self.names:
            check_color("fill", self.fill)

    @property
    def names(self) -> tuple[str, ...]:
        """The operations that are drawn, each with the same probability."""
        return OP_LISTS[self.ops] if isinstance(self.ops, str) else self.ops

    def draw(self, keys: Int64[Tensor, " n"], *, height: int, width: int) -> Program:
        """Draw i says operation and sign of place i; two for each place follow, for the centre of a cutout."""
        codes, args = _outcomes(self, height, width)
        keys = keys.cpu()
        outcome = (uniform(keys, self.n) * len(codes)).long().flatten()
        shape, fill = (len(keys), 1, self.n), fill_values(self.fill)
        ops = codes.index_select(0, outcome).view(shape)
        args = args.index_select(0, outcome).view(*shape, args.shape[1])
        if "cutout" in self.names:
            u = uniform(keys, 2 * self.n, start=self.n).view(*shape, 2)
            centre = (u * torch.tensor([height, width])).floor()
            args[..., 2:4] += centre * (ops == CUTOUT).unsqueeze(-1)
        return Program(ops, args, fill=fill)


@lru_cache(maxsize=256)
def _outcomes(
    policy: RandAugment, height: int, width: int
) -> tuple[Int32[Tensor, " outcomes"], Float32[Tensor, "outcomes parameters"]]:
    """What one place of a chain may hold, all equally likely: each operation with either sign; cutouts around 0, 0."""
    levels = replace(RANGES[policy.ranges], top=policy.magnitude_max)
    codes = torch.tensor([OPS[name].code for name in policy.names]).repeat(2)
    level = torch.full(codes.shape, policy.m, dtype=torch.float64)
    negative = torch.arange(2, dtype=torch.float64).repeat_interleave(len(policy.names))
    args = levels.parameters(codes, level, negative, height=height, width=width).unsqueeze(1)
    if "cutout" in policy.names:
        color = torch.tensor(fill_values(policy.fill)).expand(3)
        square = torch.cat([args.expand(-1, 4) * torch.tensor([2, 2, -1, -1]), color.expand(len(args), 3)], 1)
        args = torch.where((codes == CUTOUT).unsqueeze(1), square, torch.nn.functional.pad(args, (0, 6)))
    return codes.to(torch.int32), args


def sample_policies(
    count: int,
    key: int,
    *,
    n: Sequence[int] = (1, 2, 3),
    m: Sequence[float] = tuple(range(3, 30, 2)),
    like: RandAugment | None = None,
) -> tuple[RandAugment, ...]:
    """`count` different policies from the grid of all pairs of `n` and `m`, all sets of them equally likely.

    Drawn once, before training, and kept: each policy is a branch of its own. A larger `count` with the same key adds
    policies to those of a smaller one.

    key   0 to 2**64 - 1, as of `elinvar.rng.Seeds.key`
    like  the other settings; None: those of `RandAugment()`

    Raises `InputError` if the grid has less than `count` pairs, and for a key outside its range.

    Source   Li et al., A2-Aug, CVPR workshops 2023, sections 4 and 5: 4 policies on CIFAR, 3 on ImageNet, from
             RandAugment's search space, which it counts as 10 by 10: `n=range(1, 11), m=range(1, 11)` with
             `like=RandAugment(magnitude_max=10)`.
    Differs  the default grid is smaller: 1 to 3 operations, with which RandAugment's own searches ended, at 14
             magnitudes of 30.

    >>> [(policy.n, policy.m) for policy in sample_policies(4, key=1)]
    [(3, 11), (2, 17), (2, 5), (1, 27)]
    """
    grid = sorted(set(product(n, m)))
    if not 0 <= count <= len(grid):
        raise InputError(f"count: got {count} policies, expected at most {len(grid)}, the pairs of n and m")
    order = bits(streams(fold(check_seed(key, name="key"), "policies"), torch.arange(len(grid))), 1)[:, 0].argsort()
    like = like or RandAugment()
    return tuple(replace(like, n=n_, m=m_) for n_, m_ in (grid[place] for place in order[:count].tolist()))
