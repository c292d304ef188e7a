"""Flips and crops: pixels that move and keep their bits, whatever their type."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from ..check import InputError
from ..rng import uniform
from .base import Augmentation


@torch.no_grad()
def move(
    images: Shaped[Tensor, "n c h w"],
    *,
    flip: Bool[Tensor, " n"],
    down: Int64[Tensor, " n"],
    right: Int64[Tensor, " n"],
) -> Shaped[Tensor, "n c h w"]:
    """out(x, y) = in(x + right, y + down) after a left-right flip where `flip`; 0 where that is outside."""
    if images.device.type == "cpu":
        from .compiled.move import move as move_compiled

        return move_compiled(images.contiguous(), flip.cpu(), down.cpu(), right.cpu())
    from .batched.move import move as move_batched

    return move_batched(images, flip.to(images.device), down.to(images.device), right.to(images.device))


@torch.no_grad()
def turn(images: Shaped[Tensor, "n c h w"], chosen: Bool[Tensor, " n"]) -> Shaped[Tensor, "n c h w"]:
    """Top and bottom swapped where `chosen`."""
    if images.device.type == "cpu":
        from .compiled.move import turn as turn_compiled

        return turn_compiled(images.contiguous(), chosen.cpu())
    from .batched.move import turn as turn_batched

    return turn_batched(images, chosen.to(images.device))


@dataclass(frozen=True)
class Flip(Augmentation):
    """Swap left and right, or top and bottom if `vertical`, with probability `p`, in [0, 1]."""

    p: float = 0.5
    vertical: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.p <= 1.0:
            raise InputError(f"p: got {self.p}, expected a probability in [0, 1]")

    def draw(self, keys: Int64[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Which images are flipped."""
        return uniform(keys, 1)[:, 0] < self.p

    def transform(self, images: Shaped[Tensor, "n c h w"], keys: Int64[Tensor, " n"]) -> Shaped[Tensor, "n c h w"]:
        chosen = self.draw(keys)
        if self.vertical:
            return turn(images, chosen)
        still = torch.zeros(len(images), dtype=torch.int64)
        return move(images, flip=chosen, down=still, right=still)


@dataclass(frozen=True)
class PadCrop(Augmentation):
    """Pad with `padding` zeros on each side and crop back to the size, at a place drawn uniformly.

    Source   the usual augmentation of CIFAR: 32 x 32 crops from 4 pixels of padding.
    """

    padding: int = 4

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise InputError(f"padding: got {self.padding}, expected 0 or more pixels")

    def draw(self, keys: Int64[Tensor, " n"]) -> Int64[Tensor, "n 2"]:
        """How far down and right the crop lies from the image, in -padding..padding."""
        return (uniform(keys, 2) * (2 * self.padding + 1)).long() - self.padding

    def transform(self, images: Shaped[Tensor, "n c h w"], keys: Int64[Tensor, " n"]) -> Shaped[Tensor, "n c h w"]:
        down, right = self.draw(keys).unbind(1)
        return move(images, flip=torch.zeros(len(images), dtype=torch.bool), down=down, right=right)
