"""AugMix: mixtures of an image with random chains of operations, and the single random chain of its ablation."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float32, Float64, Int32, Int64
from torch import Tensor

from ..check import InputError, unknown
from ..rng import uniform
from .base import Programmed
from .levels import AUGMIX_LEVELS
from .ops import OPS
from .program import Program

OpSet = Literal["augmix", "all"]

OP_SETS: dict[OpSet, tuple[str, ...]] = {
    "augmix": (
        "autocontrast",
        "equalize",
        "posterize",
        "rotate",
        "solarize",
        "shear_x",
        "shear_y",
        "translate_x",
        "translate_y",
    )
}
OP_SETS["all"] = (*OP_SETS["augmix"], "color", "contrast", "brightness", "sharpness")

WEAKEST = 0.1
DEEPEST = 3


def check_chains(severity: float, depth: int | None, ops: str) -> None:
    """Raise `InputError` for settings that no chain can be drawn with."""
    if not 1 <= severity <= 10:
        raise InputError(f"severity: got {severity}, expected a number from 1 to 10")
    if depth is not None and depth < 1:
        raise InputError(f"depth: got {depth}, expected at least 1, or null for 1 to {DEEPEST} at random")
    if ops not in OP_SETS:
        raise unknown("set of operations", ops, OP_SETS)


def _draws(depth: int | None) -> int:
    return 1 + 3 * (depth or DEEPEST)


def draw_chains(
    u: Float64[Tensor, "n chains draws"], *, severity: float, depth: int | None, ops: OpSet, height: int, width: int
) -> tuple[Int32[Tensor, "n chains depth"], Float32[Tensor, "n chains depth 1"]]:
    """Chains of operations from uniform draws: the chain's depth, then operation, level and sign of each place in it.

    depth ~ {1, 2, 3},   operation ~ the set, with replacement,   level ~ U(0.1, severity),   sign ~ {-, +}
    """
    longest = depth or DEEPEST
    places = u[..., 1:].reshape(*u.shape[:-1], longest, 3)
    codes = torch.tensor([OPS[name].code for name in OP_SETS[ops]], device=u.device)
    chosen = (places[..., 0] * len(codes)).long()
    op = codes.index_select(0, chosen.flatten()).view(chosen.shape)
    if depth is None:
        length = 1 + (u[..., :1] * DEEPEST).long()
        op = op.where(torch.arange(longest, device=u.device) < length, 0)
    level = WEAKEST + (severity - WEAKEST) * places[..., 1]
    args = AUGMIX_LEVELS.parameters(op, level, places[..., 2], height=height, width=width)
    return op.to(torch.int32), args.unsqueeze(-1)


def draw_weights(
    u: Float64[Tensor, "n chains"], v: Float64[Tensor, " n"], *, alpha: float
) -> Float32[Tensor, "n chains"]:
    """m w with w ~ Dirichlet(alpha, ..., alpha) from `u` and m ~ Beta(alpha, alpha) from `v`, by inverse distributions.

    w is a row of Gamma(alpha) variables over their sum; for alpha = 1 these are exponential, and m is uniform.
    """
    if alpha == 1.0:
        gamma, beta = -torch.log1p(-u.contiguous()), v
    else:
        from scipy.special import betaincinv, gammaincinv

        gamma = torch.from_numpy(gammaincinv(alpha, u.cpu().numpy())).to(u.device)
        beta = torch.from_numpy(betaincinv(alpha, alpha, v.cpu().numpy())).to(u.device)
    # Small alpha underflows to 0: a row of zeros weighs its chains alike.
    gamma = gamma.clamp(min=torch.finfo(torch.float64).tiny)
    return (gamma / gamma.sum(-1, keepdim=True) * beta.unsqueeze(-1)).to(torch.float32)


@dataclass(frozen=True)
class AugMix(Programmed):
    """Mix each image with `width` random chains of operations on it.

        output = (1 - m) x + m sum_i w_i chain_i(x),   w ~ Dirichlet(alpha, ..., alpha),   m ~ Beta(alpha, alpha)

    severity  1 to 10: each operation draws its level from U(0.1, severity); the paper takes 3 on CIFAR, 1 on ImageNet
    width     number of chains
    depth     operations in a chain; None: 1, 2 or 3 at random, for each chain anew
    alpha     above 0: of the Dirichlet and the Beta distribution
    ops       "augmix": the nine that share nothing with the benchmark corruptions; "all": also color, contrast,
              brightness and sharpness, which do

    Images of uint8, or of floating point in [0, 1], which are rounded to 256 values first; float32 in [0, 1] comes out.

    Source   Hendrycks et al., AugMix, ICLR 2020, section 3; google-research/augmix, augmentations.py.
    Differs  lengths relative to an image that is not square are relative to its width (x) or height (y).

    >>> from elinvar.rng import streams
    >>> images, keys = torch.full((2, 3, 32, 32), 128, dtype=torch.uint8), streams(0, torch.arange(2))
    >>> AugMix()(images, keys=keys).shape
    torch.Size([2, 3, 32, 32])
    >>> print(AugMix(width=1).draw(keys, height=32, width=32))  # what they go through, if it is one chain
    0: 0.348 image + 0.652 [shear_x(slope=-0.07155) > translate_x(pixels=0)]
    1: 0.724 image + 0.276 [equalize > rotate(degrees=2) > equalize]
    """

    severity: float = 3.0
    width: int = 3
    depth: int | None = None
    alpha: float = 1.0
    ops: OpSet = "augmix"

    def __post_init__(self) -> None:
        check_chains(self.severity, self.depth, self.ops)
        if self.width < 1:
            raise InputError(f"width: got {self.width}, expected at least 1 chain")
        if not (self.alpha > 0 and math.isfinite(self.alpha)):
            raise InputError(f"alpha: got {self.alpha}, expected a number above 0")

    def draw(self, keys: Int64[Tensor, " n"], *, height: int, width: int) -> Program:
        """Draw 0 is m; each chain has a block of its own: its weight, its depth, and three draws for each place."""
        block = 1 + _draws(self.depth)
        u = uniform(keys, 1 + self.width * block)
        blocks = u[:, 1:].reshape(len(u), self.width, block)
        ops, args = draw_chains(
            blocks[..., 1:], severity=self.severity, depth=self.depth, ops=self.ops, height=height, width=width
        )
        return Program(ops, args, draw_weights(blocks[..., 0], u[:, 0], alpha=self.alpha))


@dataclass(frozen=True)
class RandomChain(Programmed):
    """Put each image through one random chain of AugMix's operations, without mixing: its "Random AutoAugment*".

    severity, depth and ops as in `AugMix`. uint8 images stay uint8; in floating point, values that change become one of
    256.

    Source   Hendrycks et al., AugMix, ICLR 2020, table 4.
    """

    severity: float = 3.0
    depth: int | None = None
    ops: OpSet = "augmix"

    def __post_init__(self) -> None:
        check_chains(self.severity, self.depth, self.ops)

    def draw(self, keys: Int64[Tensor, " n"], *, height: int, width: int) -> Program:
        u = uniform(keys, _draws(self.depth)).unsqueeze(1)
        ops, args = draw_chains(u, severity=self.severity, depth=self.depth, ops=self.ops, height=height, width=width)
        return Program(ops, args)
