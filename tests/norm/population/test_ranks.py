"""Two gloo workers with uneven shards: the same bits on both, and what one process finds on all examples."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from elinvar.norm.population import adapt, precise
from population_nets import images, memory_of, mixed, population, worst

X = images(48)
SCENARIOS = ["plain", "empty", "cut", "fails", "alone", "adapt", "wrapped"]
METHODS = ["joint", "layerwise"]
Found = dict[str, list[tuple[dict[str, Any], dict[str, Tensor]]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """scenario -> what each rank reported and wrote."""
    folder = tmp_path_factory.mktemp("ranks")
    names = [f"{method}-{what}" for method in METHODS for what in SCENARIOS]
    script = Path(__file__).parent / "two_workers.py"
    workers = [
        subprocess.Popen([sys.executable, script, str(rank), str(folder), *names], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
    return {
        name: [
            (json.loads((folder / f"{name}-{rank}.json").read_text()), torch.load(folder / f"{name}-{rank}.pt"))
            for rank in range(2)
        ]
        for name in names
    }


PARTS = [X[:7], X[7:20], X[20:30], X[30:32], X[32:48]]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("what", ["plain", "empty", "cut", "adapt", "wrapped"])
def test_all_workers_write_the_same_bits_as_one_process_would(found: Found, method: str, what: str) -> None:
    (report, first), (_, second) = found[f"{method}-{what}"]
    assert report["error"] == ""
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    parts = {"empty": [X[:20], X[20:]], "cut": [X[:8], X[8:16], X[24:36], X[36:39]]}.get(what, PARTS)
    model = mixed()
    if what == "adapt":
        adapt(model, parts, method=method, prior=10)
    else:
        precise(model, parts, method=method)
    torch.testing.assert_close(first, memory_of(model), rtol=1e-6, atol=1e-6)
    assert report["batches"] == [len(part) for part in parts]
    assert report["examples"] == sum(report["batches"])
    assert report["passes"] == 1.0


def test_layerwise_is_exact_over_all_shards(found: Found) -> None:
    model = mixed()
    model.load_state_dict(found["layerwise-plain"][1][1], strict=False)
    expected = population(mixed(), X)
    assert worst(model, expected) < 2e-6


@pytest.mark.parametrize("method", METHODS)
def test_a_failure_reaches_all_workers_and_nothing_is_written(found: Found, method: str) -> None:
    (one, first), (two, second) = found[f"{method}-fails"]
    assert "RankError: the worker of rank 1 failed" in one["error"]
    assert "'stem.1' is the first whose input holds NaN or infinite" in one["error"]
    assert two["error"].startswith("InputError: layer 'stem.1'")
    for memory in (first, second):
        torch.testing.assert_close(memory, memory_of(mixed()), rtol=0, atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_can_measure_alone(found: Found, method: str) -> None:
    for rank, parts in enumerate((PARTS[:2], PARTS[2:])):
        report, memory = found[f"{method}-alone"][rank]
        assert report["examples"] == sum(map(len, parts))
        model = mixed()
        precise(model, parts, method=method)
        torch.testing.assert_close(memory, memory_of(model), rtol=1e-6, atol=1e-6)
