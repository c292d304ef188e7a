"""Grow a picture of frost: feathers of ice on dark glass, lit from the side.

    stem     a slightly bent line of length L from a seed, most seeds near the rim of the pane, growing inwards
    barbs    branches on both sides of the stem at about 60 degrees, the angle of ice, shorter towards the tip
    barbules branches of the barbs, parallel to the stem
    picture  light = 1 - exp(-ice / thickness), plus a cloudy film, a relief of the slope, and grain; blue to white;
             then stretched to the mean and standard deviation that the picture's row of `PANES` asks for

The brightness is chosen after photographs of frosted windows (mean grey .4 to .6, standard deviation .18 to .22); the
benchmark's own photographs were not at hand to be measured.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..rng import fold

Floats = NDArray[np.float64]
TONES = np.array([[28, 40, 56], [92, 120, 148], [168, 192, 210], [230, 238, 244], [255, 255, 255]], dtype=float)


@dataclass(frozen=True)
class Pane:
    """What sets one picture apart. Lengths are fractions of the picture's height."""

    feathers: int
    length: float
    spacing: float
    rim: float
    mean: float
    deviation: float


PANES = (
    Pane(150, 0.50, 0.009, 0.8, 0.46, 0.21),
    Pane(90, 0.65, 0.016, 0.5, 0.52, 0.19),
    Pane(220, 0.35, 0.012, 0.9, 0.42, 0.22),
    Pane(120, 0.55, 0.014, 0.2, 0.58, 0.18),
    Pane(260, 0.30, 0.010, 0.0, 0.50, 0.20),
)


class _Draws:
    """Uniform numbers in order, from one stream, made a block at a time."""

    BLOCK = 1 << 14

    def __init__(self, number: int) -> None:
        self._stream = np.uint64(fold("frost picture", number))
        self._made, self._left = 0, np.empty(0)

    def __call__(self, *shape: int) -> Floats:
        from .kernels.random import fill_uniform

        count = math.prod(shape)
        if count > len(self._left):
            block = np.empty(max(count, self.BLOCK))
            fill_uniform(self._stream, self._made, block)
            self._left = np.concatenate([self._left, block])
            self._made += len(block)
        taken, self._left = self._left[:count], self._left[count:]
        return taken.reshape(shape)


def grow(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """Picture `number` (0 to 4) at any size, (height, width, 3) of uint8: the same on every call."""
    from scipy.ndimage import gaussian_filter, sobel

    pane, draw = PANES[number], _Draws(number)
    ice = np.zeros((height, width))
    for _ in range(pane.feathers):
        _feather(ice, pane, draw)
    ice = 0.6 * gaussian_filter(ice, 0.9) + 0.4 * gaussian_filter(ice, 0.012 * height)  # clear and out of focus
    light = 1 - np.exp(-ice / (1.5 * ice.mean()))
    film = sum(_cloud(draw, height, width, cells) / weight for cells, weight in ((3, 1.6), (7, 3.0), (19, 6.0)))
    relief = sobel(gaussian_filter(ice, 1.0), axis=1) / (8 * ice.std())
    picture = 0.75 * light + 0.45 * film + 0.18 * np.tanh(relief) + 0.05 * (draw(height, width) - 0.5)
    for _ in range(4):  # clipping moves mean and deviation a little: approach them
        picture = ((picture - picture.mean()) / picture.std() * pane.deviation + pane.mean).clip(0, 1)
    return _tinted(picture)


def _feather(ice: Floats, pane: Pane, draw: _Draws) -> None:
    from .kernels.ice import add_needles

    height, width = ice.shape
    along, depth, turn, size, bend = draw(5)
    if along < pane.rim:  # seeds on the rim grow inwards
        side, place = divmod(along / pane.rim * 4, 1)
        depth = depth * 0.16 - 0.06
        x, y = ((place, depth), (1 - depth, place), (place, 1 - depth), (depth, place))[int(side)]
        heading = (0.5, 1.0, 1.5, 0.0)[int(side)] * np.pi + (turn - 0.5) * 2.2
    else:
        x, y = draw(2)
        heading = turn * 2 * np.pi
    length = pane.length * height * (0.4 + 0.6 * size)
    step = pane.spacing * height
    t = np.cumsum(step * (0.4 + 1.2 * draw(int(length / step))))
    t = t[t < length]
    angle = heading + (bend - 0.5) * 1.4 * t / length
    gap = np.diff(t, prepend=0.0)
    stem = x * width + np.cumsum(np.cos(angle) * gap), y * height + np.cumsum(np.sin(angle) * gap)
    add_needles(ice, *stem, angle, gap, 1.6)
    taper = (1 - t / length) ** 0.7
    for hand in (-1, 1):
        barb = angle + hand * (np.pi / 3 + 0.3 * (draw(len(t)) - 0.5))
        reach = 0.28 * length * taper * (0.3 + 0.7 * draw(len(t)))
        add_needles(ice, *stem, barb, reach, 1.0)
        for part in np.arange(0.15, 0.95, 0.1):
            root = stem[0] + np.cos(barb) * reach * part, stem[1] + np.sin(barb) * reach * part
            for turned in (barb - hand * np.pi / 3, barb + hand * np.pi / 3):
                small = reach * 0.3 * (1 - part) * (0.3 + 0.7 * draw(len(t)))
                add_needles(ice, *root, turned, small, 0.7)


def _cloud(draw: _Draws, height: int, width: int, cells: int) -> Floats:
    """Smooth noise in [0, 1], with `cells` independent values down the picture and smooth steps between them."""
    across = max(2, round(cells * width / height))
    rows, columns = _steps(height, cells), _steps(width, across)
    cloud: Floats = rows @ draw(cells + 1, across + 1) @ columns.T
    return cloud


def _steps(size: int, cells: int) -> Floats:
    position = np.arange(size) * (cells / size)
    t = position % 1
    t = t * t * (3 - 2 * t)
    weights = np.zeros((size, cells + 1))
    pixel, cell = np.arange(size), position.astype(int)
    weights[pixel, cell], weights[pixel, cell + 1] = 1 - t, t
    return weights


def _tinted(grey: Floats) -> NDArray[np.uint8]:
    """Map grey to blue-white tones of the same grey."""
    weights = np.array([0.299, 0.587, 0.114])
    tones = TONES @ weights / 255
    colour = np.stack([np.interp(grey, tones, TONES[:, c]) for c in range(3)], axis=-1)
    return np.asarray((colour * np.minimum(1, grey / tones[0])[..., None] + 0.5).astype(np.uint8))
