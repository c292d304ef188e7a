"""How long the metrics of a million predictions take, next to torchmetrics where it is installed.

    python benchmarks/metrics.py [--examples 1000000] [--classes 10] [--repeats 5] [--threads N]

Both get the same float32 logits and probabilities, by turns; the shortest time of each counts. torchmetrics is called
by its functional interface with its checks of the arguments switched on, as ours cannot be switched off. Target: all
rows up to the line "all" together in under 2 seconds.
"""

import argparse
import platform
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from elinvar import __version__, metrics
from elinvar.train.manifest import processor

TARGET = 2.0
Work = Callable[[], object]


def peers(probabilities: torch.Tensor, targets: torch.Tensor, classes: int) -> dict[str, Work]:
    """What torchmetrics has of the rows; nothing where it cannot be imported."""
    if find_spec("torchmetrics") is None:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            functional: Any = import_module("torchmetrics.functional.classification")
        except (ImportError, RuntimeError) as error:
            print(f"torchmetrics cannot be imported: {error}\n")
            return {}
    many = {"num_classes": classes}
    return {
        "error": lambda: 1 - functional.multiclass_accuracy(probabilities, targets, average="micro", **many),
        "ECE, 15 equal widths": lambda: functional.multiclass_calibration_error(
            probabilities, targets, n_bins=15, **many
        ),
    }


def best(work: Work, repeats: int) -> float:
    work()
    shortest = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)

    draws = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(settings.examples, settings.classes, generator=draws)
    targets = torch.multinomial((logits / 2).softmax(1), 1, generator=draws).squeeze(1)
    probabilities = logits.softmax(1)
    top = metrics.top_label(probabilities, targets)
    videos = logits[: settings.examples // 25 * 25].view(-1, 25, settings.classes)
    rows: dict[str, Work] = {
        "softmax": lambda: logits.softmax(1),
        "error": lambda: metrics.error_rate(logits, targets),
        "NLL": lambda: metrics.negative_log_likelihood(logits, targets),
        "Brier score": lambda: metrics.brier_score(probabilities, targets),
        "confidence and correctness": lambda: metrics.top_label(probabilities, targets),
        "RMS, bins of 100": lambda: metrics.rms_calibration_error(*top),
        "ECE, 15 equal widths": lambda: metrics.expected_calibration_error(probabilities, targets),
        "ECE, 10 equal masses": lambda: metrics.adaptive_calibration_error(*top),
        "reliability curve": lambda: metrics.reliability_bins(*top),
        "top-label Brier score": lambda: metrics.top_label_brier_score(*top),
        "overconfidence": lambda: metrics.overconfidence(*top),
    }
    more: dict[str, Work] = {
        "classwise ECE": lambda: metrics.classwise_calibration_error(probabilities, targets),
        "temperature": lambda: metrics.fit_temperature(logits, targets),
        "flip probability, videos of 25": lambda: metrics.flip_probability(videos),
        "top-5 distance, videos of 25": lambda: metrics.top5_distance(videos),
        "bootstrap of the error of 10,000": lambda: metrics.bootstrap_mean(
            metrics.mistakes(logits[:10_000], targets[:10_000]), key=0
        ),
    }
    theirs = peers(probabilities, targets, settings.classes)
    print(f"{settings.examples} predictions of {settings.classes} classes, best of {settings.repeats}; ", end="")
    print(f"{platform.machine()}, {processor()}, {settings.threads} threads; ", end="")
    print(f"elinvar {__version__}, torch {torch.__version__}\n")
    print("| metric | ms | torchmetrics, ms | torchmetrics / elinvar |")
    print("|---|---|---|---|")
    total = 0.0
    for place, (name, work) in enumerate({**rows, **more}.items()):
        seconds = best(work, settings.repeats)
        total += seconds if place < len(rows) else 0
        peer = best(theirs[name], settings.repeats) if name in theirs else None
        cells = ("", "") if peer is None else (f"{1000 * peer:.0f}", f"{peer / seconds:.1f}")
        print(f"| {name} | {1000 * seconds:.0f} | {cells[0]} | {cells[1]} |", flush=True)
        if place == len(rows) - 1:
            print(f"| all | {1000 * total:.0f} | | |")
    print(f"\ntarget: all in {TARGET:g} s; {'reached' if total < TARGET else 'missed'}")


if __name__ == "__main__":
    main()
