"""From an image of any size to one of `size` x `size`: the centre for tests, a keyed random part for training."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from PIL import Image
from torch import Tensor

from .. import rng
from ..check import InputError

TRIES = 10
DRAWS = 4 * TRIES


@dataclass(frozen=True)
class Crop:
    """How a folder's images get their common size. Bilinear, with Pillow's antialiasing.

    size      side of the result in pixels
    fraction  of the shorter side that the centre crop keeps, in (0, 1]
    area      range of the part of the image's area that a random crop takes
    ratio     range of width / height of a random crop, drawn uniformly in its logarithm

    Source   random crops: Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 6. Ten tries and
             what follows when none fits are torchvision's custom.
    Raises `InputError` for ranges that make no sense.
    """

    size: int
    fraction: float = 0.875
    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"size: got {self.size}, expected at least 1 pixel")
        if not 0 < self.fraction <= 1:
            raise InputError(f"fraction: got {self.fraction}, expected above 0 and at most 1")
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise InputError(f"area: got {self.area}, expected 0 < low <= high <= 1")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise InputError(f"ratio: got {self.ratio}, expected 0 < low <= high")

    def draws(self, key: int, index: Int64[Tensor, " n"]) -> Float64[Tensor, "n draws"]:
        """What the random crop of each example needs: its own numbers, whatever batch it is in."""
        return rng.uniform(rng.streams(key, index), DRAWS)

    def centre(self, image: Image.Image) -> Image.Image:
        """The middle of `image` after its shorter side became size / fraction; one that has the size stays as it is."""
        if image.size == (self.size, self.size):
            return image
        short = max(self.size, round(self.size / self.fraction))
        sides = (int(short * side / min(image.size)) for side in image.size)
        image = image.resize((next(sides), next(sides)), Image.Resampling.BILINEAR)
        left, top = round((image.width - self.size) / 2), round((image.height - self.size) / 2)
        return image.crop((left, top, left + self.size, top + self.size))

    def random(self, image: Image.Image, draws: Float64[Tensor, " draws"]) -> Image.Image:
        """The first of the drawn boxes that fits into `image`, brought to size; else the largest allowed."""
        part = image.crop(self.box(image.width, image.height, draws))
        return part.resize((self.size, self.size), Image.Resampling.BILINEAR)

    def box(self, width: int, height: int, draws: Float64[Tensor, " draws"]) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the random crop of an image of this size."""
        low, high = (math.log(value) for value in self.ratio)
        for area, ratio, left, top in draws.view(TRIES, 4).tolist():
            target = width * height * (self.area[0] + area * (self.area[1] - self.area[0]))
            aspect = math.exp(low + ratio * (high - low))
            w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
            if 0 < w <= width and 0 < h <= height:
                x, y = int(left * (width - w + 1)), int(top * (height - h + 1))
                return x, y, x + w, y + h
        aspect = min(max(width / height, self.ratio[0]), self.ratio[1])
        w, h = max(1, min(width, round(height * aspect))), max(1, min(height, round(width / aspect)))
        x, y = (width - w) // 2, (height - h) // 2
        return x, y, x + w, y + h


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB image as uint8 of shape (3, H, W)."""
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(image.height, image.width, 3).permute(2, 0, 1)
