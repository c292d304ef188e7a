"""Specs: what `load` accepts, and what it says to the rest."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from elinvar.check import InputError
from elinvar.data import DATASETS, ArraySplit, DataSet, load


@pytest.mark.parametrize("kind", DATASETS)
def test_rows_describe_themselves(kind: str) -> None:
    reader = DATASETS[kind]
    assert reader.form in (kind, f"{kind}:DIR")
    assert reader.about
    assert "\n" not in reader.about


@pytest.mark.parametrize("kind", DATASETS)
def test_a_spec_names_a_folder_exactly_where_one_is_needed(kind: str, tmp_path: Path) -> None:
    if DATASETS[kind].needs_folder:
        for spec in (kind, f"{kind}:"):
            with pytest.raises(InputError, match=f"names no folder, expected {kind}:DIR"):
                load(spec)
        with pytest.raises(InputError, match=str(tmp_path / "none")):
            load(f"{kind}:{tmp_path / 'none'}")
    else:
        with pytest.raises(InputError, match="takes no folder"):
            load(f"{kind}:{tmp_path}")


@pytest.mark.parametrize("kind", DATASETS)
def test_what_a_kind_cannot_do_is_refused(kind: str, tmp_path: Path) -> None:
    reader = DATASETS[kind]
    spec = f"{kind}:{tmp_path}" if reader.needs_folder else kind
    if not reader.sized:
        with pytest.raises(InputError, match="a size is for digits, folder:DIR"):
            load(spec, size=32)
    if not reader.downloads:
        with pytest.raises(InputError, match="has no download; those that have: cifar10:DIR, cifar100:DIR"):
            load(spec, download=True)


def test_unknown_kinds_get_suggestions() -> None:
    with pytest.raises(InputError, match="unknown data set 'cifr10': did you mean 'cifar10'"):
        load("cifr10:/data")


def test_a_folder_may_contain_colons_and_start_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=f"{tmp_path}/a:b"):
        load("folder:~/a:b")


def split(*targets: int, channels: int = 1) -> ArraySplit:
    return ArraySplit(torch.zeros(len(targets), channels, 2, 2, dtype=torch.uint8), torch.tensor(targets))


def test_parts_that_do_not_belong_together_are_refused() -> None:
    good = DataSet("x", split(0, 1), split(1), ("a", "b"), (0.5,), (0.5,))
    with pytest.raises(InputError, match=r"training images are \(1, 2, 2\), test images \(3, 2, 2\)"):
        replace(good, test=split(0, channels=3))
    with pytest.raises(InputError, match="got 2 means and 1 standard deviations"):
        replace(good, mean=(0.5, 0.5))
    with pytest.raises(InputError, match="a test target is 2, expected 0 to 1 for 2 classes"):
        replace(good, test=split(2))
    with pytest.raises(InputError, match="a training target is -1"):
        replace(good, train=split(-1))


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    images = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    with pytest.raises(InputError, match="expected int64, one for each of 2 images"):
        ArraySplit(images, torch.zeros(3, dtype=torch.int64))


def test_an_array_is_copied_to_a_device_once() -> None:
    array = split(0, 1, 2)
    first, second = (array._on(torch.device("meta")) for _ in range(2))
    assert first[0] is second[0]
    assert array._on(torch.device("cpu"))[0] is array.images
