"""Spatter: drops of water, lit from the side, or specks of mud on the lens. What is prepared, and the tensor back end.

The look of the drops comes from a chain of filters with rounding in between, so it is defined by that chain: edges of
the drops by Canny's method, distance from the edges in steps of a 5x5 neighbourhood, histogram equalization, and a
filter of emboss. All in whole numbers, equal to OpenCV's own code; with Intel's library, which some of its builds call,
distances are sums in float32, and a few levels differ by one.

Source  Canny, "A computational approach to edge detection", IEEE PAMI 1986; Borgefors, "Distance transformations in
        digital images", 1986 (steps of 1, 1.4 and 2.1969).
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from .borders import replicated
from .draws import normal
from .frame import Frame
from .sampling import Indices, Weights, gaussian_taps, smooth

GREY = np.array([0.299, 0.587, 0.114])
WATER, MUD = np.array([175.0, 238.0, 238.0]), np.array([63.0, 42.0, 20.0])
LOW, HIGH = 50, 150  # of the sum of absolute slopes
TANGENT = 13573  # tan(22.5 degrees) in 2**-15
ONE, DIAGONAL, LONG = 65536, 91750, 143976  # steps of 1, 1.4 and 2.1969 in 2**-16
REACH = 20  # largest distance
STEPS = [
    (dy, dx, ONE if dy == 0 or dx == 0 else DIAGONAL if abs(dy) == abs(dx) else LONG)
    for dy in range(-2, 3)
    for dx in range(-2, 3)
    if (abs(dy), abs(dx)) in ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1))
]

STILL = ((1.0,), 0)  # drops that do not run

Fall = tuple[tuple[float, ...], int]  # what a column is convolved with, and how many rows it first moves up
Plan = tuple[
    float,
    float,
    Weights,
    Indices,
    Indices,
    float,
    Weights,
    int,
    int,
    float,
    bool,
    Weights,
    Indices,
    Indices,
    Weights,
    bool,
]


@lru_cache(maxsize=32)
def plan_spatter(level: tuple[float, ...], frame: Frame, fall: Fall = STILL, falls: int = 0) -> Plan:
    """The layer runs down `falls` times by `fall` before it is shown: not in the corruption."""
    mean, std, sigma, cut, strength, mud = level
    taps, mud_taps = gaussian_taps(sigma, 4.0), gaussian_taps(strength, 4.0)
    rows, columns = replicated(frame.height, len(taps) - 1), replicated(frame.width, len(taps) - 1)
    mud_rows, mud_columns = (replicated(side, len(mud_taps) - 1) for side in (frame.height, frame.width))
    colour = MUD if mud else WATER
    shown = colour if frame.channels == 3 else np.array([GREY @ colour])
    layer = mean, std, taps, rows, columns, cut, np.array(fall[0]), fall[1], falls
    return *layer, strength, bool(mud), mud_taps, mud_rows, mud_columns, shown, frame.published


def spatter(
    x: Float64[Tensor, "n c h w"],
    streams: Int64[Tensor, " n"],
    mean: float,
    std: float,
    taps: Weights,
    rows: Indices,
    columns: Indices,
    cut: float,
    fall: Weights,
    above: int,
    falls: int,
    strength: float,
    mud: bool,
    mud_taps: Weights,
    mud_rows: Indices,
    mud_columns: Indices,
    colour: Weights,
    published: bool,
) -> Float64[Tensor, "n c h w"]:
    """L = Gaussian filter of N(mean, std), 0 where it is below `cut`; then water or mud where L is left.

        water   D = relief(drops), drops = floor(255 L);   x + strength D drops / max(D drops) colour
        mud     m = Gaussian filter of 1[L > cut], sigma `strength`, 0 where it is below .8;   x (1 - m) + m colour

    Images of one channel get the grey of the colour. Draws: the field is normal draws from 0, row by row.
    Differs  Layers above white stay white, and an image without light on its drops stays as it is. In the generator
             layers above white wrap around to black (one pixel in 13 of 100 images of 32 pixels at severity 3, at
             others never), and an image without light becomes black, as 0 is divided by 0. `published` does the same
    """
    n, _, height, width = x.shape
    field = normal(streams, height * width).view(n, height, width) * std + mean
    layer = smooth(field, taps, rows, columns)
    layer = torch.where(layer < cut, 0.0, layer)
    for _ in range(falls):
        layer = run_down(layer, fall, above)
    if mud:
        return muddy(x, layer, cut, mud_taps, mud_rows, mud_columns, colour)
    return wet(x, layer, strength, colour, published)


def run_down(layer: Float64[Tensor, "n h w"], fall: Weights, above: int) -> Float64[Tensor, "n h w"]:
    """Each column convolved with `fall`, beginning `above` rows into the full convolution; nothing beyond the image."""
    height, size = layer.shape[1], len(fall)
    padded = pad(layer, (0, 0, size, size))
    total = torch.zeros_like(layer)
    for k, weight in enumerate(fall.tolist()):
        total = total + padded[:, size + above - k :][:, :height] * weight
    return total


def wet(
    x: Float64[Tensor, "n c h w"],
    layer: Float64[Tensor, "n h w"],
    strength: float,
    colour: Weights,
    published: bool = False,
) -> Float64[Tensor, "n c h w"]:
    """Images behind drops of water, where `layer` is not 0."""
    drops = (layer * 255).long() & 255 if published else (layer.clamp(0, 1) * 255).long()
    lit = (relief(drops) * drops).to(x.dtype)
    largest = lit.amax((1, 2), keepdim=True)
    if published:
        x = torch.where(largest[:, None] > 0, x, 0.0)
    share = strength / largest.clamp(min=1)
    return x + (lit * share)[:, None] * torch.from_numpy(colour).to(x.device).view(1, -1, 1, 1)


def muddy(
    x: Float64[Tensor, "n c h w"],
    layer: Float64[Tensor, "n h w"],
    cut: float,
    taps: Weights,
    rows: Indices,
    columns: Indices,
    colour: Weights,
) -> Float64[Tensor, "n c h w"]:
    """Images behind specks of mud."""
    m = smooth((layer > cut).to(x.dtype), taps, rows, columns)
    m = torch.where(m < 0.8, 0.0, m)[:, None]
    return x * (1 - m) + m * torch.from_numpy(colour).to(x.device).view(1, -1, 1, 1)


def relief(drops: Int64[Tensor, "n h w"]) -> Int64[Tensor, "n h w"]:
    """Light on drops, 0 to 255: the distance from the drops' edges, smoothed, equalized, seen from the lower right."""
    far = _framed(distance(canny(drops)), "reflect")
    smoothed = (_nine(far).double() / ONE * (1 / 9)).float().long()
    level = _framed(equalize(smoothed), "reflect")
    weights = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))
    lit = sum(w * _at(level, y, x) for y, row in enumerate(weights) for x, w in enumerate(row) if w)
    assert isinstance(lit, Tensor)
    return (2 * _nine(_framed(lit.clamp(0, 255), "reflect")) + 9) // 18


