"""What converted models compute when their statistics are synchronized; `test_layer_workers.py` judges it."""

import copy
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from elinvar import norm
from elinvar.check import InputError
from elinvar.routing import Routing, Trace, route

# Rows of each worker.
SIZES: dict[int, list[tuple[int, ...]]] = {
    1: [(4,)],
    2: [(2, 4), (0, 6), (3, 1), (0, 0)],
    4: [(1, 1, 2, 4), (0, 3, 0, 2)],
}


def batch(rows: int, seed: int) -> Tensor:
    return torch.randn(rows, 4, 3, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 + 1


def own(values: Tensor, sizes: tuple[int, ...], rank: int) -> Tensor:
    return torch.split(values, list(sizes))[rank].clone()


def network() -> nn.Module:
    torch.manual_seed(7)
    layers = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 2), nn.BatchNorm2d(6), nn.Flatten()
    model = nn.Sequential(*layers).double()
    with torch.no_grad():
        for index in (1, 4):
            nn.init.normal_(model[index].weight)  # type: ignore[arg-type]
            nn.init.normal_(model[index].bias)  # type: ignore[arg-type]
    return model


def step(model: nn.Module, sizes: tuple[int, ...], rank: int, module: nn.Module | None = None) -> dict[str, Any]:
    x = own(batch(sum(sizes), 0), sizes, rank).requires_grad_()
    y = (module or model)(x)
    weights = own(batch(sum(sizes), 1).flatten(1)[:, : y.shape[1]], sizes, rank)
    torch.autograd.backward((y.square() * weights).sum())
    return {
        "y": y.detach(),
        "dx": x.grad,
        "parameters": [p.grad for p in model.parameters()],
        "buffers": {name: buffer.clone() for name, buffer in model.named_buffers()},
    }


@contextmanager
def counted() -> Iterator[list[str]]:
    """The collectives that are called inside."""
    calls: list[str] = []
    names = ("all_gather", "all_reduce", "all_to_all_single", "broadcast", "all_gather_object")
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


def steps(rank: int, world: int) -> Any:
    return {sizes: step(norm.convert(network(), norm.sync()), sizes, rank) for sizes in SIZES[world]}


def formats(rank: int, world: int) -> Any:
    """The other formats, with and without gradients, on fewer digits."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        layer = norm.Norm(4, norm.sync()).to(dtype)
        x = own(batch(6, 0), (2, 4), rank).to(dtype).contiguous(memory_format=torch.channels_last)
        x.requires_grad_()
        y = layer(x)
        torch.autograd.backward((y * own(batch(6, 1), (2, 4), rank).to(dtype)).sum())
        with torch.no_grad():
            same = torch.equal(layer(x), y)
        found[dtype] = y.detach(), x.grad, layer.running_var, same
    return found


def calls(rank: int, world: int) -> Any:
    """Collectives of a training step, of inference, of a frozen memory, and of a copy of the model."""
    found = {}
    model = norm.convert(network(), norm.sync())
    for sizes in SIZES[world]:
        with counted() as seen:
            step(model, sizes, rank)
        found[str(sizes)] = list(seen)
    x = batch(3, rank)
    with counted() as seen:
        model.eval()(x)
        norm.convert(copy.deepcopy(model), norm.sync() | norm.no_memory()).eval()(x)
        frozen = norm.NormPolicy(sharing=norm.sync().sharing, memory=norm.Frozen())
        norm.convert(copy.deepcopy(model), frozen).train()(x)
    found["read"] = list(seen)
    return found


def branches(rank: int, world: int) -> Any:
    """Split BatchNorm; worker 0 has rows of both branches, worker 1 of the second only, and a third has none."""
    names, sizes = [(("aux", "main"), (2, 3)), (("aux",), (4,))][rank]
    policy = norm.split(("main", "aux", "spare")) | norm.sync()
    model = norm.convert(network(), policy)
    x = batch(sum(sizes), 10 + rank).requires_grad_()
    with route(model, Routing(names, sizes), Trace.PROPOSE):
        y = model(x)
        weights = batch(sum(sizes), 20 + rank).flatten(1)[:, : y.shape[1]]
        torch.autograd.backward((y.square() * weights).sum())
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    norm.commit(model)
    return {
        "x": x.detach(),
        "dx": x.grad,
        "y": y.detach(),
        "before": before,
        "after": dict(model.named_buffers()),
        "parameters": {name: p.grad for name, p in model.named_parameters()},
    }


def channels(rank: int, world: int) -> Any:
    """Statistics of runs of channels and of all workers: layer normalization of a batch."""
    policy = replace(norm.sync(), sharing=replace(norm.sync().sharing, channel_groups=2))
    layer = norm.Norm(4, policy).double()
    x = own(batch(6, 0), (2, 4), rank).requires_grad_()
    y = layer(x)
    (dx,) = torch.autograd.grad((y.square() * own(batch(6, 1), (2, 4), rank)).sum(), x)
    return y.detach(), dx


def some_workers(rank: int, world: int) -> Any:
    """A group given by the user, and blocks of neighbours."""
    groups = [dist.new_group([0, 2]), dist.new_group([1, 3])]
    every = norm.NormPolicy(sharing=norm.WholeBatch(workers=norm.Workers(every=2)))
    return {
        "group": step(norm.convert(network(), norm.sync(groups[rank % 2])), (2, 1, 3, 2), rank),
        "every": step(norm.convert(network(), every), (2, 1, 3, 2), rank),
    }


def replicas(rank: int, world: int) -> Any:
    """DistributedDataParallel around, which gives the mean of the workers' gradients."""
    model = norm.convert(network(), norm.sync())
    return step(model, (2, 4), rank, DistributedDataParallel(model))


