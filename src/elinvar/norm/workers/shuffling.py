"""A random arrangement of all workers' rows over the workers, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from ...check import InputError
from ...rng import check_seed, fold, streams
from .exchange import Move, carried, gathered
from .group import ProcessGroup, Workers


@dataclass(frozen=True, eq=False)
class Shuffle:
    """What `shuffle` did: `unshuffle` takes it back, and `also` moves other rows that belong to the same examples.

    sizes  rows of each span that this worker now holds
    """

    sizes: tuple[int, ...]
    there: Move

    def also(self, x: Tensor) -> Tensor:
        """Move rows as those of the shuffled batch were: labels, say. All workers must call it."""
        if len(x) != len(self.there.leave):
            raise InputError(f"got {len(x)} rows, expected {len(self.there.leave)} as in the batch that was shuffled")
        return carried(x, self.there)


def shuffle(x: Tensor, *, key: int, group: ProcessGroup | None = None) -> tuple[Tensor, Shuffle]:
    """Rows of all workers in random order, cut into one piece for each worker; pieces differ by at most one row.

    x      (n, ...) this worker's rows; n may differ between workers and be 0, the other sizes and the dtype may not
    key    0 to 2**64 - 1: names the permutation; the same on all workers, and another one at each step
    group  the workers; None: the default group. Alone, a process permutes its own rows

    Returns this worker's piece, and what `unshuffle` needs. Values are moved, never computed: there and back is exact,
    for every dtype. A gradient travels to the worker that holds the row, unscaled: with DistributedDataParallel the
    mean over workers is what it was. Differentiable once. All workers must call it, and run its backward, equally
    often, also with no rows; x requires a gradient on all of them or on none.

    Source   Wu and Johnson 2021, section 6.1 and figure 9; He et al., "Momentum contrast", 2020, where no gradient is
             needed and workers hold equally many. The paper's code cuts off pieces of ceil(T / W) rows, which can leave
             the last workers with none.
    """
    return shuffle_spans(x, (len(x),), key=check_seed(key, name="key"), group=group)


def unshuffle(y: Tensor, shuffled: Shuffle) -> Tensor:
    """The results for this worker's own rows, in their order: the inverse of `shuffle`, for any (rows, ...) tensor."""
    if len(y) != len(shuffled.there.arrive):
        raise InputError(f"got {len(y)} rows to bring back, expected the {len(shuffled.there.arrive)} that were moved")
    return carried(y, shuffled.there.back())


def shuffle_spans(
    x: Tensor, sizes: Sequence[int], *, key: int, group: ProcessGroup | None = None
) -> tuple[Tensor, Shuffle]:
    """As `shuffle`, for a batch of consecutive spans (views): each is shuffled within itself, over all workers."""
    peers = Workers(group).peers()
    rows, rank = [list(sizes)], 0
    if peers is not None:
        rank = peers.rank()
        kind = fold(str(x.dtype), *x.shape[1:]) >> 1
        told = gathered([kind, fold(key) >> 1, *sizes], peers, x.device)
        if any(other[0] != kind for other in told):
            raise InputError(
                f"workers want to exchange rows of different shapes or dtypes; this one has {tuple(x.shape[1:])} of "
                f"{x.dtype}: bring them to one shape first"
            )
        if any(other[1] != told[0][1] for other in told):
            raise InputError("workers want to shuffle with different keys; give all of them the same seed and step")
        rows = [other[2:] for other in told]
    pieces, held = arranged(rows, len(rows), key)
    starts = torch.tensor([0, *(sum(own) for own in rows)]).cumsum(0)
    homes = [torch.searchsorted(starts, piece, right=True) - 1 for piece in pieces]
    leave = [piece[home == rank] - starts[rank] for piece, home in zip(pieces, homes, strict=True)]
    counts = [torch.bincount(home, minlength=len(rows)).tolist() for home in homes]
    move = Move(
        torch.cat(leave).to(x.device),
        tuple(zip(*counts, strict=True)),
        homes[rank].argsort(stable=True).argsort().to(x.device),
        peers,
    )
    result = Shuffle(held[rank], move)
    return result.also(x), result


def arranged(
    rows: Sequence[Sequence[int]], pieces: int, key: int
) -> tuple[list[Int64[Tensor, " rows"]], list[tuple[int, ...]]]:
    """Which rows each piece gets, numbered worker by worker, and how many of each span.

    rows[w][s] are the rows of worker w in span s.

    Each span is permuted and cut into `pieces` parts whose sizes differ by at most one, the larger ones first.
    """
    numbers = torch.split(torch.arange(sum(map(sum, rows))), [size for own in rows for size in own])
    spans = len(rows[0])
    parts = []
    for span in range(spans):
        mine = torch.cat(numbers[span::spans])
        order = streams(fold(key, span), torch.arange(len(mine))).argsort(stable=True)
        parts.append(mine[order].tensor_split(pieces))
    return (
        [torch.cat(list(piece)) for piece in zip(*parts, strict=True)],
        [tuple(map(len, piece)) for piece in zip(*parts, strict=True)],
    )
