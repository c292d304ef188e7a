"""SVHN's files: what is read of them, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from elinvar.check import InputError
from elinvar.data.svhn import COUNTS, read_svhn

from .conftest import svhn_files

FEW = {"train": 12, "extra": 7, "test": 5}


def test_pixels_and_digits(tmp_path: Path) -> None:
    made = svhn_files(tmp_path, FEW)
    found = read_svhn(tmp_path, counts=FEW)
    assert (len(found.train), len(found.test), found.train.shape) == (19, 5, (3, 32, 32))
    images = next(iter(found.train.batches(torch.arange(19), 19))).images.numpy()
    for place, (name, row) in ((3, ("train", 3)), (12, ("extra", 0)), (18, ("extra", 6))):
        assert (images[place].transpose(1, 2, 0) == made[name]["X"][..., row]).all()
    assert found.train.targets[:12].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
    np.testing.assert_allclose(found.mean, (images / 255).mean((0, 2, 3)), rtol=1e-9)
    np.testing.assert_allclose(found.std, (images / 255).std((0, 2, 3)), rtol=1e-9)


def test_the_core_needs_no_extra(tmp_path: Path) -> None:
    svhn_files(tmp_path, FEW)
    (tmp_path / "extra_32x32.mat").unlink()
    assert len(read_svhn(tmp_path, extra=False, counts=FEW).train) == 12
    with pytest.raises(InputError, match=r"extra_32x32.mat: missing"):
        read_svhn(tmp_path, counts=FEW)


def test_files_that_are_not_as_published_are_refused(tmp_path: Path) -> None:
    made = svhn_files(tmp_path, FEW)
    path = tmp_path / "train_32x32.mat"
    with pytest.raises(InputError, match=r"of shape \(32, 32, 3, 12\) under 'X', expected uint8 .*73257"):
        read_svhn(tmp_path, counts=COUNTS)
    savemat(path, {**made["train"], "X": made["train"]["X"] / 255})
    with pytest.raises(InputError, match="got float64"):
        read_svhn(tmp_path, counts=FEW)
    savemat(path, {**made["train"], "y": made["train"]["y"] - 1})
    with pytest.raises(InputError, match="labels span 0 to 9"):
        read_svhn(tmp_path, counts=FEW)
    savemat(path, {"X": made["train"]["X"]})
    with pytest.raises(InputError, match="got nothing under 'y'"):
        read_svhn(tmp_path, counts=FEW)
    whole = (tmp_path / "test_32x32.mat").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"no such thing"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="not a readable MATLAB file"):
            read_svhn(tmp_path, counts=FEW)
