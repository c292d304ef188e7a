"""What every augmentation is: settings that can be called on images, with one random stream for each of them."""

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from ..check import InputError, check_images
from ..rng import bits, fresh_key, streams
from .backend import execute
from .program import Program

if TYPE_CHECKING:
    from .module import Module


class Augmentation(ABC):
    """A random change of images, example by example.

    The result for an example depends on its pixels and its key alone: not on its batch, its place in it, or the call.
    Subclasses are frozen dataclasses whose fields are their settings: values, which are compared, hashed, pickled and
    written into recipes. For a place among layers there is `module()`.
    """

    @final
    def __call__(
        self, images: Shaped[Tensor, "*n c h w"], *, keys: Int64[Tensor, "*n"] | None = None
    ) -> Shaped[Tensor, "*n c h_out w_out"]:
        """The augmented images, on the device of the images, contiguous, without gradients.

        images  (N, C, H, W), or one image (C, H, W); uint8, or floating point in [0, 1]
        keys    (N,) streams of `elinvar.rng.streams`, one for each example, or () for one image; None: fresh ones,
                fixed by `torch.manual_seed`. Calls that shall draw differently (views, epochs) take different keys.

        Raises `InputError` for anything else. Under `torch.compile` the call is one operation of the graph.
        """
        if torch.compiler.is_compiling():
            from .opaque import call

            return call(self, images, keys)
        batch = _batch(images)
        check_images(batch)
        if keys is None:
            keys = streams(fresh_key(), torch.arange(len(batch)))
        elif keys.dtype != torch.int64 or keys.shape != images.shape[:-3]:
            raise InputError(
                f"keys: got {keys.dtype} of shape {tuple(keys.shape)} for "
                f"{'one image' if images.ndim == 3 else f'{len(images)} images'}, "
                "expected one int64 stream for each, as elinvar.rng.streams gives"
            )
        with torch.no_grad():
            made = self.transform(batch, keys.reshape(-1)).contiguous()
        return _like(made if images.ndim == 4 else made[0], images)

    @abstractmethod
    def transform(
        self, images: Shaped[Tensor, "n c h w"], keys: Int64[Tensor, " n"]
    ) -> Shaped[Tensor, "n c h_out w_out"]:
        """The augmented images, for input that `__call__` has checked."""

    @final
    def module(self) -> "Module":
        """A layer that augments while its model trains, and lets images pass while it is judged.

        >>> from elinvar.augment import Flip
        >>> model = torch.nn.Sequential(Flip().module(), torch.nn.Conv2d(3, 8, 3))
        """
        from .module import Module

        return Module(self)


def _batch(images: object) -> Tensor:
    """Images as a plain batch: one image is a batch of one; torchvision's own types are tensors."""
    if not isinstance(images, Tensor):
        kind = f"{type(images).__module__}.{type(images).__name__}".removeprefix("builtins.")
        raise InputError(
            f"images: got {kind}, expected a torch.Tensor of shape (N, C, H, W) or (C, H, W); "
            "torchvision.transforms.v2.ToImage() before this makes one of a picture or of an array (H, W, C)"
        )
    if images.ndim not in (3, 4):
        raise InputError(f"images: got shape {tuple(images.shape)}, expected (N, C, H, W), or (C, H, W) for one image")
    plain = images.detach()
    plain = plain if type(plain) is Tensor else plain.as_subclass(Tensor)
    return plain if plain.ndim == 4 else plain.unsqueeze(0)


def _like(made: Tensor, images: Tensor) -> Tensor:
    """`made` as torchvision's type of image if `images` are of one, so that its transforms know what it is."""
    vision = sys.modules.get("torchvision.tv_tensors")
    if type(images) is Tensor or vision is None or not isinstance(images, vision.TVTensor):
        return made
    wrapped: Tensor = vision.wrap(made, like=images)
    return wrapped


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
    >>> Compose([Flip(), PadCrop(padding=2)])(torch.zeros(5, 3, 8, 8)).shape
    torch.Size([5, 3, 8, 8])
    """

    parts: tuple[Augmentation, ...] | list[Augmentation]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        for part in self.parts:
            if not isinstance(part, Augmentation):
                raise InputError(
                    f"Compose: got {type(part).__name__}, expected augmentations of elinvar; join others with "
                    "torchvision.transforms.v2.Compose"
                )

    def transform(
        self, images: Shaped[Tensor, "n c h w"], keys: Int64[Tensor, " n"]
    ) -> Shaped[Tensor, "n c h_out w_out"]:
        for place, part in enumerate(self.parts):
            images = part.transform(images, bits(keys, 1, start=place)[:, 0])
        return images
