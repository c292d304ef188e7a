"""The corruptions once more, slowly: numpy, scipy, Pillow and plain loops, one image (h, w, c) at a time.

Everything random takes its uniform numbers from outside, in the order that the docstrings of `elinvar.shift` state.
Results are grey levels before storing.
"""

import colorsys
import io
import math

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]


def normals(u: Floats) -> Floats:
    half = len(u) // 2
    radius = np.array([math.sqrt(-2 * math.log(1 - v)) for v in u[:half]])
    angle = 2 * math.pi * u[half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])


def clipped_zoom(image: Floats, factor: float) -> Floats:
    """Centre crop, stretched back by scipy, cut to size; each axis on its own."""
    size = image.shape[:2]
    crop = [math.ceil(n / factor) for n in size]
    top, left = [(n - c) // 2 for n, c in zip(size, crop, strict=True)]
    part = image[top : top + crop[0], left : left + crop[1]]
    large = scipy.ndimage.zoom(part, (factor, factor, 1), order=1)
    top, left = (large.shape[0] - size[0]) // 2, (large.shape[1] - size[1]) // 2
    return np.asarray(large[top : top + size[0], left : left + size[1]])


def motion(image: Floats, radius: float, sigma: float, degrees: float) -> Floats:
    height, width = image.shape[:2]
    weights = [math.exp(-i * i / (2 * sigma**2)) for i in range(int(2 * radius + 1))]
    result = np.zeros_like(image)
    count, angle = len(weights), math.pi * degrees / 180
    x, y = count * math.cos(angle), count * math.sin(angle)
    for i, weight in enumerate(weights):
        dx = math.ceil(i * x / math.hypot(x, y) - 0.5)  # ImageMagick's arithmetic, which decides ties
        dy = math.ceil(i * y / math.hypot(x, y) - 0.5)
        source = image[np.clip(np.arange(height) + dy, 0, height - 1)]
        result += weight / sum(weights) * source[:, np.clip(np.arange(width) + dx, 0, width - 1)]
    return result


def gaussian(image: Floats, sigma: float) -> Floats:
    return np.asarray(scipy.ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest", truncate=4.0))


def shuffled(image: Floats, offsets: NDArray[np.int64], reach: int) -> Floats:
    """One round of glass: offsets is (2, h, w), first down, then right."""
    image = image.copy()
    height, width = image.shape[:2]
    for y in range(height - reach, reach, -1):
        for x in range(width - reach, reach, -1):
            dy, dx = offsets[:, y, x]
            image[y, x] = image[y + dy, x + dx]
    return image


def glass_blur(image: Floats, u: Floats, sigma: float, reach: int, rounds: int) -> Floats:
    y = np.floor(gaussian(image / 255, sigma) * 255)
    for turn in u.reshape(rounds, 2, *image.shape[:2]):
        y = shuffled(y, np.floor(turn * 2 * reach).astype(int) - reach, reach)
    return gaussian(y / 255, sigma) * 255


def zoom_blur(image: Floats, factors: tuple[float, ...]) -> Floats:
    copies = [image, *(clipped_zoom(image, factor) for factor in factors)]
    return np.asarray(np.mean(copies, axis=0))


def snow(image: Floats, u: Floats, level: tuple[float, ...]) -> Floats:
    mean, std, zoom, cut, radius, sigma, mix = level
    height, width, _ = image.shape
    layer = clipped_zoom((normals(u[1:])[: height * width] * std + mean).reshape(height, width, 1), zoom)
    layer[layer < cut] = 0
    layer = np.floor(np.clip(layer, 0, 1) * 255)
    layer = np.floor(motion(layer, radius, sigma, u[0] * 90 - 135) + 0.5) / 255
    x = image / 255
    grey = (x @ np.array([0.299, 0.587, 0.114]))[..., None]
    x = mix * x + (1 - mix) * np.maximum(x, grey * 1.5 + 0.5)
    return np.asarray((x + layer + np.rot90(layer, 2)) * 255)


def plasma(u: Floats, side: int, decay: float) -> Floats:
    """Diamonds and squares, point by point, on a dictionary with coordinates modulo the side."""
    heights, draws = {(0, 0): 0.0}, iter(u)
    step, wibble = side, 100.0

    def put(y: int, x: int, *around: tuple[int, int]) -> None:
        mean = sum(heights[b % side, a % side] for b, a in around) / 4
        heights[y % side, x % side] = mean + wibble * (2 * wibble * next(draws) - wibble)

    while step > 1:
        h = step // 2
        grid = [(y, x) for y in range(0, side, step) for x in range(0, side, step)]
        for y, x in grid:
            put(y + h, x + h, (y, x), (y + step, x), (y, x + step), (y + step, x + step))
        for y, x in grid:
            put(y, x + h, (y, x), (y, x + step), (y + h, x + h), (y - h, x + h))
        for y, x in grid:
            put(y + h, x, (y, x), (y + step, x), (y + h, x + h), (y + h, x - h))
        step, wibble = h, wibble / decay
    result = np.array([[heights[y, x] for x in range(side)] for y in range(side)])
    return np.asarray((result - result.min()) / (result.max() - result.min()))


def fog(image: Floats, u: Floats, strength: float, decay: float) -> Floats:
    side = math.isqrt(len(u) + 1)
    x, peak = image / 255, image.max() / 255
    mist = plasma(u, side, decay)[: image.shape[0], : image.shape[1], None]
    return np.asarray((x + strength * mist) * peak / (peak + strength) * 255)


def brightness(image: Floats, added: float) -> Floats:
    def brighten(pixel: Floats) -> tuple[float, float, float]:
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
        return colorsys.hsv_to_rgb(hue, saturation, min(value + added, 1))

    return np.apply_along_axis(brighten, 2, image) * 255


def contrast(image: Floats, factor: float) -> Floats:
    mean = image.mean((0, 1), keepdims=True)
    return np.asarray((image - mean) * factor + mean)


def elastic_transform(image: Floats, u: Floats, alpha: float, sigma: float, affine: float) -> Floats:
    height, width, channels = image.shape
    centre, r = np.array([width // 2, height // 2]), min(height, width) // 3
    old = centre + np.array([[r, r], [r, -r], [-r, -r]])
    new = old + (2 * u[:6].reshape(3, 2) - 1) * affine
    forward = np.linalg.solve(np.column_stack([old, np.ones(3)]), new)  # (x, y, 1) @ forward = (x', y')
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 2)
    x, y = np.linalg.solve(forward[:2].T, (places - forward[2]).T)
    warped = np.stack(
        [scipy.ndimage.map_coordinates(image[..., c], (y, x), order=1, mode="mirror") for c in range(channels)], -1
    ).reshape(image.shape)
    fields = (2 * u[6:] - 1).reshape(2, height, width)
    dx, dy = (scipy.ndimage.gaussian_filter(f, sigma, mode="reflect", truncate=3.0) * alpha for f in fields)
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    moved = [
        scipy.ndimage.map_coordinates(warped[..., c], (y + dy, x + dx), order=1, mode="reflect")
        for c in range(channels)
    ]
    return np.stack(moved, -1)


def pixelate(image: Floats, scale: float) -> Floats:
    height, width, channels = image.shape
    picture = Image.fromarray(image.astype(np.uint8).squeeze())
    box, less = Image.Resampling.BOX, (int(width * scale), int(height * scale))
    if height == width:
        small = picture.resize(less, box)
    else:  # columns, then rows: Pillow 13 takes tall narrow images the other way round, which may round by one level
        small = picture.resize((less[0], height), box).resize(less, box)
    result = small.resize((width, height), box)
    return np.asarray(result).reshape(height, width, channels).astype(float)


def jpeg_compression(image: Floats, quality: float) -> Floats:
    file = io.BytesIO()
    Image.fromarray(image.astype(np.uint8).squeeze()).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(io.BytesIO(file.getvalue()))).reshape(image.shape).astype(float)
