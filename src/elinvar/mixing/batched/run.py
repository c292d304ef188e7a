"""Blend whole batches with tensor operations: the dense map of all examples, then one interpolation or choice."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Float32, Int64, Shaped
from torch import Tensor

from ..maps import Balanced, Map, Patch, Scatter, Size, share

TINY = 1e-8  # added to standard deviations, of images on unit scale


def run(
    first: Shaped[Tensor, "n c h w"],
    second: Shaped[Tensor, "m c h w"],
    parts: Sequence[tuple[Bool[Tensor, " n"] | None, Map]],
    partner: Int64[Tensor, " n"],
) -> tuple[Shaped[Tensor, "n c h w"], list[Float32[Tensor, " n"] | None]]:
    """The mixtures, and the means of maps that have drawn each element."""
    second = second[partner]
    output = first
    means: list[Float32[Tensor, " n"] | None] = []
    for chosen, part in parts:
        drawn = part.to(first.device)
        made, mean = _blend(first, second, drawn)
        output = made if chosen is None else torch.where(chosen.view(-1, 1, 1, 1), made, output)
        means.append(mean)
    return output, means


def _blend(
    first: Shaped[Tensor, "n c h w"], second: Shaped[Tensor, "n c h w"], drawn: Map
) -> tuple[Shaped[Tensor, "n c h w"], Float32[Tensor, " n"] | None]:
    size: Size = (first.shape[1], first.shape[2], first.shape[3])
    if isinstance(drawn, Scatter):
        mask = drawn.first(size)
        return torch.where(mask, first, second), share(mask)
    if isinstance(drawn, Patch):
        return torch.where(drawn.inside(size), _moved(second, drawn), first), None
    if isinstance(drawn, Balanced):
        return _balance(first, second, drawn), None
    return _interpolate(first, second, drawn.dense(size)), None


def _interpolate(
    first: Shaped[Tensor, "n c h w"], second: Shaped[Tensor, "n c h w"], weight: Float32[Tensor, "n _ _ _"]
) -> Shaped[Tensor, "n c h w"]:
    wide = torch.promote_types(first.dtype, torch.float32) if first.is_floating_point() else torch.float32
    made = torch.lerp(second.to(wide), first.to(wide), weight.to(wide))
    return made.to(first.dtype) if first.is_floating_point() else (made + 0.5).to(first.dtype)


def _moved(images: Shaped[Tensor, "n c h w"], drawn: Patch) -> Shaped[Tensor, "n c h w"]:
    """Each image shifted so that what will be pasted is where it goes; what is elsewhere does not matter."""
    if drawn.shift is None:
        return images
    height, width = images.shape[2:]
    row = (torch.arange(height, device=images.device) + drawn.shift[:, :1]).clamp(0, height - 1)
    column = (torch.arange(width, device=images.device) + drawn.shift[:, 1:]).clamp(0, width - 1)
    place = (row[:, :, None] * width + column[:, None, :]).flatten(1)[:, None]
    return images.flatten(2).gather(2, place.expand(-1, images.shape[1], -1)).view_as(images)


def _balance(
    first: Float[Tensor, "n c h w"], second: Float[Tensor, "n c h w"], drawn: Balanced
) -> Float[Tensor, "n c h w"]:
    wide = torch.promote_types(first.dtype, torch.float32)
    x1, x2 = first.to(wide), second.to(wide)
    if drawn.center:
        x1, x2 = (x - x.mean((1, 2, 3), keepdim=True) for x in (x1, x2))
    height, width = x1.shape[2:]
    top = torch.arange(height, device=x1.device)[:, None] < drawn.rows.view(-1, 1, 1, 1)
    left = torch.arange(width, device=x1.device) < drawn.columns.view(-1, 1, 1, 1)
    a, b = torch.where(top, x1, x2), torch.where(left, x1, x2)
    weight = drawn.weight.to(wide).view(-1, 1, 1, 1)
    loud_a, loud_b = (x.std((1, 2, 3), correction=0, keepdim=True) + TINY for x in (a, b))
    p = weight * loud_b / (weight * loud_b + (1 - weight) * loud_a)
    return ((p * a + (1 - p) * b) / (p * p + (1 - p) * (1 - p)).sqrt()).to(first.dtype)
