"""What a corruption may prepare itself for: the size of the images, the pictures of frost, and what is imitated."""

from dataclasses import dataclass

from ..check import unknown
from .benchmark import Benchmark, benchmark
from .frost import FrostTextures

SENSIBLE, PUBLISHED = "sensible", "published"
FLAVOURS = (SENSIBLE, PUBLISHED)


def check_flavour(flavour: object) -> None:
    """Raise `InputError` for anything that is no flavour."""
    if flavour not in FLAVOURS:
        raise unknown("flavour", flavour, FLAVOURS)


@dataclass(frozen=True)
class Frame:
    """The images at hand are `channels` x `height` x `width`; frost takes crops of `textures`.

    constants   the name of a benchmark; None: the one whose size is nearest
    flavour     "sensible", or "published": with what the generators do by accident
    """

    channels: int
    height: int
    width: int
    textures: FrostTextures | None = None
    constants: str | None = None
    flavour: str = SENSIBLE

    @property
    def benchmark(self) -> Benchmark:
        """Whose constants count."""
        return benchmark(self.constants, self.height, self.width)

    @property
    def published(self) -> bool:
        """Whether the generators' accidents are wanted."""
        return self.flavour == PUBLISHED
