"""Small models to attack, and images."""

from typing import Any

import torch
from torch import Tensor, nn

from elinvar.norm import Norm, split
from elinvar.rng import streams

EPS = 8 / 255


def keys(count: int, key: int = 0) -> Tensor:
    return streams(key, torch.arange(count))


def images(count: int, size: int = 6, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Noise, with a black, a white and a nearly black image among it."""
    made = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    for place, factor in ((0, 0.0), (2, 1e-9)):
        if count > place + 1:
            made[place] *= factor
    if count > 2:
        made[1] = 1.0
    return made


def targets(count: int, classes: int = 4, *, seed: int = 0) -> Tensor:
    return torch.randint(0, classes, (count,), generator=torch.Generator().manual_seed(seed))


def smooth(size: int = 6, classes: int = 4, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
    """A network without corners, in eval mode."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        layers = nn.Conv2d(3, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(5 * (size - 2) ** 2, classes)
        return nn.Sequential(*layers).to(dtype).eval()


def convolutional(norm: Any = nn.BatchNorm2d, *, classes: int = 4, seed: int = 0) -> nn.Module:
    """Convolutions, normalization, ReLU and dropout, in training mode."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            norm(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1),
            norm(8),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, classes),
        )


class Linear(nn.Module):
    """Two classes: logits (0, w x + b), so that the loss of class 0 rises along w."""

    def __init__(self, weight: Tensor, bias: float = 0.0) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), bias

    def forward(self, x: Tensor) -> Tensor:
        score = (x * self.weight).sum((1, 2, 3)) + self.bias
        return torch.stack([torch.zeros_like(score), score], 1)


def two_branches(channels: int) -> nn.Module:
    """Split normalization, to build `convolutional` with."""
    return Norm(channels, split())
