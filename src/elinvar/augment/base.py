"""What every augmentation is: settings that can be called on a batch, with one random stream for each example."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from ..check import InputError, check_images
from ..rng import bits, fresh_key, streams
from .backend import execute
from .program import Program


class Augmentation(ABC):
    """A random change of images, example by example.

    The result for an example depends on its pixels and its key alone: not on its batch, its place in it, or the call.
    Subclasses are frozen dataclasses whose fields are their settings.
    """

    @final
    def __call__(
        self, images: Shaped[Tensor, "n c h w"], *, keys: Int64[Tensor, " n"] | None = None
    ) -> Shaped[Tensor, "n c h w"]:
        """The augmented images.

        images  (N, C, H, W), uint8 or floating point in [0, 1]
        keys    (N,) streams of `elinvar.rng.streams`, one for each example; None: fresh ones, fixed by
                `torch.manual_seed`. Calls that shall draw differently (views, epochs) take different keys.

        Raises `InputError` for anything else.
        """
        check_images(images)
        if keys is None:
            keys = streams(fresh_key(), torch.arange(len(images)))
        elif keys.dtype != torch.int64 or keys.shape != (len(images),):
            raise InputError(
                f"keys: got {keys.dtype} of shape {tuple(keys.shape)} for {len(images)} images, "
                "expected one int64 stream for each, as elinvar.rng.streams gives"
            )
        return self.transform(images, keys)

    @abstractmethod
    def transform(self, images: Shaped[Tensor, "n c h w"], keys: Int64[Tensor, " n"]) -> Shaped[Tensor, "n c h w"]:
        """The augmented images, for input that `__call__` has checked."""


class Programmed(Augmentation):
    """An augmentation that is a way of drawing programs."""

    @abstractmethod
    def draw(self, keys: Int64[Tensor, " n"], *, height: int, width: int) -> Program:
        """A program for each key, for images of that size: the same for the same key, always."""

    @final
    def transform(self, images: Shaped[Tensor, "n c h w"], keys: Int64[Tensor, " n"]) -> Shaped[Tensor, "n c h w"]:
        height, width = images.shape[2:]
        # On the host whatever the images' device: the same bits everywhere, and the host must know the operations.
        return execute(images, self.draw(keys.cpu(), height=height, width=width))


@dataclass(frozen=True)
class Compose(Augmentation):
    """Augmentations one after the other, each with draws of its own.

    >>> from elinvar.augment import Flip, PadCrop
    >>> Compose((Flip(), PadCrop(padding=2)))(torch.zeros(5, 3, 8, 8)).shape
    torch.Size([5, 3, 8, 8])
    """

    parts: tuple[Augmentation, ...]

    def transform(self, images: Shaped[Tensor, "n c h w"], keys: Int64[Tensor, " n"]) -> Shaped[Tensor, "n c h w"]:
        for place, part in enumerate(self.parts):
            images = part.transform(images, bits(keys, 1, start=place)[:, 0])
        return images
