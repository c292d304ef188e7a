"""The 1,797 handwritten digits inside scikit-learn, as colour images: real data that needs no download."""

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from ..check import InputError
from ..rng import fold
from .array import ArraySplit
from .dataset import DataSet
from .order import stratified_order

SIZE = 32
TEST = 500


def _upscaled(grey: UInt8[np.ndarray, "n h w"], size: int) -> UInt8[Tensor, "n 3 {size} {size}"]:
    large = [np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)) for image in grey]
    return torch.from_numpy(np.stack(large)).unsqueeze(1).repeat(1, 3, 1, 1)


def _split(targets: Int64[Tensor, " n"]) -> tuple[Int64[Tensor, " _"], Int64[Tensor, " _"]]:
    order = stratified_order(targets, fold("digits", "test"))
    return order[TEST:].sort().values, order[:TEST].sort().values


def digits(*, size: int = SIZE) -> DataSet:
    """scikit-learn's digits: 8x8 with values 0 to 16, scaled to 0..255, enlarged to `size` x `size`, in three channels.

    1,297 training and 500 test images. The test images are the first 500 of a keyed stratified order over the file's
    own order, so the split depends on nothing but the data. Bicubic interpolation by Pillow.

    Source   Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (its test part), in scikit-learn.
    Raises `InputError` for a size below 8.
    """
    if size < 8:
        raise InputError(f"size: got {size}, expected at least 8, the size of the originals")
    from sklearn.datasets import load_digits

    found = load_digits()
    grey = np.rint(found.images * (255 / 16)).astype(np.uint8)
    images, targets = _upscaled(grey, size), torch.from_numpy(found.target).long()
    train, test = _split(targets)
    pixels = images[train].double() / 255
    return DataSet(
        name="digits",
        train=ArraySplit(images[train], targets[train]),
        test=ArraySplit(images[test], targets[test]),
        classes=tuple(str(digit) for digit in range(10)),
        mean=tuple(pixels.mean((0, 2, 3)).tolist()),
        std=tuple(pixels.std((0, 2, 3), correction=0).tolist()),
    )
