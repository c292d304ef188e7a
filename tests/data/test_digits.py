"""The digits are scikit-learn's, and their split never changes."""

from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from elinvar.check import InputError
from elinvar.data import load
from elinvar.data.array import ArraySplit


def rows(images: np.ndarray, targets: np.ndarray) -> Counter[bytes]:
    return Counter(image.tobytes() + bytes([target]) for image, target in zip(images, targets, strict=True))


def test_both_splits_together_are_the_original_images() -> None:
    data = load("digits", size=8)
    ours: Counter[bytes] = Counter()
    for split in (data.train, data.test):
        assert isinstance(split, ArraySplit)
        assert torch.equal(split.images[:, 0], split.images[:, 1])
        assert torch.equal(split.images[:, 0], split.images[:, 2])
        ours += rows(split.images[:, 0].numpy(), split.targets.numpy())
    raw = load_digits()
    assert ours == rows(np.rint(raw.images / 16 * 255).astype(np.uint8), raw.target)


def test_enlarged_images_reduce_to_the_originals() -> None:
    large, small = load("digits").test, load("digits", size=8).test
    assert isinstance(large, ArraySplit)
    assert isinstance(small, ArraySplit)
    means = large.images.double().view(-1, 3, 8, 4, 8, 4).mean((3, 5))
    together = torch.stack([means.flatten(), small.images.double().flatten()])
    assert torch.corrcoef(together)[0, 1] > 0.98


def test_the_split_is_fixed_and_stratified() -> None:
    data = load("digits")
    assert (len(data.train), len(data.test)) == (1297, 500)
    whole = torch.cat([data.train.targets, data.test.targets]).bincount()
    assert (data.test.targets.bincount() - whole * (500 / 1797)).abs().max() <= 1
    assert load("digits", size=8).fingerprint() == "363b644828d392ba3750287142fef0d51fd4c0089dc9c37d86165126225927ca"
    assert data.fingerprint() == "14a3f8b6de122f8df6b699a17c06a19b2863195a7ee0722885fc8b300b8509df"


def test_constants_are_those_of_the_training_images() -> None:
    data = load("digits")
    assert isinstance(data.train, ArraySplit)
    pixels = data.train.images.numpy() / 255
    assert data.mean == pytest.approx(pixels.mean((0, 2, 3)), abs=1e-12)
    assert data.std == pytest.approx(pixels.std((0, 2, 3)), abs=1e-12)


def test_smaller_than_the_originals_is_refused() -> None:
    with pytest.raises(InputError, match="size: got 7, expected at least 8"):
        load("digits", size=7)
