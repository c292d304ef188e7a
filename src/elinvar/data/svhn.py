"""SVHN, cropped digits, from its official files.

Source   Netzer et al., "Reading digits in natural images with unsupervised feature learning", NIPS workshop 2011;
         ufldl.stanford.edu/housenumbers, format 2
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from ..check import InputError
from .array import ArraySplit
from .dataset import DataSet

COUNTS: Mapping[str, int] = MappingProxyType({"train": 73_257, "extra": 531_131, "test": 26_032})
SIDE = 32
PIECE = 10_000  # images that are counted at once


def _images(path: Path, count: int) -> tuple[UInt8[np.ndarray, "h w c n"], Int64[np.ndarray, " n"]]:
    from scipy.io import loadmat

    if not path.is_file():
        raise InputError(f"{path}: missing, expected {', '.join(f'{name}_32x32.mat' for name in COUNTS)} beside it")
    try:
        found = loadmat(path, variable_names=("X", "y"))
    except Exception as error:  # scipy raises whatever its parser stumbles over
        raise InputError(f"{path}: not a readable MATLAB file ({error}); get the official file again") from error
    pixels, numbers = found.get("X"), found.get("y")
    for name, array, shape in (("X", pixels, (SIDE, SIDE, 3, count)), ("y", numbers, (count, 1))):
        if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != np.uint8:
            came = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else "nothing"
            raise InputError(f"{path}: got {came} under {name!r}, expected uint8 of shape {shape}; get it again")
    low, high = int(numbers.min()), int(numbers.max())
    if low < 1 or high > 10:
        raise InputError(f"{path}: labels span {low} to {high}, expected 1 to 10 (the digit 0); get it again")
    return pixels, numbers[:, 0].astype(np.int64) % 10


def _split(where: Path, names: tuple[str, ...], counts: Mapping[str, int]) -> ArraySplit:
    total = sum(counts[name] for name in names)
    images = np.empty((total, 3, SIDE, SIDE), dtype=np.uint8)
    labels = np.empty(total, dtype=np.int64)
    start = 0
    for name in names:
        stop = start + counts[name]
        pixels, labels[start:stop] = _images(where / f"{name}_32x32.mat", counts[name])
        images[start:stop] = pixels.transpose(3, 2, 0, 1)
        start = stop
        del pixels  # before the next file is read
    return ArraySplit(torch.from_numpy(images), torch.from_numpy(labels))


def _constants(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, exactly, from how often each of the 256 values is there."""
    values = torch.arange(256, dtype=torch.float64) / 255
    mean, std = list[float](), list[float]()
    for channel in range(images.shape[1]):
        parts = (images[start : start + PIECE, channel].flatten() for start in range(0, len(images), PIECE))
        count = torch.stack([torch.bincount(part, minlength=256) for part in parts]).sum(0)
        share = count.double() / float(count.sum())
        mean.append(float((share * values).sum()))
        std.append(float((share * (values - mean[-1]).square()).sum().sqrt()))
    return tuple(mean), tuple(std)


def read_svhn(where: Path, *, extra: bool = True, counts: Mapping[str, int] = COUNTS) -> DataSet:
    """The set in the folder `where`, which holds `train_32x32.mat`, `test_32x32.mat` and `extra_32x32.mat`.

    extra    train on the 531,131 easier images too: 604,388 in all. They take 1.9 GB, and 3.5 GB while they are read
    counts   images in each file, which are checked

    The class of an image is its digit: the files' label 10 becomes 0. Raises `InputError` that names the file for
    whatever is missing, damaged or not as published.
    """
    train = _split(where, ("train", "extra") if extra else ("train",), counts)
    mean, std = _constants(train.images)
    test = _split(where, ("test",), counts)
    return DataSet(
        name="svhn" if extra else "svhn-core",
        train=train,
        test=test,
        classes=tuple(str(digit) for digit in range(10)),
        mean=mean,
        std=std,
    )
