"""Pictures of frost: grown by a procedure, or the five photographs of the benchmark from a directory.

The benchmark adds crops of photographs that may not be distributed with this library. The default pictures are grown
(`ice.py`) to the photographs' sizes; whoever has the photographs uses `load_frost`. Results of the two are not the
same corruption: `FrostTextures.procedural` and `.source` say which one it was.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from ..check import InputError

SIZES = ((600, 900), (315, 560), (315, 560), (350, 527), (495, 660))


@dataclass(frozen=True, eq=False)
class FrostTextures:
    """Pictures of frost, each (height, width, 3) of uint8 R, G, B; `source` is a phrase for reports."""

    pictures: tuple[UInt8[np.ndarray, "_ _ 3"], ...]
    procedural: bool
    source: str

    def shrunk(self, factor: float, side: int) -> list[NDArray[np.uint8]]:
        """The pictures shrunk by `factor` (`Benchmark.frost`), less where no crop of `side` pixels would fit."""
        return [resize(picture, max(factor, (side + 1) / min(picture.shape[:2]))) for picture in self.pictures]


def resize(picture: UInt8[np.ndarray, "h w c"], factor: float) -> NDArray[np.uint8]:
    """Bilinear, without antialiasing, half-pixel centres, edges repeated: what OpenCV's `resize` does.

    >>> resize(np.arange(75, dtype=np.uint8).reshape(5, 5, 3), 0.2).tolist()
    [[[36, 37, 38]]]
    """
    if factor == 1:
        return picture
    result = picture.astype(np.float64)
    for axis in (0, 1):
        size = picture.shape[axis]
        position = ((np.arange(round(size * factor)) + 0.5) / factor - 0.5).clip(0, size - 1)
        low = np.minimum(position.astype(np.int64), size - 2)
        along = (position - low).reshape((-1, 1, 1) if axis == 0 else (-1, 1))
        result = result.take(low, axis) * (1 - along) + result.take(low + 1, axis) * along
    return (result + 0.5).astype(np.uint8)


@lru_cache(maxsize=1)
def frost_textures() -> FrostTextures:
    """Five grown pictures of the photographs' sizes: the same on every call, made once for each process."""
    from .ice import grow

    pictures = tuple(grow(number, *size) for number, size in enumerate(SIZES))
    return FrostTextures(pictures, True, "procedural frost, grown by elinvar; not the photographs of the benchmark")


def load_frost(directory: str | Path) -> FrostTextures:
    """The benchmark's photographs from a directory that holds frost1 to frost5 (.png, .jpg or .jpeg).

    The generator lists a sixth one and never takes it. Raises `InputError` where a picture is missing or unreadable.
    """
    from PIL import Image, UnidentifiedImageError

    pictures = []
    for number in range(1, len(SIZES) + 1):
        names = [f"frost{number}.{ending}" for ending in ("png", "jpg", "jpeg")]
        file = next((path for name in names if (path := Path(directory) / name).is_file()), None)
        if file is None:
            raise InputError(f"frost: {directory} holds none of {', '.join(names)}; it must hold frost1 to frost5")
        try:
            with Image.open(file) as image:
                pictures.append(np.array(image.convert("RGB")))
        except (UnidentifiedImageError, OSError) as error:
            raise InputError(f"frost: {file} is no picture that Pillow can read ({error})") from error
    return FrostTextures(tuple(pictures), False, f"photographs from {directory}")
