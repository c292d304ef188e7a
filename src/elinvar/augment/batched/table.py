"""Operations that replace values: one table of 256 for each image or each of its channels, applied by one gather."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float32, Shaped, UInt8
from torch import Tensor

Bytes = UInt8[Tensor, "rows c h w"]
Factor = Float32[Tensor, " rows"]


def values(like: Tensor) -> Float32[Tensor, "256"]:
    return torch.arange(256, dtype=torch.float32, device=like.device)


def blend(degenerate: Tensor, value: Tensor, factor: Tensor) -> Shaped[Tensor, "..."]:
    """`degenerate + factor (value - degenerate)`, clipped, its fraction cut off: what Pillow's enhancers end with."""
    return (degenerate + factor * (value - degenerate)).clamp_(0, 255).to(torch.uint8)


def posterize(bits: Factor) -> UInt8[Tensor, "rows 256"]:
    """Keep the highest `bits` bits."""
    mask = 256 - torch.pow(2, 8 - bits.clamp(0, 8).trunc()).int()
    return (values(bits).int() & mask[:, None]).to(torch.uint8)


def solarize(threshold: Factor) -> UInt8[Tensor, "rows 256"]:
    """Invert pixels that are at least `threshold`."""
    value = values(threshold)
    return torch.where(value < threshold[:, None], value, 255 - value).to(torch.uint8)


def solarize_add(addition: Factor) -> UInt8[Tensor, "rows 256"]:
    """Add `addition` to pixels below 128."""
    value = values(addition)
    return torch.where(value < 128, (value + addition.trunc()[:, None]).clamp(0, 255), value).to(torch.uint8)


def brightness(factor: Factor) -> UInt8[Tensor, "rows 256"]:
    """Blend with black."""
    return blend(torch.zeros((), device=factor.device), values(factor), factor[:, None])


def invert(nothing: Factor) -> UInt8[Tensor, "rows 256"]:
    return (255 - values(nothing)).to(torch.uint8).expand(len(nothing), -1)


TABLES: Mapping[str, Callable[[Factor], UInt8[Tensor, "rows 256"]]] = {
    "posterize": posterize,
    "solarize": solarize,
    "solarize_add": solarize_add,
    "brightness": brightness,
    "invert": invert,
}


def look_up(images: Bytes, tables: UInt8[Tensor, "rows channels 256"]) -> Bytes:
    """Replace every value by its entry in the table of its image, or of its channel in it."""
    return tables.expand(-1, images.shape[1], -1).gather(2, images.flatten(2).long()).view(images.shape)
