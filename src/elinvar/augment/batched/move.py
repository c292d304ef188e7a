"""Flip and shift images of any type, a whole batch at once."""

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor


def move(
    images: Shaped[Tensor, "n c h w"], flip: Bool[Tensor, " n"], down: Int64[Tensor, " n"], right: Int64[Tensor, " n"]
) -> Shaped[Tensor, "n c h w"]:
    """out(x, y) = in(x + right, y + down) after a left-right flip where `flip`; 0 where that is outside."""
    height, width = images.shape[2:]
    y = torch.arange(height, device=images.device) + down[:, None]
    x = torch.arange(width, device=images.device) + right[:, None]
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    x = torch.where(flip[:, None], width - 1 - x, x).clamp(0, width - 1)
    row = torch.arange(len(images), device=images.device)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[row, y.clamp(0, height - 1)[:, :, None], x[:, None, :]]
    return (
        moved.permute(0, 3, 1, 2)
        .where(inside[:, None], torch.zeros((), dtype=images.dtype, device=images.device))
        .contiguous()
    )


def turn(images: Shaped[Tensor, "n c h w"], chosen: Bool[Tensor, " n"]) -> Shaped[Tensor, "n c h w"]:
    """Top and bottom swapped where `chosen`."""
    return torch.where(chosen[:, None, None, None], images.flip(2), images).contiguous()
