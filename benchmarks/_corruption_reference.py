"""The benchmark generator's algorithms, one image at a time, in plain numpy, scipy and Pillow.

Same structure as hendrycks/robustness, make_cifar_c.py and make_imagenet_c.py, for square images: float64 images
(h, w, c), scipy's `zoom` for each factor of the zoom blur, a Python loop over pixels for glass, the frost picture
decoded and shrunk for every image. Where the generator leaves the work to OpenCV, scikit-image or ImageMagick, numpy
and scipy do it here, as fast as they can; its random numbers come from numpy's new generator, twice as fast as the old
one. Nothing is slowed down. Spatter is left out: it consists of OpenCV's functions.
"""

import io
import math
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import affine_transform, correlate, gaussian_filter, map_coordinates, zoom
from scipy.signal import oaconvolve

from elinvar.shift import SEVERITY, frost_textures
from elinvar.shift.blur import disk

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


def _clip(x: Floats) -> Floats:
    return np.clip(x, 0, 1) * 255


def gaussian_noise(image: Pixels, draw: Generator, sigma: float) -> Floats:
    return _clip(image / 255 + draw.normal(scale=sigma, size=image.shape))


def shot_noise(image: Pixels, draw: Generator, photons: float) -> Floats:
    return _clip(draw.poisson(image / 255 * photons) / photons)


def impulse_noise(image: Pixels, draw: Generator, rate: float) -> Floats:
    x = image / 255
    flipped, salted = draw.random(x.shape) < rate, draw.random(x.shape) < 0.5
    x[flipped & salted] = 1
    x[flipped & ~salted] = 0
    return _clip(x)


