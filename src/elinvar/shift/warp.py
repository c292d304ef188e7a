"""Affine and perspective maps of images: where each pixel comes from, prepared once for all images of a size.

Affine maps are Pillow's bilinear transform: a pixel whose centre lies outside of the image is black, and at the border
the edge pixel goes on. A perspective map blends with black around the image, as OpenCV's does.

With `published`, maps are those of the libraries of 2018. The affine ones of torchvision before 0.8 have their centre
half a pixel right of and below the true one, and a shear also squeezes rows: y_in = y / cos(angle). Places of OpenCV's
perspective map are rounded to 1/32 pixel.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

Matrix = NDArray[np.float64]
STEPS = 32  # of a pixel, in which OpenCV counts places


@dataclass(frozen=True, eq=False)
class Places:
    """For each pixel of the result, numbered row by row: four pixels around its place, and how far it is inside them.

    corners  (4, h * w): upper left, upper right, lower left, lower right; h * w is black
    between  (2, h * w): from left to right and from top to bottom, 0 to 1
    """

    corners: NDArray[np.int32]
    between: Matrix


def _places(x: Matrix, y: Matrix, height: int, width: int, inside: NDArray[np.bool_], *, repeat: bool) -> Places:
    left, top = np.floor(x), np.floor(y)
    corners = []
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        within = inside & (row >= 0) & (row < height) & (column >= 0) & (column < width) if not repeat else inside
        pixel = row.clip(0, height - 1) * width + column.clip(0, width - 1)
        corners.append(np.where(within, pixel, height * width).ravel())
    return Places(np.stack(corners).astype(np.int32), np.stack([(x - left).ravel(), (y - top).ravel()]))


def affine(height: int, width: int, matrix: tuple[float, ...]) -> Places:
    """x_in = a x + b y + c, y_in = d x + e y + f of `matrix` (a, ..., f), in pixels from the upper left corner."""
    a, b, c, d, e, f = matrix
    y, x = np.mgrid[:height, :width] + 0.5
    x_in, y_in = a * x + b * y + c, d * x + e * y + f
    inside = (x_in >= 0) & (x_in < width) & (y_in >= 0) & (y_in < height)
    return _places(x_in - 0.5, y_in - 0.5, height, width, inside, repeat=True)


def about_centre(height: int, width: int, linear: tuple[float, float, float, float], published: bool) -> Places:
    """The linear map (x, y) -> (a x + b y, d x + e y) from the result to the image, about the centre of both."""
    a, b, d, e = linear
    x, y = (width + published) / 2, (height + published) / 2
    return affine(height, width, (a, b, x - a * x - b * y, d, e, y - d * x - e * y))


def moved(height: int, width: int, right: float, published: bool = False) -> Places:
    """The image moved to the right by whole pixels: of this there is one kind only."""
    del published
    return affine(height, width, (1.0, 0.0, -right, 0.0, 1.0, 0.0))


def rotated(height: int, width: int, degrees: float, published: bool = False) -> Places:
    """The image turned clockwise."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return about_centre(height, width, (cosine, sine, -sine, cosine), published)


def scaled(height: int, width: int, factor: float, published: bool = False) -> Places:
    """The image enlarged by a factor."""
    return about_centre(height, width, (1 / factor, 0.0, 0.0, 1 / factor), published)


def sheared(height: int, width: int, degrees: float, published: bool = False) -> Places:
    """Rows moved to the left in proportion to their distance below the centre: by the tangent of the angle."""
    angle = math.radians(degrees)
    return about_centre(
        height, width, (1.0, math.tan(angle), 0.0, 1 / math.cos(angle) if published else 1.0), published
    )


def tilted(height: int, width: int, degrees: float, published: bool = False) -> Places:
    """The image turned in space about its horizontal and its vertical axis, both by the same angle, seen from afar.

        M = project(f) forward(f) turn_x turn_y lift,     f = sqrt(width^2 + height^2)

    `lift` moves the centre, at (width / 2, height / 2) of pixel indices, to the origin and puts the image at depth 1,
    not 0: so an angle of 0 shrinks by f / (f + 1), as in the benchmark.
    """
    f, cosine, sine = math.hypot(width, height), math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    lift = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1], [0, 0, 1]])
    turn_x = np.array([[1, 0, 0, 0], [0, cosine, -sine, 0], [0, sine, cosine, 0], [0, 0, 0, 1]])
    turn_y = np.array([[cosine, 0, -sine, 0], [0, 1, 0, 0], [sine, 0, cosine, 0], [0, 0, 0, 1]])
    forward = np.eye(4)
    forward[2, 3] = f
    project = np.array([[f, 0, width / 2, 0], [0, f, height / 2, 0], [0, 0, 1, 0]])
    inverse = np.linalg.inv(project @ forward @ turn_x @ turn_y @ lift)
    y, x = np.mgrid[:height, :width]
    across, down, depth = (row[0] * x + row[1] * y + row[2] for row in inverse)
    x_in, y_in = across / depth, down / depth
    if published:
        x_in, y_in = np.rint(x_in * STEPS) / STEPS, np.rint(y_in * STEPS) / STEPS
    return _places(x_in, y_in, height, width, np.ones_like(x_in, bool), repeat=False)


def warp(x: Float64[Tensor, "n c h w"], corners: NDArray[np.int32], between: Matrix) -> Float64[Tensor, "n c h w"]:
    """Between four pixels linearly, first along rows: a + (b - a) t, so that equal pixels stay what they are."""
    flat = torch.nn.functional.pad(x.flatten(2), (0, 1))  # a black pixel at the end
    along, down = torch.from_numpy(between).to(x.device)
    upper_left, upper_right, lower_left, lower_right = (
        flat[..., place] for place in torch.from_numpy(corners).to(x.device).long()
    )
    upper = upper_left + (upper_right - upper_left) * along
    lower = lower_left + (lower_right - lower_left) * along
    warped: Tensor = upper + (lower - upper) * down
    return warped.view_as(x)
