"""Image files to upright RGB, whatever they were: grey, palette, transparent, CMYK, 16 bits, turned by a camera."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..check import InputError, warn

DECODING = 1  # counts changes of how a file becomes pixels
EXTENSIONS = frozenset(
    {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
DEEP = frozenset({".png", ".tif", ".tiff"})  # what may hold more than 8 bits that are taken as they are
DARK = 4096  # of 65,536: the values of 12 bits


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode.startswith("I"):  # 16 bits; Pillow's own conversion would clip them to 255
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def decode(path: Path) -> Image.Image:
    """The file's (first) picture in RGB, upright by its EXIF orientation; transparency is dropped.

    More than 8 bits count as 0 to 65535, whatever part of this range they use; see `warn_of_depth`. Raises `InputError`
    for a file that is missing, damaged, cut short, or no image.
    """
    try:
        with Image.open(path) as image:
            return _rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # Pillow's readers raise nearly everything on damaged files: OSError, SyntaxError, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read as an image ({reason}); repair or remove this file") from error


def _range(path: Path) -> tuple[int, int] | None:
    """The smallest and largest value of an image with more than 8 bits, in 0 to 65535; None for any other file."""
    try:
        with Image.open(path) as image:
            grey, colour = image.mode.startswith("I"), ";16" in str(getattr(image, "tile", ""))
            if not grey and not colour:
                return None
            values = np.asarray(image)  # of colours Pillow keeps the upper 8 of 16 bits
            scale = 1 if grey else 256
            return int(values.min()) * scale, int(values.max()) * scale
    except Exception:  # a damaged file: `decode` names it when its turn comes
        return None


def warn_of_depth(groups: Iterable[Sequence[Path]]) -> None:
    """Warn, once, where more than half of the images with more than 8 bits in a group come out black or cut off.

    Groups are a few images of one class each: a class may have a camera of its own.
    """
    wrong, looked = list[tuple[Path, int, int]](), 0
    for paths in groups:
        found = [(path, *of) for path in paths if path.suffix.lower() in DEEP and (of := _range(path)) is not None]
        faulty = [(path, low, high) for path, low, high in found if high < DARK or high > 65535 or low < 0]
        looked += bool(found)
        wrong += faulty[:1] if 2 * len(faulty) > len(found) else []
    if not wrong:
        return
    path, low, high = wrong[0]
    came = "comes out nearly black" if high < DARK and low >= 0 else "is cut off"
    warn(
        f"{path}: its values span {low} to {high}, with more than 8 bits 0 to 65535 are expected: the image {came}; "
        "scale the values to this range (12 bits: times 16), or save 8 bits (a few of each class are looked at: "
        f"{len(wrong):,} of {looked:,} classes are like this)"
    )