def _framed(x: Int64[Tensor, "n h w"], mode: str) -> Int64[Tensor, "n h2 w2"]:
    return pad(x.double(), (1, 1, 1, 1), mode=mode).long()


def _at(padded: Tensor, y: int, x: int) -> Tensor:
    """The image moved by (y - 1, x - 1), of one that has a border of one pixel."""
    return padded[:, y : y + padded.shape[1] - 2, x : x + padded.shape[2] - 2]


def _nine(padded: Tensor) -> Tensor:
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]


def canny(levels: Int64[Tensor, "n h w"]) -> Int64[Tensor, "n h w"]:
    """1 on edges: ridges of |dx| + |dy| above 50 that hang together with one above 150. Slopes by Sobel's filter."""
    p = _framed(levels, "replicate")
    above, below = (_at(p, y, 0) + 2 * _at(p, y, 1) + _at(p, y, 2) for y in (0, 2))
    left, right = (_at(p, 0, x) + 2 * _at(p, 1, x) + _at(p, 2, x) for x in (0, 2))
    dx, dy = right - left, below - above
    magnitude = dx.abs() + dy.abs()
    m = pad(magnitude, (1, 1, 1, 1))
    flat = dx.abs() * TANGENT
    steep = flat + (dx.abs() << 16)
    down = dy.abs() << 15
    here = magnitude
    horizontal = (here > _at(m, 1, 0)) & (here >= _at(m, 1, 2))
    vertical = (here > _at(m, 0, 1)) & (here >= _at(m, 2, 1))
    falling = (here > _at(m, 0, 0)) & (here > _at(m, 2, 2))
    rising = (here > _at(m, 0, 2)) & (here > _at(m, 2, 0))
    oblique = torch.where((dx ^ dy) < 0, rising, falling)
    ridge = torch.where(down < flat, horizontal, torch.where(down > steep, vertical, oblique)) & (here > LOW)
    edges, before = ridge & (here > HIGH), -1
    while (count := int(edges.sum())) != before:
        before = count
        edges = ridge & (max_pool2d(edges.double(), 3, 1, 1) > 0)
    return edges.long()


def distance(edges: Int64[Tensor, "n h w"]) -> Int64[Tensor, "n h w"]:
    """Length of the shortest way to an edge, in 2**-16 of a pixel, at most 20 pixels."""
    height, width = edges.shape[1:]
    far = (1 - edges) * (REACH * ONE)
    for _ in range(REACH):  # each step is at least one pixel long
        wide = pad(far, (2, 2, 2, 2), value=REACH * ONE)
        for dy, dx, length in STEPS:
            far = torch.minimum(far, wide[:, 2 + dy : 2 + dy + height, 2 + dx : 2 + dx + width] + length)
    return far


def equalize(levels: Int64[Tensor, "n h w"]) -> Int64[Tensor, "n h w"]:
    """Spread levels by their distribution function over 0 to 255; an image of one level stays."""
    n, pixels = len(levels), levels[0].numel()
    flat = levels.flatten(1)
    number = torch.arange(n, device=levels.device)[:, None] * 256
    counts = torch.bincount((flat + number).flatten(), minlength=256 * n).view(n, 256)
    first = counts.gather(1, flat.amin(1, keepdim=True))
    rest = pixels - first
    scale = torch.tensor(255.0, device=levels.device) / rest.float()
    table = ((counts.cumsum(1) - first).clamp(min=0).float() * scale).round().nan_to_num(0, 0).long()
    return torch.where(rest == 0, flat, table.gather(1, flat)).view_as(levels)
