"""The small networks of the experiments, initialized from a key."""

from collections.abc import Callable

import torch
from torch import nn

from .. import norm
from ..norm import NormPolicy
from ..rng import Seeds, Source


def mlp(inputs: int, width: int, depth: int, classes: int) -> nn.Sequential:
    """`depth` times linear, BN, ReLU, and a linear layer; takes vectors, or images as vectors."""
    layers: list[nn.Module] = [nn.Flatten()]
    for place in range(depth):
        layers += [nn.Linear(width if place else inputs, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, classes))


def _conv(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def cnn(width: int, classes: int, *, channels: int = 1, stride: int = 1) -> nn.Sequential:
    """Four times convolution, BN, ReLU, the second and last at stride 2 (and the first as given); mean, linear."""
    return nn.Sequential(
        *_conv(channels, width, stride),
        *_conv(width, 2 * width, 2),
        *_conv(2 * width, 2 * width, 1),
        *_conv(2 * width, 4 * width, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, classes),
    )


def built(make: Callable[[], nn.Module], policy: NormPolicy, seeds: Seeds, device: torch.device) -> nn.Module:
    """A network from its seed, with a policy; torch's default generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seeds.key(Source.INIT) >> 1)
        model = make()
    return norm.convert(model, policy).to(device)
