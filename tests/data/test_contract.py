"""What every kind of data must do; a new row of the table inherits these tests."""

import re
from collections.abc import Callable, Iterator

import pytest
import torch

from elinvar.check import InputError
from elinvar.data import DATASETS, DataSet, Split, epoch_order, load, subset
from elinvar.rng import Seeds
from elinvar.views import Batch

Make = Callable[[str], str]


@pytest.fixture(params=DATASETS)
def data(request: pytest.FixtureRequest, spec_of: Make) -> DataSet:
    kind = request.param
    return load(spec_of(kind), size=16 if DATASETS[kind].sized else None)


def equal(a: Batch, b: Batch) -> bool:
    return torch.equal(a.images, b.images) and torch.equal(a.targets, b.targets) and torch.equal(a.index, b.index)


def all_equal(a: Iterator[Batch], b: Iterator[Batch]) -> bool:
    return all(equal(one, other) for one, other in zip(a, b, strict=True))


def splits(data: DataSet) -> tuple[Split, Split]:
    return data.train, data.test


def test_splits_are_splits_of_the_classes(data: DataSet) -> None:
    for split in splits(data):
        assert isinstance(split, Split)
        assert split.targets.shape == (len(split),)
        assert 0 <= split.targets.min() <= split.targets.max() < len(data.classes)
    assert len(set(data.classes)) == len(data.classes)
    assert all(0 < value < 1 for value in (*data.mean, *data.std))


def test_batches_hold_what_the_order_says(data: DataSet) -> None:
    for split in splits(data):
        order = epoch_order(len(split), Seeds(4), 0)[:50]
        found = list(split.batches(order, 8, workers=0))
        assert torch.equal(torch.cat([batch.index for batch in found]), order)
        assert torch.equal(torch.cat([batch.targets for batch in found]), split.targets[order])
        assert {batch.images.dtype for batch in found} == {torch.uint8}
        assert {batch.images.shape[1:] for batch in found} == {split.shape}
        alone = {place: next(split.batches(torch.tensor([place]), 1, workers=0)) for place in order[:3].tolist()}
        for row, place in enumerate(order[:3].tolist()):
            assert torch.equal(alone[place].images[0], found[0].images[row])


def test_a_resumed_epoch_is_the_tail_of_the_whole_one(data: DataSet) -> None:
    order = epoch_order(len(data.train), Seeds(4), 0)
    whole = list(data.train.batches(order, 4, drop_last=True, workers=0, key=3))
    assert len(whole) == len(order) // 4
    assert all_equal(iter(whole[2:]), data.train.batches(order, 4, drop_last=True, start=2, workers=0, key=3))
    assert list(data.train.batches(order, 4, drop_last=True, start=len(whole), workers=0)) == []


def test_reading_leaves_the_global_generator_alone(data: DataSet) -> None:
    before = torch.get_rng_state()
    list(data.train.batches(torch.arange(5), 2, workers=0, key=1))
    assert torch.equal(before, torch.get_rng_state())


def test_batches_go_to_the_device(data: DataSet) -> None:
    batch = next(data.train.batches(torch.arange(3), 3, device="meta", workers=0))
    assert {batch.images.device.type, batch.targets.device.type, batch.index.device.type} == {"meta"}


def test_impossible_orders_are_refused_before_the_first_batch(data: DataSet) -> None:
    with pytest.raises(InputError, match="expected places in a split"):
        data.train.batches(torch.tensor([len(data.train)]), 2)


def test_taking_examples_makes_a_split_of_them(data: DataSet) -> None:
    index = torch.tensor([4, 0, 2])
    part = data.train.take(index)
    assert len(part) == 3
    mine, theirs = (next(split.batches(o, 3, workers=0)) for split, o in ((part, torch.arange(3)), (data.train, index)))
    assert torch.equal(mine.images, theirs.images)
    assert torch.equal(mine.targets, theirs.targets)
    assert torch.equal(mine.index, torch.arange(3))


def test_fingerprints_tell_contents_apart(data: DataSet, request: pytest.FixtureRequest) -> None:
    prints = [data.train.fingerprint(), data.test.fingerprint(), data.train.take(torch.arange(3)).fingerprint()]
    assert len({*prints, data.fingerprint()}) == 4
    assert all(re.fullmatch("[0-9a-f]{64}", text) for text in prints)
    assert data.train.take(torch.arange(len(data.train))).fingerprint() == prints[0]
    spec = request.getfixturevalue("spec_of")
    again = load(spec(request.node.callspec.params["data"]), size=16 if data.name in {"digits", "pictures"} else None)
    assert again.fingerprint() == data.fingerprint()


def test_subsets_are_nested_and_stratified(data: DataSet) -> None:
    large, small = subset(data, train=12, test=4), subset(data, train=6)
    assert (len(large.train), len(large.test)) == (12, 4)
    assert (len(small.train), len(small.test)) == (6, len(data.test))
    a, b = (next(split.batches(torch.arange(6), 6, workers=0)) for split in (large.train, small.train))
    assert equal(a, b)
    assert large.train.targets.bincount().max() <= -(-12 // len(data.classes)) + 1


@pytest.mark.parametrize("count", [0, -1, 10**6])
def test_impossible_subsets_are_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"train: got {count} examples, expected 1 to 1297"):
        subset(load("digits", size=8), train=count)
