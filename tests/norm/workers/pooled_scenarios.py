"""What workers compute with pooled statistics, by a normalization written here; `test_pooled.py` judges it."""

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from elinvar.check import InputError
from elinvar.norm.workers import Workers, across

# Rows of each worker.
SIZES: dict[int, list[tuple[int, ...]]] = {
    1: [(4,)],
    2: [(2, 4), (0, 6), (3, 1), (0, 0)],
    4: [(1, 1, 2, 4), (0, 3, 0, 2)],
}


def batch(rows: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(rows, 5, 3, 2, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 + 1


def whole(sizes: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of all workers, the weights of their outputs in the loss, and the group of each row."""
    total = sum(sizes)
    return batch(total, 0), batch(total, 1), torch.arange(total) % 2


def own(values: Tensor, sizes: tuple[int, ...], rank: int) -> Tensor:
    return torch.split(values, list(sizes))[rank].clone()


def tables(x: Tensor, group: Tensor, groups: int) -> tuple[Tensor, Tensor, list[int]]:
    """Mean, biased variance and number of values; NaN where a group has none."""
    parts = [x[group == g].movedim(1, 0).flatten(1) for g in range(groups)]
    means = torch.stack([part.mean(1) for part in parts])
    variances = torch.stack([(part - part.mean(1, keepdim=True)).square().mean(1) for part in parts])
    return means, variances, [part.shape[1] for part in parts]


def normalized(x: Tensor, group: Tensor, groups: int, workers: Workers) -> tuple[Tensor, ...]:
    mean, variance, counts = across(*tables(x, group, groups), workers)
    line = [table[group][:, :, None, None] for table in (mean, variance)]
    return (x - line[0]) / (line[1] + 1e-5).sqrt(), mean, variance, counts


def layer(sizes: tuple[int, ...], rank: int, groups: int, workers: Workers) -> dict[str, Tensor]:
    x, weights, group = (own(values, sizes, rank) for values in whole(sizes))
    group = group % groups
    x.requires_grad_()
    gamma, beta = (batch(1, seed)[0, :, :1, :1].clone().requires_grad_() for seed in (2, 3))
    y, mean, variance, counts = normalized(x, group, groups, workers)
    y = y * gamma + beta
    torch.autograd.backward((y.square() * weights).sum())
    grads = {"dx": x.grad, "dgamma": gamma.grad, "dbeta": beta.grad}
    found = {name: grad for name, grad in grads.items() if grad is not None}
    return {"y": y.detach(), "mean": mean.detach(), "variance": variance.detach(), "counts": counts, **found}


@contextmanager
def counted() -> Iterator[list[str]]:
    """The collectives that are called inside."""
    calls: list[str] = []
    names = ("all_gather", "all_reduce", "all_to_all_single")
    before = {name: getattr(dist, name) for name in names}

    def counting(name: str) -> Callable[..., Any]:
        def call(*args: Any, **settings: Any) -> Any:
            calls.append(name)
            return before[name](*args, **settings)

        return call

    try:
        for name in names:
            setattr(dist, name, counting(name))
        yield calls
    finally:
        for name in names:
            setattr(dist, name, before[name])


def outcome(call: Callable[[], Any]) -> str:
    """The message of the `InputError` that a call raises."""
    try:
        call()
    except InputError as error:
        return str(error)
    return "nothing was raised"


def layers(rank: int, world: int) -> Any:
    return {(sizes, groups): layer(sizes, rank, groups, Workers()) for sizes in SIZES[world] for groups in (1, 2)}


def equal_weights(rank: int, world: int) -> Any:
    return {sizes: layer(sizes, rank, 1, Workers(weighting="workers")) for sizes in SIZES[world]}


def collectives(rank: int, world: int) -> Any:
    seen = []
    for sizes in SIZES[world]:
        with counted() as calls:
            layer(sizes, rank, 2, Workers())
        seen.append(list(calls))
    return seen


def large_mean(rank: int, world: int) -> Any:
    """Float32 values whose mean is a thousand standard deviations."""
    x = (batch(200, rank) * 0.5 + 1000).float()
    mean, variance, _ = across(*tables(x, torch.zeros(200, dtype=torch.int64), 1), Workers())
    return x, mean, variance


def large_counts(rank: int, world: int) -> Any:
    """Numbers that float32 cannot hold."""
    mean = torch.full((1, 1), float(rank))
    return across(mean, torch.ones_like(mean), [2**24 + 1 + 2 * rank], Workers())


def gradients_are_left_alone(rank: int, world: int) -> Any:
    mean = batch(1, rank)[0, :, :, 0].clone().requires_grad_()
    variance = mean.detach().square().requires_grad_()
    pooled = across(mean, variance, [3] * 5, Workers())
    given = [torch.ones_like(pooled[0]), torch.ones_like(pooled[1])]
    torch.autograd.grad(pooled[:2], (mean, variance), given)
    return all(bool((gradient == 1).all()) for gradient in given)


def second_derivatives(rank: int, world: int) -> Any:
    mean = batch(1, rank)[0, :, :, 0].clone().requires_grad_()
    pooled, _, _ = across(mean, mean.square(), [3] * 5, Workers())
    (first,) = torch.autograd.grad(pooled.square().sum(), mean, create_graph=True)
    try:
        torch.autograd.backward(first.sum())
    except RuntimeError as error:
        return str(error)
    return "nothing was raised"


def some_workers(rank: int, world: int) -> Any:
    """Blocks of neighbours, and an explicit group of every other worker."""
    sizes = (1, 1, 2, 4)
    strides = [dist.new_group([0, 2]), dist.new_group([1, 3])]
    blocks = Workers(every=2)
    return {
        "every": layer(sizes, rank, 1, blocks),
        "group": layer(sizes, rank, 1, Workers(strides[rank % 2])),
        "made once": blocks.peers() is Workers(every=2, weighting="workers").peers(),
        "alone": Workers(every=1).peers() is None,
        "indivisible": outcome(lambda: Workers(every=3).peers()),
        "not a member": outcome(lambda: Workers(strides[1 - rank % 2])),
    }


def copies(rank: int, world: int) -> Any:
    group = dist.new_group([0, 1])
    workers = Workers(group, weighting="workers")
    travelled = pickle.loads(pickle.dumps({"policy": workers}))["policy"]
    return {
        "shared": all(other.group is group for other in (copy.copy(workers), copy.deepcopy(workers))),
        "replaced": replace(workers, weighting="elements").group is group,
        "equal": workers == Workers(group, weighting="workers") and hash(workers) == hash(copy.copy(workers)),
        "weighting": travelled.weighting,
        "lost": outcome(travelled.peers),
        "again": pickle.loads(pickle.dumps(travelled)) == travelled,
        "default": pickle.loads(pickle.dumps(Workers(every=2))) == Workers(every=2),
    }


SCENARIOS = (
    (layers, (1, 2, 4)),
    (equal_weights, (2, 4)),
    (collectives, (1, 2, 4)),
    (large_mean, (2,)),
    (large_counts, (2,)),
    (gradients_are_left_alone, (2,)),
    (second_derivatives, (2,)),
    (some_workers, (4,)),
    (copies, (2,)),
)
