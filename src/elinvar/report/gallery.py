"""A picture of what a technique does: rows of labelled tiles on a plain sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..check import InputError

INK, PAPER = (60, 60, 60), (255, 255, 255)
GAP, TEXT = 6, 15


@dataclass(frozen=True)
class Strip:
    """One row: `n` images and what stands above each of them."""

    images: UInt8[Tensor, "n c h w"]
    labels: tuple[str, ...]


def gallery(title: str, strips: Sequence[Strip], *, tile: int = 96) -> Image.Image:
    """A sheet with a title and a row of tiles for each strip; small images are enlarged without smoothing.

    Raises `InputError` if there is nothing to show, or a strip does not have a label for each image.
    """
    if not strips:
        raise InputError("gallery: got no strips, expected at least one")
    for strip in strips:
        if len(strip.images) != len(strip.labels):
            raise InputError(f"gallery: got {len(strip.images)} images and {len(strip.labels)} labels")
    font = ImageFont.load_default(TEXT - 2)
    columns = max(len(strip.labels) for strip in strips)
    row = tile + TEXT + 2 * GAP
    sheet = Image.new("RGB", (columns * (tile + GAP) + GAP, 2 * TEXT + 2 * GAP + len(strips) * row), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), title, fill=INK, font=ImageFont.load_default(TEXT + 3))
    for number, strip in enumerate(strips):
        top = 2 * TEXT + 2 * GAP + number * row
        for column, (pixels, label) in enumerate(zip(strip.images, strip.labels, strict=True)):
            left = GAP + column * (tile + GAP)
            draw.text((left, top), label, fill=INK, font=font)
            array = pixels.permute(1, 2, 0).cpu().numpy()
            image = Image.fromarray(np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array)
            how = Image.Resampling.NEAREST if image.width < tile else Image.Resampling.BOX
            sheet.paste(image.resize((tile, tile), how), (left, top + TEXT + 2))
    return sheet
