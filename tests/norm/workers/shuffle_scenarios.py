"""What workers hold and compute when rows are shuffled between them; `test_shuffle.py` judges it."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from elinvar import norm
from elinvar.check import InputError
from elinvar.norm.workers import Shuffled, shuffle, unshuffle
from elinvar.norm.workers.shuffling import shuffle_spans
from elinvar.routing import Routing, Trace, route

# Rows of each worker.
SIZES: dict[int, list[tuple[int, ...]]] = {
    1: [(5,)],
    2: [(3, 1), (0, 4), (0, 0), (0, 1), (5, 2)],
    4: [(1, 1, 2, 4), (0, 3, 0, 2), (0, 1, 0, 1)],
}
BLOCK_SIZES: dict[int, list[tuple[int, ...]]] = {2: [(3, 1), (0, 4), (5, 2)], 4: [(1, 1, 2, 4), (0, 9, 0, 1)]}


def batch(rows: int, seed: int) -> Tensor:
    return torch.randn(rows, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def own(values: Tensor, sizes: tuple[int, ...], rank: int) -> Tensor:
    return torch.split(values, list(sizes))[rank].clone()


def kinds(rows: int) -> dict[str, Tensor]:
    """Batches of every sort."""
    x = batch(rows, 0)
    return {
        "float64": x,
        "float32": x.float(),
        "bfloat16": x.bfloat16(),
        "channels_last": x.float().contiguous(memory_format=torch.channels_last),
        "labels": (x[:, 0, 0, 0] * 100).long(),
        "bool": x[:, :, 0] > 0,
        "complex": torch.complex(x, -x)[:, 0],
        "nothing in a row": x[:, :0],
        "not a number": x.float() * torch.nan,
    }


def bits(x: Tensor) -> Tensor:
    return x.contiguous().reshape(-1).view(torch.uint8)


def block(normalizing: Callable[[int], nn.Module]) -> nn.Module:
    torch.manual_seed(7)
    made = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), normalizing(4), nn.ReLU(), nn.Conv2d(4, 2, 3), normalizing(2), nn.Flatten()
    )
    return made.double()


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
    try:
        call()
    except InputError as error:
        return str(error)
    return "nothing was raised"


def there_and_back(rank: int, world: int) -> Any:
    """For every sort of batch, whether it came back bit for bit and in its layout; where the rows were; how often."""
    found = {}
    for sizes in SIZES[world]:
        same = {}
        for name, whole in kinds(sum(sizes)).items():
            x = own(whole, sizes, rank)
            y, shuffled = shuffle(x, key=3)
            home = unshuffle(y, shuffled)
            same[name] = (
                torch.equal(bits(x), bits(home))
                and x.dtype == home.dtype
                and x.shape == home.shape
                and (name != "channels_last" or not len(x) or y.is_contiguous(memory_format=torch.channels_last))
            )
        ids = own(torch.arange(sum(sizes)), sizes, rank)
        with counted() as calls:
            here, shuffled = shuffle(ids, key=3)
            unshuffle(here, shuffled)
        found[sizes] = {
            "same": same,
            "ids": here,
            "also": torch.equal(here * 2, shuffled.also(ids * 2)),
            "other": shuffle(ids, key=4)[0],
            "calls": calls,
        }
    return found


def without_all_to_all(rank: int, world: int) -> Any:
    """A back end that cannot exchange rows, but gather them."""
    found = {}
    before = dist.all_to_all_single

    def unknown(*args: Any, **settings: Any) -> Any:
        raise RuntimeError("Backend tape does not support alltoall_base")

    for sizes in SIZES[world]:
        x = own(batch(sum(sizes), 0), sizes, rank).requires_grad_()
        weights = own(batch(sum(sizes), 1), sizes, rank)
        results = []
        for replaced in (before, unknown):
            try:
                dist.all_to_all_single = replaced
                y, shuffled = shuffle(x, key=5)
                home = unshuffle(y * y, shuffled)
                (gradient,) = torch.autograd.grad((home * weights).sum(), x)
            finally:
                dist.all_to_all_single = before
            results.append((y.detach(), home.detach(), gradient))
        found[sizes] = all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    return found


def other_failures(rank: int, world: int) -> Any:
    """A failure that is not a missing collective is not papered over."""
    before = dist.all_to_all_single

    def broken(*args: Any, **settings: Any) -> Any:
        raise RuntimeError("connection closed by peer")

    try:
        dist.all_to_all_single = broken
        shuffle(batch(2, 0), key=5)
    except RuntimeError as error:
        return str(error)
    finally:
        dist.all_to_all_single = before
    return "nothing was raised"


def gradients_are_left_alone(rank: int, world: int) -> Any:
    x = batch(3, rank).requires_grad_()
    y, _ = shuffle(x, key=1)
    given = torch.full_like(y, 1.0 + rank)
    (gradient,) = torch.autograd.grad(y, x, given)
    return bool((given == 1.0 + rank).all()), gradient.sum((1, 2, 3))


def trained(model: nn.Module, sizes: tuple[int, ...], rank: int, module: nn.Module | None = None) -> dict[str, Any]:
    x = own(batch(sum(sizes), 0), sizes, rank).requires_grad_()
    y = (module or model)(x)
    weights = own(batch(sum(sizes), 1).flatten(1)[:, : y.shape[1]], sizes, rank)
    torch.autograd.backward((y.square() * weights).sum())
    return {
        "y": y.detach(),
        "dx": x.grad,
        "parameters": [p.grad for p in model.parameters()],
        "buffers": dict(model.named_buffers()),
    }


def by_rows(rank: int, world: int) -> Any:
    """A block in which rows do not meet, shuffled and not."""
    found = {}
    for sizes in SIZES[world]:
        plain = block(lambda channels: nn.GroupNorm(1, channels))
        found[sizes] = trained(copy.deepcopy(plain), sizes, rank), trained(Shuffled(plain, seed=2), sizes, rank)
    return found


def by_batches(rank: int, world: int) -> Any:
    """A block whose rows meet, twice in a row: its results, and where the rows were."""
    found = {}
    for sizes in BLOCK_SIZES[world]:
        model = Shuffled(block(nn.BatchNorm2d), seed=2)
        steps = []
        for _ in range(2):
            model.zero_grad(set_to_none=True)
            steps.append(trained(model, sizes, rank))
        found[sizes] = steps
    return found


def replicas(rank: int, world: int) -> Any:
    """DistributedDataParallel around, which gives the mean of the workers' gradients and broadcasts buffers."""
    sizes = (3, 1)
    model = Shuffled(block(nn.BatchNorm2d), seed=2)
    return trained(model, sizes, rank, DistributedDataParallel(model))


