"""Accumulators on several gloo processes with uneven shares: every one computes the metric of all of them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from elinvar import metrics
from metrics.worker_scenarios import predictions

HERE = Path(__file__).parent
CLUSTER = HERE.parent / "norm" / "workers" / "cluster.py"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("cluster")
    command = [sys.executable, str(CLUSTER), str(HERE / "worker_scenarios.py"), str(folder), "2", "3"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-6000:]
    return {
        world: [torch.load(folder / f"{world}.{rank}.pt", weights_only=False) for rank in range(world)]
        for world in (2, 3)
    }


@pytest.mark.parametrize("world", [2, 3])
def test_every_process_computes_the_metric_of_all(world: int, results: dict[int, list[dict[str, Any]]]) -> None:
    scores, targets, videos = predictions()
    probabilities = scores.softmax(1)
    for rank, worker in enumerate(results[world]):
        found = worker["gathered"]
        assert found["error"] == metrics.error_rate(scores, targets)
        assert found["own error"] != found["error"]
        assert found["still its own"]
        assert found["nll"] == pytest.approx(metrics.negative_log_likelihood(scores, targets), rel=1e-12)
        assert found["brier"] == pytest.approx(metrics.brier_score(probabilities, targets), rel=1e-12)
        # in the order of the data set, and what two processes saw counts once
        assert found["rms"] == metrics.rms_calibration_error(probabilities, targets, bin_size=50)
        assert found["parts"] == [f"rank {number}" for number in range(world)]
        noisy = metrics.flip_probability(videos, noise=True)
        plain = metrics.flip_probability(videos)
        assert found["flips"].each == {**dict.fromkeys(found["flips"].each, plain), "speckle_noise": noisy}
        assert found["corruptions"].subset == "validation"
        assert found["corruptions"] == pytest.approx(metrics.error_rate(scores, targets), rel=1e-12)
        assert rank in range(world)


def test_a_process_without_examples_takes_part(results: dict[int, list[dict[str, Any]]]) -> None:
    for worker in results[2]:
        assert worker["nobody_saw_a_thing"] == ("0.5: ErrorRate of no examples is not defined; call update first")
