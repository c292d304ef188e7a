"""Image files to upright RGB, whatever they were: grey, palette, transparent, CMYK, 16 bits, turned by a camera."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..check import InputError

DECODING = 1  # counts changes of how a file becomes pixels
EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


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

    Raises `InputError` for a file that is missing, damaged, cut short, or no image.
    """
    try:
        with Image.open(path) as image:
            return _rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # Pillow's readers raise nearly everything on damaged files: OSError, SyntaxError, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read as an image ({reason}); repair or remove this file") from error
