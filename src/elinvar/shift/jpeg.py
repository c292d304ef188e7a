"""JPEG and back without the file: all that baseline JPEG loses, in whole numbers, equal to libjpeg-turbo's pixels.

Coding the coefficients to bits is lossless, so that it can be left out. What remains is arithmetic on whole numbers:

    R, G, B -> Y, Cb, Cr      16-bit fixed point
    Cb, Cr at half size       means of 2x2, rounded by 1/4 and 1/2 in turns
    cosine transform of 8x8   two products with one matrix of whole numbers (scale 2**13), rounded to 11 and 15 bits
    c -> round(c / 8q) q      q from the standard's tables, scaled by the quality
    transform back            two products with the transposed matrix, rounded to 11 and 18 bits
    Cb, Cr at full size       weights 9, 3, 3, 1 of the four nearest, edges repeated
    Y, Cb, Cr -> R, G, B      16-bit fixed point, clipped

Each step is a sum of products below 2**53, exact in float64, so that any order of summation and any device give the
same pixels; the tests compare them with Pillow's, bit for bit.

Source  ITU-T T.81 (1992), annex K.1 (tables); Loeffler, Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms
        with 11 multiplications", ICASSP 1989 (the transform; libjpeg's "slow integer" method rounds its constants).
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from .frame import Frame

Matrix = NDArray[np.float64]

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# Y, Cb, Cr of R, G, B and back, in 2**-16
TO_YCC = np.array([[19595, 38470, 7471], [-11059, -21709, 32768], [32768, -27439, -5329]], float)
RED_OF_CR, GREEN_OF_CB, GREEN_OF_CR, BLUE_OF_CB = 91881.0, -22554.0, -46802.0, 116130.0


def quantizers(table: tuple[tuple[int, ...], ...], quality: float) -> Matrix:
    """The standard's table at a quality of 1 to 100: steps of 1 to 255 for the 8x8 coefficients."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((np.array(table, float) * scale + 50) // 100).clip(1, 255)


@lru_cache(maxsize=1)
def cosine_matrix() -> Matrix:
    """The 8-point transform in 2**-13, with the rounded constants of the algorithm put together: sqrt(8) x orthonormal.

    >>> (cosine_matrix()[1, :4] / 2**13).round(4).tolist()
    [1.3871, 1.1759, 0.7858, 0.2759]
    """
    low, high, shared = np.array([2446, 16819, 25172, 12299]), np.array([7373, 20995, 16069, 3196]), 9633
    sums, differences = np.eye(4), np.eye(4)
    # even: rows of sums s0..s3 of mirrored samples; c(6) rotation of (s0 - s3, s1 - s2)
    s0, s1, s2, s3 = sums
    even = {
        0: 8192 * (s0 + s1 + s2 + s3),
        4: 8192 * (s0 - s1 - s2 + s3),
        2: 4433 * (s0 - s3 + s1 - s2) + 6270 * (s0 - s3),
        6: 4433 * (s0 - s3 + s1 - s2) - 15137 * (s1 - s2),
    }
    # odd: t0..t3 are the differences from the inside out
    t3, t2, t1, t0 = differences
    z5 = shared * (t0 + t2 + t1 + t3)
    z3, z4 = z5 - high[2] * (t0 + t2), z5 - high[3] * (t1 + t3)
    odd = {
        7: low[0] * t0 - high[0] * (t0 + t3) + z3,
        5: low[1] * t1 - high[1] * (t1 + t2) + z4,
        3: low[2] * t2 - high[1] * (t1 + t2) + z3,
        1: low[3] * t3 - high[0] * (t0 + t3) + z4,
    }
    mirrored = [(row, 1) for row in even.items()] + [(row, -1) for row in odd.items()]
    matrix = np.zeros((8, 8))
    for (k, row), sign in mirrored:
        matrix[k] = np.concatenate([row, sign * row[::-1]])
    return matrix


@lru_cache(maxsize=32)
def plan_jpeg_compression(level: tuple[float, ...], frame: Frame) -> tuple[Matrix, Matrix, Matrix]:
    del frame
    (quality,) = level
    return cosine_matrix(), quantizers(LUMINANCE, quality), quantizers(CHROMINANCE, quality)


