"""Precise statistics: a fixed model's own moments over many examples, in place of a moving average."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from .estimator import Estimator, Sums
from .feed import Forward
from .layers import Place, Statistics
from .meter import Meter
from .procedure import measure_and_write
from .report import PopulationReport
from .task import Settle


def precise(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    method: str = "joint",
    examples: int | None = None,
    estimator: str = "pooled",
    correction: int | None = None,
    branch: str | None = None,
    layers: Sequence[str] | None = None,
    forward: Forward | None = None,
    shared: str = "error",
    keep_sharing: bool = False,
    memory: int | None = None,
    progress: bool | Meter = False,
    alone: bool = False,
) -> PopulationReport:
    """Measure each normalization layer's mean and variance over a population, and write them into its memory.

        joint       one forward for each batch, normalized by that batch; the error grows with depth and falls with the
                    size B of the batches, relative about 3 / (B + 1): use B of 100 or more
        layerwise   each layer sees inputs that are normalized by the final statistics of all before it: exact, as if
                    the population were one batch, whatever B; `model.train()` and `.eval()` then agree on it

    model         any model with torch's BatchNorm layers, subclasses of them, or `Norm`; those that are frozen (by
                  `norm.freeze`, or in eval mode while the model itself trains) or without memory are left alone
    batches       iterable of image tensors, of (images, ...), of mappings, or of anything that `forward` takes.
                  Shuffled and augmented as in training: statistics are to match what the weights were trained on
    examples      how many to take, on all workers together; None: all. 1,000 to 10,000 are enough
    estimator     "pooled": variance over all values (Eq. 2); "batches": mean of the variances within batches, each
                  batch alike (Eq. 3; torch's moving average), which misses what differs between batches
    correction    0 divides by n, so that train and eval agree; 1 by n - 1, without bias. None: 0 for "pooled", 1 for
                  "batches", as the paper has them
    branch        whose memory is measured, of layers with several; None: that of an enclosing `norm.branch`, or the
                  first
    layers        patterns of names, as in `fnmatch`; others keep their memory and normalize by it
    forward       (model, batch) -> anything, where a batch is not simply images for the model
    shared        a layer that runs several times in one forward is an "error", or its calls "pool" their moments
                  (layerwise: each call is normalized by its own, and only the memory is pooled)
    keep_sharing  joint only: normalize as the `Norm` layers share statistics in training (ghosts, workers); by default
                  the whole batch shares, because grouping belongs to training. Layers that normalize each example by
                  itself (converted from `nn.GroupNorm`) always go on doing so while they are measured
    memory        layerwise only: bytes of tensors that forwards may keep while they wait for each other, on a CPU
                  about half of what the process then takes; None: a quarter of what is free, or half of a GPU's. What
                  does not fit is computed again, 0 computes everything again (cost quadratic in depth)
    progress      True shows a bar on a terminal; or a callback (done, total, note)
    alone         measure in this process only, though torch.distributed is initialized

    Everything but the measured layers runs in eval mode, in the number format of the surrounding `torch.autocast`, on
    the model's device. Moments are pooled in float64. Modes, hooks and torch's random state come back as they were,
    also after an error, and the memory is written at the very end, all at once; `num_batches_tracked` stays. A layer
    that no forward reaches keeps its memory, and the report names it.

    With torch.distributed every worker brings its own batches (some may bring none) and gets the same bits. For a
    model in DistributedDataParallel or torch.compile, or with compiled parts, the module inside is run.

    Layerwise keeps the batches, and runs each on a thread of its own, one at a time. A model that keeps something of a
    batch between its layers is recognized, and measured by forwards of its own.

    Raises `InputError` for what cannot be measured, NaN and infinite inputs (naming the first layer) among it; warns
    when the batches give fewer than `examples`, and when layerwise has to compute much again.

    Source   Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3 and appendices A.1 to A.3. There exact
             statistics cost a forward for each layer; here one forward in all, paused at every layer. fvcore's
             `update_bn_stats` reads batches' statistics from the layers' memory, and differs per worker.
    """
    return measure_and_write(
        model,
        batches,
        title="precise statistics",
        settle=_measured,
        method=method,
        examples=examples,
        estimator=estimator,
        correction=correction,
        branch=branch,
        layers=layers,
        forward=forward,
        shared=shared,
        keep_sharing=keep_sharing,
        memory=memory,
        progress=progress,
        alone=alone,
    )


def _measured(rule: Estimator) -> Settle:
    def settle(place: Place, sums: Sums, examples: int) -> Statistics:
        return sums.mean, rule.variance(sums)

    return settle
