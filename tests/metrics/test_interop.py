"""Accumulators as torchmetrics sees them, and our numbers against torchmetrics' where those are right."""

import copy
import pickle
import subprocess
import sys
import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor

from elinvar import metrics
from elinvar.metrics import CalibrationError, Confidences, ErrorRate, NegativeLogLikelihood, as_torchmetrics
from libraries import load


def predictions(n: int = 3000) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    return torch.randn(n, 7, generator=draws).mul(2).softmax(1), torch.randint(0, 7, (n,), generator=draws)


P, Y = predictions()


@pytest.fixture(scope="module")
def torchmetrics() -> Any:
    if find_spec("torchmetrics") is None:
        pytest.skip("torchmetrics is not installed")
    load("torchvision")  # torchmetrics imports it, too
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module("torchmetrics")


def test_without_torchmetrics_the_error_says_what_to_do() -> None:
    code = (
        "import sys; sys.modules['torchmetrics'] = None\n"
        "from elinvar import metrics\n"
        "try: metrics.as_torchmetrics(metrics.ErrorRate())\n"
        "except metrics.interop.InputError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torchmetrics is not installed: pip install torchmetrics" in done.stdout


def test_calling_takes_in_a_piece_and_returns_the_metric_of_it() -> None:
    error, calibration, parts = ErrorRate(), CalibrationError(), Confidences()
    for rows in torch.split(torch.arange(len(P)), 700):
        assert error(P[rows], Y[rows]) == metrics.error_rate(P[rows], Y[rows])
        assert calibration(P[rows], Y[rows]) == metrics.rms_calibration_error(P[rows], Y[rows])
        assert parts(P[rows], Y[rows]) == {"all": metrics.rms_calibration_error(P[rows], Y[rows])}
    assert error.compute() == metrics.error_rate(P, Y)
    assert calibration.compute() == parts.compute()["all"] == metrics.rms_calibration_error(P, Y)


def test_a_collection(torchmetrics: Any) -> None:
    collection = torchmetrics.MetricCollection(
        {
            "error": as_torchmetrics(ErrorRate()),
            "rms": as_torchmetrics(CalibrationError()),
            "ece": as_torchmetrics(CalibrationError(metrics.expected_calibration_error)),
            "brier": as_torchmetrics(metrics.BrierScore(), sync_on_compute=False),
            "accuracy": torchmetrics.Accuracy(task="multiclass", num_classes=7),
        }
    )
    for rows in torch.split(torch.arange(len(P)), 700):
        found = collection(P[rows], Y[rows])
        assert found["error"] == metrics.error_rate(P[rows], Y[rows])
        assert found["error"] == pytest.approx(1 - float(found["accuracy"]), abs=1e-6)
    expected = {
        "error": metrics.error_rate(P, Y),
        "rms": metrics.rms_calibration_error(P, Y),
        "ece": metrics.expected_calibration_error(P, Y),
        "brier": pytest.approx(metrics.brier_score(P, Y), rel=1e-12),
    }
    for copied in (collection, copy.deepcopy(collection), pickle.loads(pickle.dumps(collection)), collection.clone()):
        found = copied.compute()
        assert {name: found[name] for name in expected} == expected
    collection.reset()
    collection.update(P[:10], Y[:10])
    assert collection.compute()["error"] == metrics.error_rate(P[:10], Y[:10])


def test_arguments_by_name_reach_those_who_take_them(torchmetrics: Any) -> None:
    collection = torchmetrics.MetricCollection([as_torchmetrics(ErrorRate()), as_torchmetrics(CalibrationError())])
    collection.update(P, Y, index=torch.arange(len(P)))
    collection.update(P[:100], Y[:100], index=torch.arange(100))
    assert set(collection.compute()) == {"ErrorRate", "CalibrationError"}
    assert collection.compute()["CalibrationError"] == metrics.rms_calibration_error(P, Y)  # seen twice, counted once


def test_updates_after_compute_count(torchmetrics: Any) -> None:
    metric = as_torchmetrics(NegativeLogLikelihood())
    metric.update(P[:10], Y[:10])
    first = metric.compute()
    metric(P[10:], Y[10:])
    assert metric.compute() == pytest.approx(metrics.negative_log_likelihood(P, Y), rel=1e-12) != first


def test_calibration_errors_of_torchmetrics(torchmetrics: Any) -> None:
    from torchmetrics.functional.classification import multiclass_calibration_error  # type: ignore[import-not-found]

    for bins in (10, 15):
        pair = metrics.reliability_bins(P, Y, binning=metrics.EqualWidth(bins))
        for norm, ours in (
            ("l1", metrics.expected_calibration_error(P, Y, bins=bins)),
            ("l2", metrics.root_mean_square_gap(pair)),
            ("max", metrics.maximum_calibration_error(P, Y, bins=bins)),
        ):
            theirs = multiclass_calibration_error(P, Y, num_classes=7, n_bins=bins, norm=norm)
            assert ours == pytest.approx(float(theirs), abs=2e-6)
