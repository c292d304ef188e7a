"""Canvases with digits of four sizes pasted on them, and for each size the grid of cells in which they may be."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

SIDE = 64
CELLS = (8, 16, 32, 64)
"""side of a digit's cell in pixels, level by level; a cell is one place of that level's feature map"""

CHANCE = (0.08, 0.25, 0.5, 0.4)
"""chance of a digit in a free cell: about one digit of each size on a canvas, so that fine levels are mostly empty"""

SMALLEST = 0.85  # part of a cell's side that a digit takes at least
NOISE = 0.05
BACKGROUND = 10


@dataclass(frozen=True)
class Scenes:
    """Canvases and what is in the cells of each level: a digit's class, or `BACKGROUND`."""

    images: Float[Tensor, "n 1 64 64"]
    levels: tuple[Int64[Tensor, "n _k _k"], ...]

    def cells(self) -> Int64[Tensor, "n cells"]:
        """The cells of all levels, side by side."""
        return torch.cat([level.flatten(1) for level in self.levels], 1)


def scenes(
    digits: Float[Tensor, "m 1 8 8"], targets: Int64[Tensor, " m"], count: int, generator: torch.Generator
) -> Scenes:
    """Paste `digits`, drawn with replacement, on `count` canvases with Gaussian noise.

    Large cells are filled first; a cell without a digit is cut into four of the next size. Digits do not overlap. Each
    has a random size and place within its cell, and is drawn there by bilinear interpolation.
    """
    images = torch.zeros(count, SIDE, SIDE)
    free = torch.ones(count, 1, 1, dtype=torch.bool)
    levels = []
    for size, chance in zip(reversed(CELLS), reversed(CHANCE), strict=True):
        along = SIDE // size
        free = free.repeat_interleave(along // free.shape[1], 1).repeat_interleave(along // free.shape[2], 2)
        here = free & (torch.rand(free.shape, generator=generator) < chance)
        free = free & ~here
        pick = torch.randint(len(digits), (int(here.sum()),), generator=generator)
        cells = images.view(count, along, size, along, size).transpose(2, 3)
        cells[here] = _placed(digits[pick], size, generator)
        level = torch.full(here.shape, BACKGROUND)
        level[here] = targets[pick]
        levels.append(level)
    noise = NOISE * torch.randn(images.shape, generator=generator)
    return Scenes((images + noise).unsqueeze(1), tuple(reversed(levels)))


def _placed(
    digits: Float[Tensor, "m 1 8 8"], size: int, generator: torch.Generator
) -> Float[Tensor, "m {size} {size}"]:
    """Each digit in a cell of its own, where it takes `SMALLEST` to all of each side."""
    if not len(digits):  # torch refuses an empty grid
        return digits.new_zeros(0, size, size)
    part = SMALLEST + (1 - SMALLEST) * torch.rand(len(digits), 1, generator=generator)
    shift = (2 * torch.rand(len(digits), 2, generator=generator) - 1) * (1 - part)
    transform = torch.zeros(len(digits), 2, 3)
    transform[:, 0, 0] = transform[:, 1, 1] = 1 / part[:, 0]
    transform[:, :, 2] = -shift / part
    grid = F.affine_grid(transform, [len(digits), 1, size, size], align_corners=False)
    return F.grid_sample(digits, grid, align_corners=False)[:, 0]
