"""JPEG and back, by Pillow, image by image; Pillow releases the interpreter lock while it codes."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray


def through_jpeg(x: NDArray[np.float64], quality: float, out: NDArray[np.float64]) -> None:
    """Write to `out` what is left of the grey levels x (n, c, h, w) after JPEG of this quality."""
    from PIL import Image

    mode = "L" if x.shape[1] == 1 else "RGB"
    size = x.shape[3], x.shape[2]
    pixels = np.ascontiguousarray((x + 0.5).astype(np.uint8).transpose(0, 2, 3, 1))
    for image, result in zip(pixels, out, strict=True):
        coded = BytesIO()
        Image.frombytes(mode, size, image).save(coded, "JPEG", quality=int(quality))
        decoded = np.asarray(Image.open(coded, formats=("JPEG",)))
        result[:] = decoded.reshape(*image.shape).transpose(2, 0, 1)
