"""Adapted statistics: the memory of a trained model moves to another domain, without labels and without training."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from ...check import InputError
from .estimator import Estimator, Sums
from .feed import Forward
from .layers import Place, Statistics
from .meter import Meter
from .procedure import measure_and_write
from .report import PopulationReport
from .task import Settle


def adapt(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    prior: float = 0.0,
    mean: bool = True,
    variance: bool = True,
    method: str = "joint",
    examples: int | None = None,
    branch: str | None = None,
    layers: Sequence[str] | None = None,
    forward: Forward | None = None,
    shared: str = "error",
    memory: int | None = None,
    progress: bool | Meter = False,
    alone: bool = False,
) -> PopulationReport:
    """Replace the memory by the statistics of unlabelled target images, or mix the two.

        mean = (N M + n m) / (N + n),   var = (N V + n v) / (N + n)

    for the memory (M, V), the target's (m, v), and n target examples in all.

    prior       N: how many examples the memory counts as. 0 forgets it; about 16 to 256 helps where target examples
                are few. A fraction p of the memory, as other code has it, is N = n p / (1 - p)
    mean        whether means are adapted; False keeps the memory's
    variance    whether variances are

    The two variances are mixed without the distance of the means, as in the source; `norm.ExampleWeighted` has it.
    With method="layerwise" each layer is measured behind layers that normalize by their mixtures, as they will at test;
    "joint" measures as if N were 0 and mixes at the end.

    Everything else is as in `precise`. `report.undo()` gives the source statistics back: adapted statistics hurt on
    source images, and on target batches that were not drawn at random (one class, or very few), so evaluate both.

    Raises `InputError` for a negative prior, for nothing to adapt, and as `precise` does.

    Source   Schneider et al., "Improving robustness against common corruptions by covariate shift adaptation", 2020,
             section 3; Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 5.1 (N = 0).
    """
    if not 0.0 <= prior < float("inf"):
        raise InputError(
            f"prior counts pseudo-examples of the memory: got {prior}, expected a finite number, at least 0"
        )
    if not (mean or variance):
        raise InputError("mean=False and variance=False leave nothing to adapt")

    def mixing(rule: Estimator) -> Settle:
        def settle(place: Place, sums: Sums, examples: int) -> Statistics:
            share = prior / (prior + examples)
            source = [memory.to(sums.mean) for memory in place.memory]
            target = sums.mean, rule.variance(sums)
            shares = share if mean else 1.0, share if variance else 1.0
            moved = [part * old + (1.0 - part) * new for part, old, new in zip(shares, source, target, strict=True)]
            return moved[0], moved[1]

        return settle

    return measure_and_write(
        model,
        batches,
        title="adapting statistics",
        settle=mixing,
        method=method,
        examples=examples,
        estimator="pooled",
        correction=None,
        branch=branch,
        layers=layers,
        forward=forward,
        shared=shared,
        keep_sharing=False,
        memory=memory,
        progress=progress,
        alone=alone,
    )