def resumed(rank: int, world: int) -> Any:
    """A checkpoint goes on with the permutations that would have come."""
    sizes = (3, 1)
    model = Shuffled(block(nn.BatchNorm2d), seed=2)
    trained(model, sizes, rank)
    state = copy.deepcopy(model.state_dict())
    first = trained(model, sizes, rank)["y"]
    again = Shuffled(block(nn.BatchNorm2d), seed=2)
    again.load_state_dict(state)
    return torch.equal(first, trained(copy.deepcopy(again), sizes, rank)["y"])


def in_eval(rank: int, world: int) -> Any:
    model = Shuffled(block(nn.BatchNorm2d), seed=2).eval()
    x = batch(3, rank)
    with counted() as calls:
        same = torch.equal(model(x), model.block(x))
    return same, calls, int(model.shuffles)


def recomputed(rank: int, world: int) -> Any:
    """Activation checkpointing inside of the block, with views; and around it."""

    class Inside(nn.Module):
        def __init__(self, layers: nn.Module, saving: bool) -> None:
            super().__init__()
            self.layers, self.saving = layers, saving

        def forward(self, x: Tensor) -> Tensor:
            y = checkpoint(self.layers, x, use_reentrant=False) if self.saving else self.layers(x)
            assert isinstance(y, Tensor)
            return y

    sizes, rows = [(3, 1), (1, 3)][rank], 4
    gradients = []
    for saving in (False, True):
        model = Shuffled(Inside(norm.convert(block(nn.BatchNorm2d), norm.split()), saving), seed=2)
        x = batch(rows, rank).requires_grad_()
        with route(model, Routing(("main", "aux"), sizes), Trace.PROPOSE):
            torch.autograd.backward(model(x).square().sum())
        gradients.append([x.grad, *(p.grad for p in model.parameters())])
    around = Shuffled(block(nn.BatchNorm2d), seed=2)
    y = checkpoint(around, batch(rows, rank).requires_grad_(), use_reentrant=False)
    return gradients, outcome(lambda: y.sum().backward())


def views(rank: int, world: int) -> Any:
    """Two branches: rows of a branch are shuffled among themselves, and normalized so."""
    sizes = [(3, 2), (1, 4)][rank]
    model = Shuffled(norm.convert(block(nn.BatchNorm2d), norm.split()), seed=2)
    x = batch(5, rank).requires_grad_()
    ids = torch.tensor([100 * (span + 1) + 10 * rank + i for span, n in enumerate(sizes) for i in range(n)])
    from elinvar.rng import Seeds, Source

    here, shuffled = shuffle_spans(ids, sizes, key=Seeds(2).key(Source.SHUFFLE, "workers", 0))
    with route(model, Routing(("main", "aux"), sizes), Trace.PROPOSE):
        y = model(x)
        torch.autograd.backward(y.square().sum())
        model.eval()
        evaluated = model(x)  # by its own routing again
        model.train()
    left = [layer.session for layer in model.modules() if hasattr(layer, "session")]
    return {
        "x": x.detach(),
        "y": y.detach(),
        "dx": x.grad,
        "evaluated": evaluated.detach(),
        "ids": here,
        "own": ids,
        "sizes": shuffled.sizes,
        "left": left,
    }


def refusals(rank: int, world: int) -> Any:
    x = batch(4, 0)
    _, shuffled = shuffle(x, key=1)
    tuples = Shuffled(nn.LSTM(4, 4).double())
    fewer = Shuffled(nn.Flatten(0, 1))
    return {
        "shape": outcome(lambda: shuffle(x if rank else x[:, :2], key=1)),
        "dtype": outcome(lambda: shuffle(x if rank else x.float(), key=1)),
        "key": outcome(lambda: shuffle(x, key=rank)),
        "home": outcome(lambda: unshuffle(x[:3], shuffled)),
        "also": outcome(lambda: shuffled.also(x[:3])),
        "tuple": outcome(lambda: tuples(x[:, 0])),
        "rows": outcome(lambda: fewer(x)),
        "both": outcome(lambda: Shuffled(nn.Identity(), group=dist.group.WORLD, workers=2)),
    }


SCENARIOS = (
    (there_and_back, (1, 2, 4)),
    (without_all_to_all, (2, 4)),
    (other_failures, (2,)),
    (gradients_are_left_alone, (2,)),
    (by_rows, (1, 2, 4)),
    (by_batches, (2, 4)),
    (replicas, (2,)),
    (resumed, (2,)),
    (in_eval, (2,)),
    (recomputed, (2,)),
    (views, (2,)),
    (refusals, (2,)),
)