def recomputed(rank: int, world: int) -> Any:
    """Activation checkpointing: as many collectives again, the same gradients, one entry in the memory."""
    found = []
    for saving in (False, True):
        model = norm.convert(network(), norm.sync())
        x = own(batch(6, 0), (2, 4), rank).requires_grad_()
        y = checkpoint(model, x, use_reentrant=False) if saving else model(x)
        assert isinstance(y, Tensor)
        torch.autograd.backward(y.square().sum())
        found.append([x.grad, *(p.grad for p in model.parameters()), *(b.clone() for b in model.buffers())])
    return found


def accumulated(rank: int, world: int) -> Any:
    """Two forwards of a step are remembered once, by all rows of all workers."""
    layer = norm.Norm(4, norm.sync()).double()
    with route(layer, Routing(("main",)), Trace.PROPOSE):
        layer(own(batch(6, 0), (2, 4), rank))
        layer(own(batch(6, 1), (5, 1), rank))
    norm.commit(layer)
    return dict(layer.named_buffers())


def one_value(rank: int, world: int) -> Any:
    layer = norm.Norm(4, norm.sync()).double()
    return {
        "alone": outcome(lambda: layer(torch.ones(rank, 4, 1, 1, dtype=torch.float64))),
        "together": outcome(lambda: layer(torch.full((1, 4, 1, 1), float(rank), dtype=torch.float64))),
        "buffers": dict(layer.named_buffers()),
    }


def travelled(rank: int, world: int) -> Any:
    """A model with an explicit group is copied, saved whole and loaded, and infers and says what it lacks."""
    model = norm.convert(network(), norm.sync(dist.new_group([0, 1])))
    step(model, (2, 4), rank)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    x = batch(3, rank)
    first, second = step(copy.deepcopy(model), (3, 2), rank)["y"], step(model, (3, 2), rank)["y"]
    return {
        "copied": torch.equal(first, second),
        "evaluated": torch.equal(loaded.eval()(x), copy.deepcopy(loaded).eval()(x)),
        "message": outcome(lambda: loaded.train()(x)),
        "again": outcome(lambda: norm.convert(loaded, norm.sync()).train()(x)),
    }


def kernels() -> None:
    """Load the compiled kernels before workers are forked, so that not each of them has to."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        x = batch(4, 0).to(dtype).requires_grad_()
        torch.autograd.backward(norm.Norm(4, norm.ghost(2)).to(dtype)(x).sum())


kernels()
SCENARIOS = (
    (steps, (1, 2, 4)),
    (formats, (2,)),
    (calls, (1, 2, 4)),
    (branches, (2,)),
    (channels, (2,)),
    (some_workers, (4,)),
    (replicas, (2,)),
    (recomputed, (2,)),
    (accumulated, (2,)),
    (one_value, (2,)),
    (travelled, (2,)),
)
