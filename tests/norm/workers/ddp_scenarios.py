"""Two forwards in each step of a model in `DistributedDataParallel`, and the same by hand; `test_ddp.py` judges it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from elinvar import norm
from elinvar.routing import Routing, Trace, route

POLICIES = {
    "plain": norm.batch_norm(),
    "ghost": norm.ghost(2),
    "split": norm.split(),
    "sync": norm.sync(),
    "frozen": norm.NormPolicy(memory=norm.Frozen()),
}


def model(name: str) -> Any:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    return norm.convert(net.double(), POLICIES[name])


def rows(rank: int, call: int) -> Tensor:
    generator = torch.Generator().manual_seed(10 * rank + call)
    return torch.randn(4, 3, 7, 7, generator=generator, dtype=torch.float64) * (call + 1)


def step(net: Any, name: str, calls: list[Tensor]) -> None:
    """Both calls normalized by the rows of their own, remembered once."""
    for parameter in net.parameters():
        parameter.grad = None
    half = len(calls[0]) // 2
    routing = Routing(("main", "aux"), (half, half)) if name == "split" else Routing(("main",))
    with route(net, routing, Trace.PROPOSE):
        loss = sum((net(x).square() * torch.arange(3.0, dtype=x.dtype)).sum() for x in calls)
        torch.autograd.backward(loss)
    norm.commit(net)


def found(net: Any) -> dict[str, Tensor]:
    gradients = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    return {**gradients, **{name: buffer.clone() for name, buffer in net.named_buffers()}}


def two_forwards(rank: int, world: int) -> dict[str, Any]:
    results = {}
    for name in POLICIES:
        net = model(name)
        wrapped = DistributedDataParallel(net)
        for _ in range(2):
            step(wrapped, name, [rows(rank, call) for call in range(2)])
        results[name] = found(net)
    return results


SCENARIOS = [(two_forwards, (1, 2))]
