"""A worker of `test_ranks.py`: measures its shard and writes what it found. Arguments: scenario, rank, folder."""

import json
import sys
import warnings
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[2]))
from torch import nn

from elinvar.norm.population import adapt, precise
from population_nets import Mixed, images, memory_of


def main(scenario: str, rank: int, folder: Path) -> None:
    x = images(48)
    parts = {0: [x[:7], x[7:20]], 1: [x[20:30], x[30:32], x[32:48]]}[rank]
    model: nn.Module = Mixed()
    method, _, what = scenario.partition("-")
    report = None
    error = ""
    try:
        if what == "empty":
            parts = [x[:20], x[20:]] if rank == 0 else []
        if what == "cut":
            parts = [x[:8], x[8:24]] if rank == 0 else [x[24:36], x[36:]]
        if what == "fails" and rank == 1:
            parts[2][3, 1] = float("inf")
        if what == "alone":
            report = precise(model, parts, method=method, alone=True)
        elif what == "adapt":
            report = adapt(model, parts, method=method, prior=10)
        elif what == "wrapped":
            report = precise(nn.parallel.DistributedDataParallel(model), parts, method=method)
        else:
            report = precise(model, parts, method=method, examples=31 if what == "cut" else None)
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    torch.save(memory_of(model), folder / f"{scenario}-{rank}.pt")
    found = {"error": error}
    if report is not None:
        found |= {"examples": report.examples, "batches": report.batches, "passes": report.passes}  # type: ignore[dict-item]
    (folder / f"{scenario}-{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    rank, folder, scenarios = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    for scenario in scenarios:
        main(scenario, rank, folder)
    dist.destroy_process_group()
