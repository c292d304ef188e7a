"""Test images: smooth structures, edges, flat areas and extremes, in colour, at any size."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elinvar.rng import streams, uniform


def pictures(n: int, channels: int = 3, height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    """n uint8 images: coloured waves with a sharp rectangle, some of it pure black or white."""
    u = uniform(streams(seed, torch.arange(n)), 8 * channels).view(n, channels, 8, 1, 1)
    y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)
    waves = torch.sin(9 * u[:, :, 0] * x + 7 * u[:, :, 1] * y + 6 * u[:, :, 2])
    images = 0.5 + 0.35 * waves + 0.3 * (u[:, :, 3] - 0.5)
    inside = (x > 0.2 + 0.3 * u[:, :1, 4]) & (x < 0.8) & (y > 0.2 + 0.3 * u[:, :1, 5]) & (y < 0.8)
    images = torch.where(inside, 1.4 * u[:, :, 6] - 0.2, images)
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def keys(n: int, seed: int = 1) -> Tensor:
    return streams(seed, torch.arange(n))


def hwc(images: Tensor) -> NDArray[np.float64]:
    """Grey levels as float64 (n, h, w, c), for the references."""
    levels = images.double() if images.dtype == torch.uint8 else images.double() * 255
    return levels.permute(0, 2, 3, 1).numpy().copy()