def jpeg_compression(
    x: Float64[Tensor, "n c h w"], matrix: Matrix, luminance: Matrix, chrominance: Matrix
) -> Float64[Tensor, "n c h w"]:
    """What is left of the image after JPEG with chroma at half size (4:2:0), or after a grey JPEG of one channel.

    Equal to Pillow (libjpeg-turbo). Float images are rounded to grey levels first.
    """
    cosine, luma, chroma = (torch.from_numpy(m).to(x.device) for m in (matrix, luminance, chrominance))
    x = (x + 0.5).floor()
    if x.shape[1] == 1:
        return _recoded(x, cosine, luma)
    ycc = torch.einsum("kc,nchw->nkhw", torch.from_numpy(TO_YCC).to(x.device), x)
    y = ((ycc[:, :1] + 32768) / 65536).floor()
    colours = ((ycc[:, 1:] + (128 << 16) + 32767) / 65536).floor()
    y, colours = (
        _recoded(y, cosine, luma),
        _enlarged(_recoded(_halved(colours), cosine, chroma), x.shape[2], x.shape[3]),
    )
    cb, cr = colours[:, :1] - 128, colours[:, 1:] - 128
    red = y + ((RED_OF_CR * cr + 32768) / 65536).floor()
    green = y + ((GREEN_OF_CB * cb + GREEN_OF_CR * cr + 32768) / 65536).floor()
    blue = y + ((BLUE_OF_CB * cb + 32768) / 65536).floor()
    return torch.cat([red, green, blue], 1).clamp(0, 255)


def _padded(x: Tensor, bottom: int, right: int) -> Tensor:
    return torch.nn.functional.pad(x, (0, right, 0, bottom), mode="replicate")


def _recoded(x: Float64[Tensor, "n c h w"], cosine: Tensor, steps: Tensor) -> Float64[Tensor, "n c h w"]:
    """Transform blocks of 8x8, round to multiples of `steps`, transform back."""
    n, c, h, w = x.shape
    x = _padded(x, -h % 8, -w % 8)
    rows, columns = x.shape[2] // 8, x.shape[3] // 8
    blocks = x.reshape(n, c, rows, 8, columns, 8).transpose(3, 4) - 128
    coefficients = ((blocks @ cosine.T + 2**10) / 2**11).floor()
    coefficients = ((cosine @ coefficients + 2**14) / 2**15).floor()
    kept = coefficients.sign() * ((coefficients.abs() + 4 * steps) / (8 * steps)).floor() * steps
    blocks = ((cosine.T @ kept + 2**10) / 2**11).floor()
    blocks = ((blocks @ cosine + 2**17) / 2**18).floor() + 128
    return blocks.clamp(0, 255).transpose(3, 4).flatten(4, 5).flatten(2, 3)[..., :h, :w]


def _halved(x: Float64[Tensor, "n c h w"]) -> Float64[Tensor, "n c h2 w2"]:
    """Means of 2x2; columns beyond the edge repeat the last one up to a whole block, before averaging."""
    h, w = x.shape[2:]
    x = _padded(x, h % 2, -w % 16)
    total = x[:, :, ::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, ::2] + x[:, :, 1::2, 1::2]
    bias = 1 + torch.arange(total.shape[3], device=x.device) % 2
    return ((total + bias) / 4).floor()


def _enlarged(x: Float64[Tensor, "n c h2 w2"], height: int, width: int) -> Float64[Tensor, "n c h w"]:
    """Each pixel becomes four, each 3/4 itself and 1/4 its neighbour in both directions; rows, then columns."""
    x = x[..., : (width + 1) // 2]
    above, below = torch.cat([x[:, :, :1], x[:, :, :-1]], 2), torch.cat([x[:, :, 1:], x[:, :, -1:]], 2)
    rows = torch.stack([3 * x + above, 3 * x + below], 3).flatten(2, 3)
    before, after = torch.cat([rows[..., :1], rows[..., :-1]], 3), torch.cat([rows[..., 1:], rows[..., -1:]], 3)
    columns = torch.stack([((3 * rows + before + 8) / 16).floor(), ((3 * rows + after + 7) / 16).floor()], 4)
    return columns.flatten(3, 4)[..., :height, :width]
