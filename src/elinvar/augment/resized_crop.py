"""Random resized crops: a random part of each image at a random scale, resampled to one size."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from ..check import InputError, unknown
from ..rng import uniform
from .backend import Backend, check_channels, to_bytes, to_floats
from .base import Augmentation
from .filters import SUPPORT, Interpolation
from .regions import TRIES, check_shape, fitting


@torch.no_grad()
def resized_crop(
    images: Shaped[Tensor, "n c h w"],
    boxes: Int64[Tensor, "n 4"],
    size: tuple[int, int],
    *,
    interpolation: Interpolation = "bilinear",
    backend: Backend | None = None,
) -> Shaped[Tensor, "n c h_out w_out"]:
    """The box (height, width, row, column) of each image, resampled to `size` (height, width).

    Equal to Pillow's `Image.resize` with that `box`, bit for bit; rows are resampled first, columns then, which Pillow
    from version 13 on does the other way round if an image is to lose much more height than width. Floating point is
    rounded to 256 values first. `backend` as in `apply`.

    Raises `InputError` for a box that is empty or leaves its image, and for other than 1 or 3 channels.
    """
    check_channels(images)
    sides = torch.tensor([images.shape[2:]], dtype=torch.int64)
    where = boxes.cpu()
    if not bool(((where[:, :2] >= 1) & (where[:, 2:] >= 0) & (where[:, :2] + where[:, 2:] <= sides)).all()):
        raise InputError(f"boxes: got one that is empty or leaves its image of {images.shape[2]} x {images.shape[3]}")
    if (backend or images.device.type) in ("cpu", "compiled"):
        from .compiled.resize import resized_crop as resize
    else:
        from .batched.resize import resized_crop as resize
    made = resize(to_bytes(images), where, size, interpolation)
    return to_floats(made, images.dtype) if images.is_floating_point() else made


@dataclass(frozen=True)
class RandomResizedCrop(Augmentation):
    """Cut a random part out of each image, and resample it to `size`.

        area ~ U(scale) height width,   ratio = width / height of the part ~ exp U(log ratio)

    size           of the result: a side, or (height, width)
    scale          share of the image, 0 < lowest <= highest <= 1
    ratio          of width to height, 0 < lowest <= highest
    interpolation  "bilinear" or "bicubic"; where the part is larger than `size` all of its pixels count, as in Pillow

    A part that does not fit is drawn again, up to 10 times; then it is the largest one in the middle of the image whose
    ratio is allowed. uint8 images stay uint8; floating point is rounded to 256 values first.

    Source   Szegedy et al., Going deeper with convolutions, CVPR 2015, section 6; the defaults are those of ImageNet
             training everywhere.
    Differs  pixels next to the part, which the filter reaches, count too, as with Pillow's `resize(size, box=...)`;
             libraries that crop first repeat the border.

    >>> RandomResizedCrop(32)(torch.zeros(2, 3, 60, 80, dtype=torch.uint8)).shape
    torch.Size([2, 3, 32, 32])
    """

    size: int | tuple[int, int]
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        if min(self.sides) < 1:
            raise InputError(f"size: got {self.size}, expected a side of at least 1 pixel, or (height, width)")
        check_shape("scale", self.scale, self.ratio)
        if self.interpolation not in SUPPORT:
            raise unknown("interpolation", self.interpolation, SUPPORT)

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the result."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def draw(self, keys: Int64[Tensor, " n"], *, height: int, width: int) -> Int64[Tensor, "n 4"]:
        """Height, width, row and column of the part of each image: four draws for each try."""
        u = uniform(keys, 4 * TRIES).view(-1, TRIES, 4)
        where, fits = fitting(u, height, width, self.scale, self.ratio)
        return torch.where(fits[:, None], where, self._middle(height, width)).long()

    def _middle(self, height: int, width: int) -> Tensor:
        low, high = self.ratio
        tall, wide = float(height), float(width)
        if width / height < low:
            tall = max(1, round(width / low))
        elif width / height > high:
            wide = max(1, round(height * high))
        corner = math.floor((height - tall) / 2), math.floor((width - wide) / 2)
        return torch.tensor([tall, wide, *corner], dtype=torch.float64)

    def transform(
        self, images: Shaped[Tensor, "n c h w"], keys: Int64[Tensor, " n"]
    ) -> Shaped[Tensor, "n c h_out w_out"]:
        boxes = self.draw(keys.cpu(), height=images.shape[2], width=images.shape[3])
        return resized_crop(images, boxes, self.sides, interpolation=self.interpolation)
