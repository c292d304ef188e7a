"""Laws of the order in which examples come."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from elinvar.check import InputError
from elinvar.data import cut_batches, epoch_order, stratified_order
from elinvar.rng import GAMMA, MASK, Seeds, Source, mix64

small = st.integers(0, 60)


@given(n=small, seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 1000))
def test_an_order_is_a_permutation(n: int, seed: int, epoch: int) -> None:
    assert sorted(epoch_order(n, Seeds(seed), epoch).tolist()) == list(range(n))


@given(n=small, world=st.integers(1, 7), shuffle=st.booleans())
def test_ranks_share_all_examples_and_none_twice(n: int, world: int, shuffle: bool) -> None:
    parts = [epoch_order(n, Seeds(3), 1, rank=rank, world=world, shuffle=shuffle) for rank in range(world)]
    assert sorted(torch.cat(parts).tolist()) == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(n=st.integers(7, 60), world=st.integers(1, 7))
def test_even_ranks_take_equally_many_and_leave_out_the_last(n: int, world: int) -> None:
    parts = [epoch_order(n, Seeds(3), 1, rank=rank, world=world, even=True) for rank in range(world)]
    assert {len(part) for part in parts} == {n // world}
    kept = epoch_order(n, Seeds(3), 1)[: n // world * world]
    assert torch.equal(torch.stack(parts, dim=1).flatten(), kept)


@given(n=small, world=st.integers(1, 4), size=st.integers(1, 9))
def test_a_batch_of_all_ranks_is_one_large_batch(n: int, world: int, size: int) -> None:
    parts = [
        cut_batches(epoch_order(n, Seeds(5), 2, rank=rank, world=world), n, size, drop_last=True)
        for rank in range(world)
    ]
    whole = cut_batches(epoch_order(n, Seeds(5), 2), n, size * world, drop_last=True)
    for number, batch in enumerate(whole):
        assert torch.equal(torch.stack([part[number] for part in parts], dim=1).flatten(), batch)


def test_without_shuffling_examples_come_as_they_lie() -> None:
    assert torch.equal(epoch_order(9, Seeds(1), 4, shuffle=False), torch.arange(9))


def test_an_order_depends_on_the_epoch_and_the_seed_of_shuffling_alone() -> None:
    order = epoch_order(200, Seeds(1), 0)
    assert torch.equal(order, epoch_order(200, Seeds(1), 0))
    assert torch.equal(order, epoch_order(200, Seeds(9, {Source.SHUFFLE: 1}), 0))
    others: dict[str, int] = {source: 7 for source in Source if source is not Source.SHUFFLE}
    assert torch.equal(order, epoch_order(200, Seeds(1, others), 0))
    assert not torch.equal(order, epoch_order(200, Seeds(1), 1))
    assert not torch.equal(order, epoch_order(200, Seeds(1, {Source.SHUFFLE: 2}), 0))


def test_an_order_sorts_examples_by_their_streams_on_every_machine() -> None:
    key = Seeds(0).key(Source.SHUFFLE, 0)
    streams = [mix64((key + GAMMA * (example + 1)) & MASK) for example in range(10)]
    signed = [stream - (stream >> 63 << 64) for stream in streams]
    assert epoch_order(10, Seeds(0), 0).tolist() == sorted(range(10), key=signed.__getitem__)
    assert epoch_order(10, Seeds(0), 0).tolist() == [6, 0, 5, 1, 8, 3, 2, 9, 7, 4]


def test_an_order_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    epoch_order(100, Seeds(1), 0)
    assert torch.equal(before, torch.get_rng_state())


def test_every_place_is_equally_likely_for_every_example() -> None:
    # Five fits, each wrongly refused once in 5,000: a fair order fails for at most one key in a thousand.
    orders = torch.stack([epoch_order(5, Seeds(17), epoch) for epoch in range(4000)])
    for example in range(5):
        counts = (orders == example).sum(0)
        assert chisquare(counts.numpy()).pvalue > 1e-3 / 5


@pytest.mark.parametrize("sizes", [(50, 50, 50), (20, 50, 80), (1, 30), (7,)])
def test_every_prefix_holds_the_classes_in_proportion(sizes: tuple[int, ...]) -> None:
    targets = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    targets = targets[epoch_order(len(targets), Seeds(2), 0)]
    order = stratified_order(targets, 11)
    assert sorted(order.tolist()) == list(range(len(targets)))
    share = torch.tensor(sizes) / len(targets)
    for count in range(1, len(targets) + 1):
        held = targets[order[:count]].bincount(minlength=len(sizes))
        assert (held - count * share).abs().max() <= 1
    assert not torch.equal(order, stratified_order(targets, 12))


@given(n=st.integers(1, 40), size=st.integers(1, 12), drop=st.booleans(), data=st.data())
def test_batches_are_the_order_cut_and_a_start_gives_the_tail(
    n: int, size: int, drop: bool, data: st.DataObject
) -> None:
    order = epoch_order(n, Seeds(8), 0)
    whole = cut_batches(order, n, size, drop_last=drop)
    assert all(len(batch) == size for batch in whole[:-1] or whole[:0])
    kept = torch.cat([*whole, order[:0]])
    assert torch.equal(kept, order[: n // size * size] if drop else order)
    start = data.draw(st.integers(0, len(whole)))
    tail = cut_batches(order, n, size, drop_last=drop, start=start)
    assert len(tail) == len(whole) - start
    assert all(torch.equal(a, b) for a, b in zip(tail, whole[start:], strict=True))


@pytest.mark.parametrize(("rank", "world"), [(2, 2), (-1, 2), (0, 0)])
def test_ranks_outside_the_world_are_refused(rank: int, world: int) -> None:
    with pytest.raises(InputError, match=f"rank: got {rank} of {world}"):
        epoch_order(10, Seeds(), 0, rank=rank, world=world)


def test_too_few_examples_to_share_evenly_are_refused() -> None:
    with pytest.raises(InputError, match="3 examples cannot be shared evenly by 4 ranks"):
        epoch_order(3, Seeds(), 0, rank=0, world=4, even=True)


@pytest.mark.parametrize(
    ("order", "size", "start", "message"),
    [
        ([0, 5], 2, 0, "names examples 0 to 5, expected places in a split of 5"),
        ([-1, 2], 2, 0, "names examples -1 to 2"),
        ([0, 1], 0, 0, "batch_size: got 0"),
        ([0, 1], 2, 2, "start: got batch number 2, expected 0 to 1"),
        ([0, 1], 2, -1, "start: got batch number -1"),
    ],
)
def test_impossible_batches_are_refused(order: list[int], size: int, start: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        cut_batches(torch.tensor(order), 5, size, start=start)
