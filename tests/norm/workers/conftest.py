"""Clusters of gloo processes: each file of scenarios is run once for all tests that look at its results."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent
Results = dict[int, list[dict[str, Any]]]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Results]:
    """`cluster("file.py", 2, 4)[4][1]["name"]`: what worker 1 of 4 returned from the scenario `name`."""
    known: dict[tuple[str, ...], Results] = {}

    def results(source: str, *worlds: int) -> Results:
        key = (source, *map(str, worlds))
        if key not in known:
            folder = tmp_path_factory.mktemp("cluster")
            command = [sys.executable, str(HERE / "cluster.py"), str(HERE / source), str(folder), *key[1:]]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=500, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
            assert done.returncode == 0, done.stderr[-6000:]
            known[key] = {
                world: [torch.load(folder / f"{world}.{rank}.pt", weights_only=False) for rank in range(world)]
                for world in worlds
            }
        return known[key]

    return results
