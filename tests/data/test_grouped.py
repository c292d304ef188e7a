"""Batches of few classes: what they hold, and how it is distributed."""

import math

import pytest
import torch
from torch import Tensor

from elinvar.check import InputError
from elinvar.data import ArraySplit, grouped_order

TARGETS = torch.arange(100).repeat_interleave(40)[torch.randperm(4_000, generator=torch.Generator().manual_seed(0))]


def drawn(**settings: object) -> Tensor:
    """Targets of batches of 4 classes, 32 examples of each."""
    order = grouped_order(TARGETS, 5, **{"batches": 2_000, "classes": 4, "each": 32, **settings})  # type: ignore[arg-type]
    return TARGETS[order].view(-1, 128)


def test_a_batch_holds_so_many_examples_of_so_many_classes() -> None:
    for batch in drawn(batches=50):
        counts = batch.bincount()
        assert (counts % 32 == 0).all()
        assert counts.sum() == 128


def test_classes_are_drawn_uniformly_and_with_replacement() -> None:
    """4 of 100 differ with probability .99 * .98 * .97; 4 standard errors, wrong once in 16,000 keys."""
    batches = drawn()
    different = torch.tensor([len(torch.unique(batch)) == 4 for batch in batches]).double().mean().item()
    expected = 0.99 * 0.98 * 0.97
    assert abs(different - expected) < 4 * math.sqrt(expected * (1 - expected) / len(batches))
    # Chi-square of 100 classes has mean 99 and standard deviation 14; below 160 but once in 10,000 keys.
    counts = batches.flatten().bincount(minlength=100).double() / 32
    assert ((counts - counts.mean()).square() / counts.mean()).sum() < 160


def test_classes_of_a_batch_can_be_distinct() -> None:
    assert all(len(torch.unique(batch)) == 16 for batch in TARGETS[_order(classes=16, each=2)].view(-1, 32))


def _order(**settings: object) -> Tensor:
    given = {"batches": 200, "repeat_classes": False, **settings}
    return grouped_order(TARGETS, 5, **given)  # type: ignore[arg-type]


def test_examples_of_a_draw_are_distinct_unless_they_may_repeat() -> None:
    """Uniform over a class: each example is taken 200 * 4 * 32 / 4000 = 6.4 times; chi-square as above, 3,999 degrees
    of freedom (standard deviation 89); sampling without replacement makes it smaller."""
    order = _order(classes=4, each=32)
    assert all(len(torch.unique(batch)) == 128 for batch in order.view(-1, 128))
    counts = order.bincount(minlength=4_000).double()
    assert ((counts - 6.4).square() / 6.4).sum() < 4_400
    assert any(
        len(torch.unique(batch)) < 128 for batch in _order(classes=4, each=32, repeat_examples=True).view(-1, 128)
    )


def test_order_inside_a_batch() -> None:
    """Shuffled, the first half of a batch holds each class as often as the second: 2,000 batches, 4 standard errors."""
    by_class = drawn(batches=20, inside="by class").view(-1, 4, 32)
    assert (by_class == by_class[..., :1]).all()
    mixed = drawn(repeat_classes=False)
    first = mixed[:, :1] == mixed
    share = first[:, 1:64].double().mean().item()  # 31 others of the first one's class among 127
    assert abs(share - 31 / 127) < 4 * math.sqrt(0.25 * 0.75 / (2_000 * 63 / 4))


def test_a_pure_function_of_its_key() -> None:
    settings = {"batches": 3, "classes": 4, "each": 8}
    orders = [grouped_order(TARGETS, key, **settings) for key in (1, 1, 2)]  # type: ignore[arg-type]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    longer = grouped_order(TARGETS, 1, batches=5, classes=4, each=8)
    assert torch.equal(longer[:96], orders[0])


def test_an_order_is_what_a_split_takes() -> None:
    split = ArraySplit(torch.zeros(4_000, 1, 2, 2, dtype=torch.uint8), TARGETS)
    batches = list(split.batches(grouped_order(TARGETS, 1, batches=3, classes=2, each=5), 10))
    assert [len(batch) for batch in batches] == [10, 10, 10]
    assert all(len(torch.unique(batch.targets)) <= 2 for batch in batches)


def test_refusals() -> None:
    with pytest.raises(InputError, match="classes: got 101, the targets hold 100"):
        grouped_order(TARGETS, 1, batches=1, classes=101, each=1, repeat_classes=False)
    with pytest.raises(InputError, match="each: got 41, the smallest class has 40"):
        grouped_order(TARGETS, 1, batches=1, classes=4, each=41)
    with pytest.raises(InputError, match="expected at least 1"):
        grouped_order(TARGETS, 1, batches=1, classes=0, each=1)
    with pytest.raises(InputError, match="the targets hold 0"):
        grouped_order(TARGETS[:0], 1, batches=1, classes=1, each=1)
