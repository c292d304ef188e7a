"""Fourier basis images: the real image of unit norm whose spectrum is one frequency and its mirror.

    U_k(y, x) = (cos t - sin t) / sqrt(h w),    t = 2 pi (k_y y / h + k_x x / w)

A spectrum is centred: row i and column j stand for k = (i - h // 2, j - w // 2), constant images in the middle. Places
(i, j) and ((2 (h // 2) - i) mod h, (2 (w // 2) - j) mod w) mirror each other and share one image, made at the one that
comes first. h w images become (h w + 4) / 2 different ones where both sides are even; they are orthonormal.

Source   Yin et al., "A Fourier perspective on model robustness in computer vision", NeurIPS 2019; the phase is that of
         google-research, frequency_analysis/freq_heatmap.py.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from ..check import InputError

Phase = Literal["diagonal", "cosine"]
LARGEST = 64_000_000  # pixels of a whole basis: 256 MB; images of 32, 64 and 89 pixels


def fourier_basis(size: int | tuple[int, int], *, phase: Phase = "diagonal") -> Float32[Tensor, "h w h w"]:
    """All basis images of a size, h x w or square: `basis[i, j]` belongs to place (i, j) of the centred spectrum.

    phase   "diagonal": cos t - sin t, as published. "cosine": sqrt(2) cos t, another fixed choice

    Raises `InputError` for a size below 1, or so large that the basis would fill more than 256 MB: there, make some
    of the images at a time with `fourier_images`.

    >>> basis = fourier_basis(4)
    >>> basis.shape, basis[2, 2].unique().tolist(), torch.equal(basis[1, 3], basis[3, 1])
    (torch.Size([4, 4, 4, 4]), [0.25], True)
    """
    height, width = sides(size)
    if (height * width) ** 2 > LARGEST:
        raise InputError(f"size: a basis of {height}x{width} does not fit; make some images at a time: fourier_images")
    vertical = torch.arange(height) - height // 2
    horizontal = torch.arange(width) - width // 2
    return fourier_images(torch.cartesian_prod(vertical, horizontal), (height, width), phase=phase).view(
        height, width, height, width
    )


def fourier_images(
    frequencies: Int64[Tensor, "m 2"], size: int | tuple[int, int], *, phase: Phase = "diagonal"
) -> Float32[Tensor, "m h w"]:
    """The basis images of frequencies (k_y, k_x), -h // 2 <= k_y < h - h // 2 and so for k_x, on their device.

    Raises `InputError` for frequencies outside, and for an unknown phase.
    """
    height, width = sides(size)
    if phase not in ("diagonal", "cosine"):
        raise InputError(f"phase: got {phase!r}, expected 'diagonal' or 'cosine'")
    first = _first_of_pair(frequencies, height, width)
    angle = _turns(first[:, 0], height).unsqueeze(2) + _turns(first[:, 1], width).unsqueeze(1)
    own = ((2 * first) % torch.tensor([height, width], device=first.device) == 0).all(1).view(-1, 1, 1)
    if phase == "diagonal":
        # where a frequency is its own mirror, t is a multiple of pi and the sine is 0 but for rounding
        image = angle.cos() - torch.where(own, 0, angle.sin())
    else:
        image = angle.cos() * torch.where(own, 1, math.sqrt(2))
    return (image / math.sqrt(height * width)).float()


def sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width of `size`. Raises `InputError` unless they are positive integers."""
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(side, int) and side >= 1 for side in pair):
        raise InputError(f"size: got {size}, expected a side or (height, width), integers of at least 1")
    return pair


def _first_of_pair(frequencies: Tensor, height: int, width: int) -> Tensor:
    """Of each frequency and its mirror the one whose place comes first, row by row."""
    extent = torch.tensor([height, width], device=frequencies.device)
    place = frequencies + extent // 2
    if frequencies.ndim != 2 or frequencies.shape[1] != 2 or not ((place >= 0) & (place < extent)).all():
        raise InputError(f"frequencies: expected (m, 2), k_y and k_x within the spectrum of {height}x{width} images")
    mirror = (2 * (extent // 2) - place) % extent
    flat, mirrored = (both[:, 0] * width + both[:, 1] for both in (place, mirror))
    return torch.where((mirrored < flat).unsqueeze(1), mirror, place) - extent // 2


def _turns(k: Int64[Tensor, " m"], n: int) -> Float64[Tensor, "m n"]:
    """2 pi k y / n for y = 0 ... n - 1, exact before the last multiplication."""
    return (k.unsqueeze(1) * torch.arange(n, device=k.device) % n).double() * (2 * math.pi / n)
