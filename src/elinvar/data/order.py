"""In which order examples come: keyed permutations, shared between ranks, cut into batches."""

import torch
from jaxtyping import Int64
from torch import Tensor

from .. import rng
from ..check import InputError


def epoch_order(
    n: int,
    seeds: rng.Seeds,
    epoch: int,
    *,
    rank: int = 0,
    world: int = 1,
    shuffle: bool = True,
    even: bool = False,
) -> Int64[Tensor, " m"]:
    """The part of rank `rank` in an epoch over `n` examples: places rank, rank + world, ... of one permutation.

        permutation = argsort_i stream_i(key),   key = seeds.key(SHUFFLE, epoch)

    Streams are distinct, so the permutation is the same on every machine and with every version of torch. Batch k of
    all ranks together is batch k of a single rank with batches `world` times as large. Every example belongs to
    exactly one rank and nothing is padded, so the parts of an evaluation count each example once; their lengths then
    differ by at most one. With `even` the last n mod world examples of this epoch's permutation are left out (others
    in each epoch), so that all ranks take equally many steps. Without `shuffle` the permutation is 0, 1, 2, ...

    Raises `InputError` for a rank outside 0..world-1, and for an even share of fewer examples than ranks.

    >>> seeds = rng.Seeds(1)
    >>> epoch_order(5, seeds, 0, shuffle=False), epoch_order(5, seeds, 0, rank=1, world=2, shuffle=False)
    (tensor([0, 1, 2, 3, 4]), tensor([1, 3]))
    >>> sorted(epoch_order(5, seeds, 0).tolist())
    [0, 1, 2, 3, 4]
    """
    if not 0 <= rank < world:
        raise InputError(f"rank: got {rank} of {world}, expected 0 to {world - 1}")
    if even and n < world:
        raise InputError(f"{n} examples cannot be shared evenly by {world} ranks: use fewer ranks")
    order = torch.arange(n)
    if shuffle:
        order = rng.streams(seeds.key(rng.Source.SHUFFLE, epoch), order).argsort()
    return order[: n // world * world if even else n][rank::world]


def stratified_order(targets: Int64[Tensor, " n"], key: int) -> Int64[Tensor, " n"]:
    """A keyed permutation whose every prefix holds the classes in proportion, to within one example if they are equal.

    Example r of the c that a class has, in keyed order, goes to place (r + 1/2) / c; ties go by class number.

    >>> targets = torch.tensor([0, 0, 0, 0, 1, 1])
    >>> targets[stratified_order(targets, 7)]
    tensor([0, 1, 0, 0, 1, 0])
    """
    shuffled = rng.streams(key, torch.arange(len(targets))).argsort()
    by_class = shuffled[targets[shuffled].argsort(stable=True)]
    counts = targets.bincount()
    within = torch.arange(len(targets)) - (counts.cumsum(0) - counts)[targets[by_class]]
    return by_class[((within + 0.5).double() / counts[targets[by_class]]).argsort(stable=True)]


def cut_batches(
    order: Int64[Tensor, " m"], n: int, batch_size: int, *, drop_last: bool = False, start: int = 0
) -> tuple[Int64[Tensor, " _"], ...]:
    """Cut an order over `n` examples into consecutive batches, from batch number `start` on.

    Raises `InputError` for places outside 0..n-1, batches without examples, and a start behind the last batch.

    >>> cut_batches(torch.tensor([3, 1, 2, 0, 4]), 5, 2, start=1)
    (tensor([2, 0]), tensor([4]))
    """
    if order.dtype != torch.int64 or order.ndim != 1:
        raise InputError(f"order: got {order.dtype} of shape {tuple(order.shape)}, expected int64 of shape (M,)")
    if batch_size < 1:
        raise InputError(f"batch_size: got {batch_size}, expected at least 1")
    if len(order) and not (order.min() >= 0 and order.max() < n):
        low, high = order.min().item(), order.max().item()
        raise InputError(f"order: names examples {low} to {high}, expected places in a split of {n}")
    if drop_last:
        order = order[: len(order) // batch_size * batch_size]
    count = -(-len(order) // batch_size)
    if not 0 <= start <= count:
        raise InputError(f"start: got batch number {start}, expected 0 to {count}")
    rest = order[start * batch_size :]
    return torch.split(rest, batch_size) if len(rest) else ()
