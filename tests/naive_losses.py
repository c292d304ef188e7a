"""Losses as their papers write them, in loops over floats: what the fast ones are held against."""

import math
from collections.abc import Sequence

from torch import Tensor

Row = Sequence[float]


def softmax(z: Row) -> list[float]:
    top = max(z)
    parts = [math.exp(v - top) for v in z]
    return [part / sum(parts) for part in parts]


def cross_entropy(z: Row, target: Row) -> float:
    return -sum(t * math.log(q) for t, q in zip(target, softmax(z), strict=True))


def divergence(p: Row, q: Row) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def unit(z: Row) -> list[float]:
    length = math.sqrt(sum(v * v for v in z))
    return [v / length for v in z]


def squared_norm(z: Row) -> float:
    return sum(v * v for v in z)


def squared_distance(z: Row, other: Row) -> float:
    return sum((a - b) ** 2 for a, b in zip(z, other, strict=True))


def rows(tensor: Tensor) -> list[list[float]]:
    out: list[list[float]] = tensor.tolist()
    return out
