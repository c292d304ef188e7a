"""FGSM, PGD and SPSA written down naively: one image at a time, plain loops, float64, draws from Python integers."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from elinvar.rng import GAMMA, MASK, mix64

Gradient = Callable[[Tensor], Tensor]  # one image (C, H, W) to the gradient of what is raised


def child(stream: int, number: int) -> int:
    """Draw `number` of a stream."""
    return mix64((stream + GAMMA * (number + 1)) & MASK)


def interval(stream: int, shape: torch.Size, eps: float) -> Tensor:
    """Uniform in [-eps, eps]: two signed 32-bit numbers from each draw, the low half first."""
    values: list[float] = []
    for number in range(shape.numel() // 2 + 1):
        word = child(stream, number)
        values += [eps * np.int32(np.uint32(half)).item() / 2**31 for half in (word & 0xFFFFFFFF, word >> 32)]
    return torch.tensor(values[: shape.numel()], dtype=torch.float64).view(shape)


def sign_vector(stream: int, vector: int, length: int) -> Tensor:
    words = math.ceil(length / 64)
    found = [child(stream, vector * words + place // 64) >> (place % 64) & 1 for place in range(length)]
    return torch.tensor([2.0 * bit - 1.0 for bit in found], dtype=torch.float64)


def project(point: Tensor, image: Tensor, eps: float, norm: str) -> Tensor:
    move = point - image
    if norm == "linf":
        move = torch.where(move.abs() > eps, eps * torch.sign(move), move)
    elif move.pow(2).sum().sqrt() > eps:
        move = eps * move / move.pow(2).sum().sqrt()
    return torch.minimum(torch.maximum(image + move, torch.zeros(())), torch.ones(()))


def ascend(
    gradient: Gradient, image: Tensor, start: Tensor, *, eps: float, step: float, steps: int, norm: str
) -> Tensor:
    """Projected steepest ascent."""
    x = project(image + start, image, eps, norm)
    for _ in range(steps):
        g = gradient(x)
        way = torch.sign(g) if norm == "linf" else g / g.pow(2).sum().sqrt()
        x = project(x + step * way, image, eps, norm)
    return x


def spsa(
    value: Callable[[Tensor], float],
    image: Tensor,
    stream: int,
    *,
    eps: float,
    step: float,
    steps: int,
    samples: int,
    delta: float,
) -> Tensor:
    """Adam on SPSA's estimates, Linf; `value` is what is raised. `stream` is that of the restart."""
    x = project(image + interval(child(stream, 0), image.shape, eps), image, eps, "linf")
    first, second = torch.zeros_like(image), torch.zeros_like(image)
    for t in range(steps):
        g = torch.zeros_like(image)
        for j in range(samples // 2):
            v = sign_vector(child(stream, t + 1), j, image.numel()).view(image.shape)
            g += (value(x + delta * v) - value(x - delta * v)) / (2 * delta) * v / (samples // 2)
        first = 0.9 * first + 0.1 * g
        second = 0.999 * second + 0.001 * g * g
        way = (first / (1 - 0.9 ** (t + 1))) / ((second / (1 - 0.999 ** (t + 1))).sqrt() + 1e-8)
        x = project(x + step * way, image, eps, "linf")
    return x
