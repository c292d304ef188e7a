"""What a corruption may prepare itself for: the size of the images, and the pictures of frost."""

from dataclasses import dataclass

from .frost import FrostTextures


@dataclass(frozen=True)
class Frame:
    """The images at hand are `channels` x `height` x `width`; frost takes crops of `textures`."""

    channels: int
    height: int
    width: int
    textures: FrostTextures | None = None
