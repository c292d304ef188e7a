"""Zero-mean images, which BC+ mixes."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ..check import InputError


def zero_mean(images: Shaped[Tensor, "*n c h w"]) -> Float[Tensor, "*n c h w"]:
    """Each image without its mean over all channels and pixels, in floating point; uint8 is divided by 255 first.

    For BC+ and VH-BC+ before crops and flips, and for their networks' images at test time.

    Source   Tokozume et al., CVPR 2018, section 3.3.

    >>> zero_mean(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    tensor([[[[-0.5000,  0.5000]]]])
    """
    if images.ndim < 3 or not (images.is_floating_point() or images.dtype == torch.uint8):
        raise InputError(
            f"images: got {images.dtype} of shape {tuple(images.shape)}, "
            "expected (..., C, H, W), uint8 or floating point"
        )
    images = images / 255 if images.dtype == torch.uint8 else images
    return images - images.mean((-3, -2, -1), keepdim=True)
