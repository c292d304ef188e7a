"""Whole-batch augmentation in the workers of a `DataLoader`: forked, spawned, and the same for any number of them."""

import pickle
from collections import namedtuple
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset, default_collate

from elinvar.augment import AugMix, Collate, Compose, Flip, PadCrop, RandAugment, collate
from elinvar.check import InputError
from elinvar.rng import Seeds, Source, streams

from .conftest import photos

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

AUGMENTATION = Compose([Flip(), PadCrop(), AugMix()])
SAME = TensorDataset(photos(1, 3, 24, 24).expand(48, -1, -1, -1), torch.arange(48))  # one image, 48 times
METHODS = ["fork", "spawn"]


def loader(make: Collate, *, workers: int = 2, method: str = "fork", data: Any = SAME, **options: Any) -> Any:
    options.setdefault("batch_size", 8)
    context = method if workers else None
    return DataLoader(data, collate_fn=make, num_workers=workers, multiprocessing_context=context, **options)


def epoch(batches: Any) -> Tensor:
    return torch.cat([batch[0] for batch in batches])


@pytest.mark.parametrize("method", METHODS)
def test_no_two_draws_are_the_same_and_a_seed_fixes_all(method: str) -> None:
    """48 copies of an image through two workers and two epochs: 96 results, no two of them equal."""
    augmented = collate(AUGMENTATION)
    torch.set_num_threads(2)
    AUGMENTATION(photos(20, 3, 24, 24))  # the parent has used its threads and compiled code before it forks
    batches = loader(augmented, method=method, persistent_workers=True)
    torch.manual_seed(5)
    first, second = epoch(batches), epoch(batches)
    assert len({each.numpy().tobytes() for each in torch.cat([first, second])}) == 96
    torch.manual_seed(5)
    assert epoch(loader(augmented, method=method)).equal(first)
    torch.manual_seed(6)
    assert not epoch(loader(augmented, method=method)).equal(first)
    generator = torch.Generator().manual_seed(1)
    assert epoch(loader(augmented, generator=generator)).equal(
        epoch(loader(augmented, generator=generator.manual_seed(1)))
    )


def test_labels_stay_with_their_images() -> None:
    images = photos(48, 3, 24, 24)
    data = TensorDataset(images, torch.arange(48))
    for batch in loader(Collate(Flip(1.0)), data=data, shuffle=True):
        assert batch[0].equal(images[batch[1]].flip(-1))


def test_exact_draws_depend_on_seed_epoch_and_example_alone() -> None:
    images, index = photos(40, 3, 24, 24), torch.arange(40)
    data, seeds = TensorDataset(images, index), Seeds(3)

    def expected(number: int) -> Tensor:
        return AUGMENTATION(images, keys=streams(seeds.key(Source.AUGMENT, number), index))

    exact = collate(AUGMENTATION, index=1, seeds=seeds)
    for workers, size in ((0, 7), (1, 40), (2, 8)):
        for number in (0, 1):
            exact.set_epoch(number)
            batches = list(loader(exact, workers=workers, data=data, batch_size=size, shuffle=True))
            order = torch.cat([batch[1] for batch in batches])
            assert epoch(batches).equal(expected(number)[order])
    assert not expected(0).equal(expected(1))


@pytest.mark.parametrize("method", METHODS)
def test_workers_that_outlive_an_epoch_learn_of_the_next(method: str) -> None:
    exact = collate(Flip(), index=1, seeds=Seeds(0))
    lasting = loader(exact, method=method, persistent_workers=True)
    seen = []
    for number in (0, 1, 0, 4):
        exact.set_epoch(number)
        seen.append(epoch(lasting))
    assert seen[0].equal(seen[2])
    assert not seen[0].equal(seen[1])
    assert not seen[1].equal(seen[3])


def test_images_are_found_in_what_people_make_of_samples() -> None:
    images = photos(4, 3, 8, 8)
    flipped, flip = images.flip(-1), Flip(1.0)
    samples = [{"image": image, "label": n} for n, image in enumerate(images)]
    made = Collate(flip, images="image")(samples)
    assert made["image"].equal(flipped)
    assert made["label"].equal(torch.arange(4))
    assert Collate(flip)(list(images)).equal(flipped)
    assert Collate(flip, images=1)([(n, image) for n, image in enumerate(images)])[1].equal(flipped)
    Pair = namedtuple("Pair", ["image", "label"])
    named = Collate(flip)([Pair(image, n) for n, image in enumerate(images)])
    assert type(named) is Pair
    assert named.image.equal(flipped)
    assert Collate(flip, base=lambda samples: torch.stack(samples)[:2])(list(images)).equal(flipped[:2])
    assert samples[0]["image"] is not made["image"][0], "the samples are left alone"


def test_mistakes_are_one_clear_line() -> None:
    images = list(photos(4, 3, 8, 8))
    pairs = [(image, n) for n, image in enumerate(images)]
    with pytest.raises(InputError, match="images=2 is not a place in the batch, which is a list"):
        Collate(Flip(), images=2)(pairs)
    with pytest.raises(InputError, match="images=0 is not a place in the batch, which is a mapping of a"):
        Collate(Flip())([{"a": image} for image in images])
    with pytest.raises(InputError, match="images=1 is a tuple in the batch, expected a tensor"):
        Collate(Flip(), images=1)([(image, "name") for image in images])
    with pytest.raises(InputError, match="both index and seeds"):
        Collate(Flip(), seeds=Seeds(0))
    with pytest.raises(InputError, match="both index and seeds"):
        Collate(Flip(), index=1)
    with pytest.raises(InputError, match="set_epoch is for exact draws"):
        Collate(Flip()).set_epoch(1)
    standardized = TensorDataset(torch.randn(8, 3, 8, 8), torch.arange(8))
    with pytest.raises(InputError, match=r"values span .*expected finite values in"):
        list(loader(Collate(RandAugment()), data=standardized))


def test_a_collate_function_travels() -> None:
    exact = collate(AUGMENTATION, index=1, seeds=Seeds(2), base=default_collate)
    exact.set_epoch(3)
    again = pickle.loads(pickle.dumps(exact))
    samples = [SAME[n] for n in range(6)]
    assert again(samples)[0].equal(exact(samples)[0])
