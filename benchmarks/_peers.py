"""Other people's AugMix, for benchmarks: each takes one image and gives one, as those libraries do.

The reference here is written anew, with the structure of the authors' published code: every operation is a call of
Pillow on one image, every chain is normalized and mixed in numpy.
"""

from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

# An image of shape (H, W, 3), uint8, to whatever the peer makes of it.
Peer = Callable[[NDArray[np.uint8]], object]

MEAN, SD = np.float32([0.4914, 0.4822, 0.4465]), np.float32([0.2470, 0.2435, 0.2616])


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _signed(value: float) -> float:
    return value if np.random.uniform() > 0.5 else -value  # noqa: NPY002


# Operations of a level u in (0.1, severity).
REFERENCE: tuple[Callable[[Image.Image, float], Image.Image], ...] = (
    lambda image, _: ImageOps.autocontrast(image),
    lambda image, _: ImageOps.equalize(image),
    lambda image, u: ImageOps.posterize(image, 4 - int(u * 0.4)),
    lambda image, u: image.rotate(_signed(int(u * 3)), Image.Resampling.BILINEAR),
    lambda image, u: ImageOps.solarize(image, 256 - int(u * 25.6)),
    lambda image, u: _affine(image, 1, _signed(u * 0.03), 0, 0, 1, 0),
    lambda image, u: _affine(image, 1, 0, 0, _signed(u * 0.03), 1, 0),
    lambda image, u: _affine(image, 1, 0, _signed(int(u * image.width / 30)), 0, 1, 0),
    lambda image, u: _affine(image, 1, 0, 0, 0, 1, _signed(int(u * image.width / 30))),
)


def _normalized(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    standard: NDArray[np.float32] = (image.astype(np.float32) / 255 - MEAN) / SD
    return standard


def reference(image: NDArray[np.uint8], severity: float = 3.0, width: int = 3) -> NDArray[np.float32]:
    """AugMix as the authors' code goes about it: image by image, numpy and Pillow, the global generator."""
    draw = np.random  # as there
    weights, m = draw.dirichlet([1.0] * width), draw.beta(1.0, 1.0)
    mixed = np.zeros(image.shape, np.float32)
    for weight in weights:
        chain = Image.fromarray(image)
        for _ in range(draw.randint(1, 4)):
            chain = REFERENCE[draw.randint(len(REFERENCE))](chain, draw.uniform(0.1, severity))
        mixed += np.float32(weight) * _normalized(np.asarray(chain))
    return np.float32(1 - m) * _normalized(image) + np.float32(m) * mixed


def torchvision_augmix() -> tuple[str, Peer] | None:
    """torchvision's transform on a tensor of one image; None if it is not installed."""
    try:
        # A wheel of torchvision that was built for another device has no operators of its own, and asks for two.
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:
        pass  # it has them
    try:
        from torchvision.transforms.v2 import AugMix, InterpolationMode
    except ImportError:
        return None
    transform = AugMix(3, 3, -1, 1.0, all_ops=False, interpolation=InterpolationMode.BILINEAR)
    return f"torchvision {version('torchvision')} v2.AugMix, tensor", lambda image: transform(
        torch.from_numpy(image).permute(2, 0, 1).contiguous()
    )


def timm_augmix() -> tuple[str, Peer] | None:
    """timm's faster variant, which blends into the image after each chain; None if it is not installed."""
    torchvision_augmix()  # timm imports torchvision
    try:
        from timm.data.auto_augment import augment_and_mix_transform
    except ImportError:
        return None
    transform = augment_and_mix_transform("augmix-m3-w3-b1", {})
    return f"timm {version('timm')} AugMixAugment, blended", lambda image: np.array(transform(Image.fromarray(image)))
