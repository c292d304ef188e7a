"""What each of some processes computes from its own, uneven share of the predictions: run by `test_workers`."""

from typing import Any

import torch

from elinvar import metrics


def predictions() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(7)
    scores = (2 * torch.randn(1001, 6, generator=draws)).round()  # many equal confidences
    return scores, torch.randint(0, 6, (1001,), generator=draws), torch.randn(40, 5, 6, generator=draws)


def share(rank: int, world: int) -> torch.Tensor:
    """Uneven: the last worker takes a quarter; where there are two, rows 0 to 9 are seen by both."""
    cut = 1001 * 3 // 4
    rows = torch.arange(cut)[rank :: world - 1] if rank < world - 1 else torch.arange(cut, 1001)
    return torch.cat([rows, torch.arange(10)]) if rank == world - 1 else rows


def gathered(rank: int, world: int) -> dict[str, Any]:
    scores, targets, videos = predictions()
    rows = share(rank, world)
    mine = rows[: len(rows) - 10] if rank == world - 1 else rows  # without those that another one sees
    probabilities = scores.softmax(1)
    error, likelihood, brier = metrics.ErrorRate(), metrics.NegativeLogLikelihood(), metrics.BrierScore()
    calibration = metrics.CalibrationError(lambda c, a: metrics.rms_calibration_error(c, a, bin_size=50))
    parts = metrics.Confidences()
    flips, corruptions = metrics.PerturbationFlips(subset="validation"), metrics.CorruptionErrors(subset="validation")
    for piece in torch.split(mine, 97):
        error.update(scores[piece], targets[piece])
        likelihood.update(scores[piece], targets[piece])
        brier.update(probabilities[piece], targets[piece])
    for piece in torch.split(rows, 101):
        calibration.update(probabilities[piece], targets[piece], index=piece)
    parts.update(probabilities[mine], targets[mine], name=f"rank {rank}")
    for number, name in enumerate(metrics.PERTURBATION_SUBSETS["validation"]):
        if number % world == rank:  # whole perturbations on one worker
            flips.update(videos, perturbation=name)
    for name in metrics.SUBSETS["validation"]:
        for severity in range(1, 6):
            corruptions.update(scores[mine] * severity, targets[mine], corruption=name, severity=severity)
    own = error.value()
    return {
        "error": error.compute(),
        "own error": own,
        "nll": likelihood.compute(),
        "brier": brier.compute(),
        "rms": calibration.compute(),
        "parts": sorted(parts.compute()),
        "flips": flips.compute(),
        "corruptions": corruptions.compute(),
        "still its own": error.value() == own,
    }


def nobody_saw_a_thing(rank: int, world: int) -> str:
    metric = metrics.ErrorRate()
    if rank == 0:
        metric.update(torch.tensor([1, 1]), torch.tensor([1, 0]))
    found = metric.compute()  # a worker without examples takes part
    try:
        metrics.ErrorRate().compute()
    except ValueError as error:
        return f"{found}: {error}"
    return "no refusal"


SCENARIOS = [(gathered, (2, 3)), (nobody_saw_a_thing, (2,))]
