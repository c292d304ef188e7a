"""What holds for every augmentation."""

import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from elinvar.augment import (
    Augmentation,
    AugMix,
    Compose,
    Cutout,
    Flip,
    GaussianNoise,
    PadCrop,
    PatchGaussian,
    PatchUniform,
    RandomChain,
    RandomErasing,
    RandomResizedCrop,
)
from elinvar.check import InputError
from elinvar.config import to_config

from .conftest import keys, photos

AUGMENTATIONS = [
    AugMix(),
    AugMix(severity=1, width=2, depth=4, alpha=0.5, ops="all"),
    RandomChain(),
    RandomChain(severity=10, depth=2, ops="all"),
    Flip(),
    Flip(p=1.0),
    PadCrop(),
    PadCrop(padding=20),
    Flip(vertical=True),
    Cutout(6, fill=(1, 2, 3)),
    RandomErasing(),
    RandomErasing(1.0, value=7),
    GaussianNoise(0.1),
    GaussianNoise(0.2, space="normalized", std=(0.2, 0.3, 0.25)),
    PatchGaussian(5, random_size=True, random_sigma=True),
    PatchUniform(5),
    RandomResizedCrop((10, 12)),
    Compose((Flip(), PadCrop(padding=2), AugMix())),
    Compose((RandomChain(), Compose((Flip(), Flip())))),
    Compose(()),
]
every = pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=repr)


@every
def test_examples_are_on_their_own(augmentation: Augmentation) -> None:
    images, drawn = photos(140, 3, 18, 22), keys(140)
    whole = augmentation(images, keys=drawn)
    assert augmentation(images, keys=drawn).equal(whole)
    assert torch.cat([augmentation(images[n : n + 1], keys=drawn[n : n + 1]) for n in range(10)]).equal(whole[:10])
    order = torch.randperm(140, generator=torch.Generator().manual_seed(0))
    assert augmentation(images[order], keys=drawn[order]).equal(whole[order])
    torch.set_num_threads(2)
    assert augmentation(images, keys=drawn).equal(whole)


@every
def test_shapes_stay_and_values_stay_in_range(augmentation: Augmentation) -> None:
    for shape in ((0, 3, 8, 8), (1, 3, 8, 8), (3, 1, 5, 9), (2, 3, 1, 1)):
        for dtype in (torch.uint8, torch.float32, torch.float64, torch.bfloat16):
            images = photos(*shape) if shape[0] else torch.zeros(shape, dtype=torch.uint8)
            images = images if dtype == torch.uint8 else (images.double() / 255).to(dtype)
            before = images.clone()
            made = augmentation(images)
            sides = augmentation.sides if isinstance(augmentation, RandomResizedCrop) else shape[2:]
            assert made.shape == (*shape[:2], *sides)
            assert made.dtype == (torch.float32 if "AugMix" in repr(augmentation) else dtype)
            assert made.is_contiguous()
            assert images.equal(before)
            if made.is_floating_point() and made.numel():
                assert 0 <= float(made.min()) <= float(made.max()) <= 1


@every
def test_without_keys_torch_fixes_them(augmentation: Augmentation) -> None:
    images = photos(40, 3, 12, 12)
    torch.manual_seed(7)
    one, two = augmentation(images), augmentation(images)
    torch.manual_seed(7)
    assert augmentation(images).equal(one)
    assert one.equal(two) == (augmentation in (Flip(p=1.0), Compose(())))


@every
def test_settings_travel(augmentation: Augmentation) -> None:
    assert pickle.loads(pickle.dumps(augmentation)) == augmentation
    assert hash(augmentation) == hash(pickle.loads(pickle.dumps(augmentation)))
    with pytest.raises(AttributeError):
        augmentation.anything = 1  # type: ignore[attr-defined]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--augmentation", type=Augmentation)
    text = yaml.safe_dump({"augmentation": to_config(augmentation)})
    again = parser.instantiate(parser.parse_object(yaml.safe_load(text)))
    assert again.augmentation == augmentation


@every
def test_bad_input_is_refused(augmentation: Augmentation) -> None:
    images = photos(4, 3, 8, 8)
    with pytest.raises(InputError, match="values span"):
        augmentation(images.float())
    with pytest.raises(InputError, match="for 4 images, expected one int64 stream for each"):
        unchecked(augmentation, images, keys(3))
    with pytest.raises(InputError, match="expected one int64 stream for each"):
        unchecked(augmentation, images, keys(4).float())


def unchecked(augmentation: Augmentation, images: Tensor, drawn: Tensor) -> Tensor:
    """A call that the tests' own checker of shapes does not see."""
    call: Any = type(augmentation).__call__
    return call.__wrapped__(augmentation, images, keys=drawn)  # type: ignore[no-any-return]


def test_parts_of_a_composition_draw_independently() -> None:
    images = torch.arange(8, dtype=torch.uint8).view(1, 1, 2, 4).expand(2000, -1, -1, -1)
    flipped = [Flip()(images, keys=keys(2000)), Compose((Flip(p=0.0), Flip()))(images, keys=keys(2000))]
    moved = [(made != images).flatten(1).any(1) for made in flipped]
    both = int((moved[0] & moved[1]).sum())
    assert 400 < both < 600  # 2000 / 4 with a standard deviation of 19
    twice = (Compose((Flip(), Flip()))(images, keys=keys(2000)) != images).flatten(1).any(1)
    assert 880 < int(twice.sum()) < 1120  # 2000 / 2, sd 22: equal draws would give 0


class Augmented(Dataset[Tensor]):
    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        one = slice(index, index + 1)
        return Compose((Flip(), AugMix()))(self.images[one], keys=keys(len(self))[one])[0]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_workers_give_the_same_images() -> None:
    """The parent has used its threads and compiled code when the workers are forked from it."""
    images = photos(70, 3, 64, 64)
    torch.set_num_threads(2)
    expected = Compose((Flip(), AugMix()))(images, keys=keys(70))
    loader = DataLoader(Augmented(images), batch_size=16, num_workers=2, multiprocessing_context="fork")
    assert torch.cat(list(loader)).equal(expected)


def test_importing_does_not_import_numba() -> None:
    code = (
        "import elinvar.augment, sys; elinvar.augment.AugMix(); print('numba' in sys.modules, 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
