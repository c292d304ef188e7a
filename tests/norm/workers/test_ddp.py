"""A converted model in `DistributedDataParallel` may be called twice in a step: gradients and memory as by hand."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

SCENARIOS = runpy.run_path(str(Path(__file__).parent / "ddp_scenarios.py"))
model, rows, step, found = (SCENARIOS[name] for name in ("model", "rows", "step", "found"))


@pytest.fixture(scope="module")
def results(cluster: Callable[..., Any]) -> Any:
    return cluster("ddp_scenarios.py", 1, 2)


def by_hand(name: str, world: int) -> list[dict[str, Tensor]]:
    """What each worker should find: gradients averaged over workers, memory of its own rows."""
    if name == "sync":
        net = model("plain")
        for _ in range(2):
            step(net, name, [torch.cat([rows(rank, call) for rank in range(world)]) for call in range(2)])
        buffers = {key for key, _ in net.named_buffers()}
        return [{key: value if key in buffers else value / world for key, value in found(net).items()}] * world
    nets = [model(name) for _ in range(world)]
    for _ in range(2):
        for rank, net in enumerate(nets):
            step(net, name, [rows(rank, call) for call in range(2)])
            if rank:  # at its next forward every worker takes the memory of the first one
                net.load_state_dict(nets[0].state_dict())
    each = [found(net) for net in nets]
    mean = {key: sum(one[key] for one in each) / world for key, _ in nets[0].named_parameters() if key in each[0]}
    return [{**one, **mean} for one in each]


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("name", ["plain", "ghost", "split", "sync", "frozen"])
def test_two_forwards_in_a_step(results: Any, name: str, world: int) -> None:
    expected = by_hand(name, world)
    first = results[world][0]["two_forwards"][name]
    assert first.keys() == expected[0].keys()
    for key in first:
        torch.testing.assert_close(first[key], expected[0][key], rtol=1e-9, atol=1e-9)
    for other in results[world][1:]:
        for key, value in other["two_forwards"][name].items():
            if name == "sync" or "running" not in key:  # memory of the last step is that of the worker's own rows
                torch.testing.assert_close(value, expected[0][key], rtol=1e-9, atol=1e-9)
