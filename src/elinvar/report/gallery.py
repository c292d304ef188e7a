"""A picture of what a technique does: rows of labelled tiles on a plain sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..check import InputError

INK, QUIET, PAPER = (32, 32, 32), (96, 96, 96), (255, 255, 255)
GAP, MARGIN = 5, 10
TITLE, TEXT, SMALLEST = 18, 13, 9

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Strip:
    """One row: `n` images, what stands above each of them, and what stands before the row."""

    images: UInt8[Tensor, "n c h w"]
    labels: tuple[str, ...]
    name: str = ""


def gallery(title: str, strips: Sequence[Strip], *, tile: int = 96, note: str = "", across: int = 1) -> Image.Image:
    """A sheet with a title, a line below it, and a row of tiles for each strip.

    Small images are enlarged by a whole factor, without smoothing, to at least `tile`; large ones reduced to it. Labels
    that all strips share stand once, at the top.

    across   strips that stand side by side

    Raises `InputError` if there is nothing to show, or a strip does not have a label for each image.
    """
    if not strips:
        raise InputError("gallery: got no strips, expected at least one")
    for strip in strips:
        if len(strip.images) != len(strip.labels):
            raise InputError(f"gallery: got {len(strip.images)} images and {len(strip.labels)} labels")
    return _Sheet(title, strips, tile, note, across).draw()


class _Sheet:
    def __init__(self, title: str, strips: Sequence[Strip], tile: int, note: str, across: int) -> None:
        self.title, self.note, self.strips = title, note, strips
        self.font = ImageFont.load_default(TEXT)
        height, width = strips[0].images.shape[2:]
        scale = -(-tile // width) if width < tile else tile / width
        self.width, self.height = round(width * scale), max(1, round(height * scale))
        self.rows = -(-len(strips) // across)
        self.columns = max(len(strip.labels) for strip in strips)
        blocks = [strips[first : first + self.rows] for first in range(0, len(strips), self.rows)]
        self.leads = [self._lead(block) for block in blocks]
        self.lefts = [MARGIN]
        for lead in self.leads:
            self.lefts.append(self.lefts[-1] + lead + self.columns * (self.width + GAP) + 2 * MARGIN)
        self.shared = len({strip.labels for strip in strips}) == 1
        self.top = MARGIN + TITLE + GAP + (TEXT + GAP if note else 0) + (TEXT + GAP if self.shared else 0)
        self.row = self.height + GAP + (0 if self.shared else TEXT + GAP)

    def _lead(self, block: Sequence[Strip]) -> int:
        """Room for the names of strips that stand in one column."""
        longest = max(round(self.font.getlength(strip.name)) for strip in block)
        return longest + 2 * GAP if longest else 0

    def draw(self) -> Image.Image:
        width = self.lefts[-1] - 2 * MARGIN - GAP + MARGIN
        large = ImageFont.load_default(TITLE)
        for text, font in ((self.title, large), (self.note, self.font)):
            width = max(width, round(font.getlength(text)) + 2 * MARGIN)
        sheet = Image.new("RGB", (width, self.top + self.rows * self.row - GAP + MARGIN), PAPER)
        pen = ImageDraw.Draw(sheet)
        pen.text((MARGIN, MARGIN - 3), self.title, fill=INK, font=large)
        if self.note:
            pen.text((MARGIN, MARGIN + TITLE + 1), self.note, fill=QUIET, font=self.font)
        for number, strip in enumerate(self.strips):
            column, row = divmod(number, self.rows)  # down the first column of strips, then down the next
            left, top = self.lefts[column], self.top + row * self.row
            first = left + self.leads[column]
            if self.shared and row == 0:
                self._labels(pen, strip, first, top - TEXT - GAP)
            if not self.shared:
                self._labels(pen, strip, first, top)
                top += TEXT + GAP - 1
            pen.text((left, top + self.height // 2), strip.name, fill=INK, font=self.font, anchor="lm")
            self._tiles(sheet, strip, first, top)
        return sheet

    def _labels(self, pen: ImageDraw.ImageDraw, strip: Strip, left: int, top: int) -> None:
        for place, label in enumerate(strip.labels):
            text, font = _fitting(label, self.width)
            pen.text((left + place * (self.width + GAP), top), text, fill=QUIET, font=font)

    def _tiles(self, sheet: Image.Image, strip: Strip, left: int, top: int) -> None:
        for place, pixels in enumerate(strip.images):
            array = pixels.permute(1, 2, 0).cpu().numpy()
            image = Image.fromarray(np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array)
            how = Image.Resampling.NEAREST if image.width <= self.width else Image.Resampling.BOX
            sheet.paste(image.resize((self.width, self.height), how), (left + place * (self.width + GAP), top))


def _fitting(text: str, width: int) -> tuple[str, Font]:
    """The text in the largest font in which it fits, cut off if there is none."""
    for size in range(TEXT, SMALLEST - 1, -1):
        font = ImageFont.load_default(size)
        if font.getlength(text) <= width:
            return text, font
    while text and font.getlength(text + "\N{HORIZONTAL ELLIPSIS}") > width:
        text = text[:-1]
    return text + "\N{HORIZONTAL ELLIPSIS}", font