def defocus_blur(image: Pixels, draw: Generator, radius: float, alias: float) -> Floats:
    kernel = disk(radius, alias)
    reach = int(np.abs(np.argwhere(kernel > 1e-12) - len(kernel) // 2).max())
    kernel = kernel[len(kernel) // 2 - reach :, len(kernel) // 2 - reach :][: 2 * reach + 1, : 2 * reach + 1]
    if reach < 3:
        return _clip(np.stack([correlate(image[..., c] / 255, kernel, mode="mirror") for c in range(3)], -1))
    padded = np.pad(
        image / 255, ((reach, reach), (reach, reach), (0, 0)), mode="reflect"
    )  # OpenCV, too, uses Fourier's
    return _clip(oaconvolve(padded, kernel[..., None], mode="valid", axes=(0, 1)))


def glass_blur(image: Pixels, draw: Generator, sigma: float, reach: float, rounds: float) -> Floats:
    x = np.uint8(gaussian_filter(image / 255, (sigma, sigma, 0), mode="nearest") * 255)
    height, width, d = *x.shape[:2], int(reach)
    for _ in range(int(rounds)):
        for h in range(height - d, d, -1):
            for w in range(width - d, d, -1):
                dx, dy = draw.integers(-d, d, size=2)
                x[h, w] = x[h + dy, w + dx]
    return _clip(gaussian_filter(x / 255, (sigma, sigma, 0), mode="nearest"))


def _motion(x: Floats, radius: float, sigma: float, degrees: float) -> Floats:
    steps = np.arange(2 * int(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    right = np.ceil(steps * math.cos(math.radians(degrees)) - 0.5).astype(int)
    down = np.ceil(steps * math.sin(math.radians(degrees)) - 0.5).astype(int)
    reach, (height, width) = len(steps), x.shape[:2]
    padded = np.pad(x, ((reach, reach), (reach, reach), *((0, 0),) * (x.ndim - 2)), mode="edge")
    total = np.zeros_like(x)
    for weight, dy, dx in zip(weights / weights.sum(), down + reach, right + reach, strict=True):
        total += weight * padded[dy : dy + height, dx : dx + width]
    return np.floor(total + 0.5)


def motion_blur(image: Pixels, draw: Generator, radius: float, sigma: float) -> Floats:
    return _motion(image.astype(float), radius, sigma, draw.uniform(-45, 45))


def _clipped_zoom(x: Floats, factor: float) -> Floats:
    n = x.shape[0]
    crop = math.ceil(n / factor)
    top = (n - crop) // 2
    large = zoom(x[top : top + crop, top : top + crop], (factor, factor, 1), order=1)
    top = (large.shape[0] - n) // 2
    return np.asarray(large[top : top + n, top : top + n])


def zoom_blur(image: Pixels, draw: Generator, *factors: float) -> Floats:
    x = (image / 255).astype(np.float32)
    total = np.zeros_like(x)
    for factor in factors:
        total += _clipped_zoom(x, factor)
    return _clip((x + total) / (len(factors) + 1))


def snow(image: Pixels, draw: Generator, *level: float) -> Floats:
    mean, std, factor, cut, radius, sigma, mix = level
    x = (image / 255).astype(np.float32)
    layer = _clipped_zoom(draw.normal(mean, std, size=(*x.shape[:2], 1)), factor)
    layer[layer < cut] = 0
    layer = np.floor(np.clip(layer, 0, 1) * 255)
    layer = _motion(layer, radius, sigma, draw.uniform(-135, -45)) / 255
    grey = (x @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    x = mix * x + (1 - mix) * np.maximum(x, grey * 1.5 + 0.5)
    return _clip(x + layer + np.rot90(layer, 2))


@cache
def _frost_files() -> list[Path]:
    directory = Path(tempfile.mkdtemp(prefix="frost"))
    endings = ("png", "png", "png", "jpg", "jpg")
    files = [directory / f"frost{number}.{ending}" for number, ending in enumerate(endings, start=1)]
    for file, picture in zip(files, frost_textures().pictures, strict=True):
        Image.fromarray(picture).save(file)
    return files


def frost(image: Pixels, draw: Generator, image_weight: float, texture_weight: float) -> Floats:
    n = image.shape[0]
    picture = np.asarray(Image.open(_frost_files()[draw.integers(5)]))
    if n <= 32:
        picture = picture[2::5, 2::5]  # bilinear by 1/5 takes each fifth
    top, left = draw.integers(0, picture.shape[0] - n), draw.integers(0, picture.shape[1] - n)
    return np.clip(image_weight * image + texture_weight * picture[top : top + n, left : left + n], 0, 255)


def _plasma(draw: Generator, side: int, decay: float) -> Floats:
    a, step, wibble = np.zeros((side, side)), side, 100.0

    def wobbly(total: Floats) -> Floats:
        return total / 4 + wibble * draw.uniform(-wibble, wibble, total.shape)

    while step >= 2:
        h = step // 2
        corners = a[::step, ::step]
        total = corners + np.roll(corners, -1, 0)
        centres = a[h::step, h::step] = wobbly(total + np.roll(total, -1, 1))
        a[::step, h::step] = wobbly(centres + np.roll(centres, 1, 0) + corners + np.roll(corners, -1, 1))
        a[h::step, ::step] = wobbly(centres + np.roll(centres, 1, 1) + corners + np.roll(corners, -1, 0))
        step, wibble = h, wibble / decay
    a -= a.min()
    return a / a.max()


def fog(image: Pixels, draw: Generator, strength: float, decay: float) -> Floats:
    x = image / 255
    peak = x.max()
    x += strength * _plasma(draw, 32 if len(x) <= 32 else 256, decay)[: x.shape[0], : x.shape[1], None]
    return _clip(x * peak / (peak + strength))


def _hsv(x: Floats) -> tuple[Floats, Floats, Floats]:
    value, lowest = x.max(-1), x.min(-1)
    delta = value - lowest
    safe = np.where(delta > 0, delta, 1)
    saturation = np.where(value > 0, delta / np.where(value > 0, value, 1), 0)
    red, green, blue = x[..., 0], x[..., 1], x[..., 2]
    hue = np.where(
        value == red,
        (green - blue) / safe % 6,
        np.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    return hue, saturation, value


def _rgb(hue: Floats, saturation: Floats, value: Floats) -> Floats:
    sector, f = np.floor(hue).astype(int) % 6, hue - np.floor(hue)
    p, q, t = value * (1 - saturation), value * (1 - f * saturation), value * (1 - (1 - f) * saturation)
    orders = ((value, t, p), (q, value, p), (p, value, t), (p, q, value), (t, p, value), (value, p, q))
    return np.choose(sector[..., None], [np.stack(order, -1) for order in orders])


def brightness(image: Pixels, draw: Generator, added: float) -> Floats:
    hue, saturation, value = _hsv(image / 255)
    return _clip(_rgb(hue, saturation, np.clip(value + added, 0, 1)))


def saturate(image: Pixels, draw: Generator, scale: float, shift: float) -> Floats:
    hue, saturation, value = _hsv(image / 255)
    return _clip(_rgb(hue, np.clip(saturation * scale + shift, 0, 1), value))


def speckle_noise(image: Pixels, draw: Generator, sigma: float) -> Floats:
    x = image / 255
    return _clip(x + x * draw.normal(scale=sigma, size=x.shape))


def gaussian_blur(image: Pixels, draw: Generator, sigma: float) -> Floats:
    return _clip(gaussian_filter(image / 255, (sigma, sigma, 0), mode="nearest"))


def contrast(image: Pixels, draw: Generator, factor: float) -> Floats:
    x = image / 255
    mean = x.mean((0, 1), keepdims=True)
    return _clip((x - mean) * factor + mean)


def elastic_transform(image: Pixels, draw: Generator, alpha: float, sigma: float, affine: float) -> Floats:
    x, n = (image / 255).astype(np.float32), image.shape[0]
    c, r = n // 2, n // 3
    old = np.array([[c + r, c + r], [c + r, c - r], [c - r, c - r]], float)
    new = old + draw.uniform(-affine, affine, size=old.shape)
    forward = np.linalg.solve(np.column_stack([old, np.ones(3)]), new).T
    inverse = np.linalg.inv(forward[:, :2])
    swap = inverse[::-1, ::-1]  # places as (row, column)
    offset = -(inverse @ forward[:, 2])[::-1]
    warped = [affine_transform(x[..., k], swap, offset, order=1, mode="mirror") for k in range(3)]
    dx, dy = (
        gaussian_filter(draw.uniform(-1, 1, size=(n, n)), sigma, mode="reflect", truncate=3) * alpha for _ in range(2)
    )
    places = np.arange(n)[:, None] + dy, np.arange(n) + dx
    return _clip(np.stack([map_coordinates(channel, places, order=1, mode="reflect") for channel in warped], -1))


def pixelate(image: Pixels, draw: Generator, scale: float) -> Pixels:
    n = image.shape[0]
    small = Image.fromarray(image).resize((int(n * scale), int(n * scale)), Image.Resampling.BOX)
    return np.asarray(small.resize((n, n), Image.Resampling.BOX))


def jpeg_compression(image: Pixels, draw: Generator, quality: float) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file))


_FUNCTIONS = (
    gaussian_noise, shot_noise, impulse_noise, defocus_blur, glass_blur, motion_blur, zoom_blur, snow, frost, fog,
    brightness, contrast, elastic_transform, pixelate, jpeg_compression, speckle_noise, gaussian_blur, saturate,
)  # fmt: skip
REFERENCE: Mapping[str, Callable[..., NDArray[np.generic]]] = {f.__name__: f for f in _FUNCTIONS}


def corrupt(image: Pixels, name: str, severity: int, draw: Generator) -> Pixels:
    """One image (h, w, 3), h = w, as the generator would store it."""
    level = SEVERITY[name].level(severity, *image.shape[:2])
    return np.uint8(REFERENCE[name](image, draw, *level))
