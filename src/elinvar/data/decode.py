"""Image files to upright RGB, whatever they were: grey, palette, transparent, CMYK, 16 bits, turned by a camera."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..check import InputError, warn

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


def warn_of_depth(paths: Iterable[Path]) -> None:
    """Warn, once, where at least half of the images with more than 8 bits among `paths` come out black or cut off."""
    found = [(path, of) for path in paths if path.suffix.lower() in DEEP and (of := _range(path)) is not None]
    wrong = [(path, of) for path, of in found if of[1] < DARK or of[1] > 65535 or of[0] < 0]
    if not wrong or 2 * len(wrong) < len(found):
        return
    path, (low, high) = wrong[0]
    came = "comes out nearly black" if high < DARK and low >= 0 else "is cut off"
    warn(
        f"{path}: its values span {low} to {high}, with more than 8 bits 0 to 65535 are expected: the image {came}; "
        f"scale the values to this range (12 bits: times 16), or save 8 bits ({len(wrong)} of {len(found)} looked at)"
    )
