"""What `precise` and `adapt` have in common: find the layers, measure, write all at once, report."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from ...check import InputError, unknown
from ..conversion.borrow import BATCH_NORM, bare
from ..layer import Norm
from .estimator import Estimator, Sums
from .feed import Feed, Forward
from .joint import joint
from .layers import Place, Statistics, at_test, branch_of, find
from .layerwise import layerwise
from .meter import Meter, metered
from .ranks import Ranks
from .report import LayerReport, PopulationReport
from .task import Measured, Settle, Task

METHODS = ("joint", "layerwise")
Saved = dict[str, tuple[str | None, Statistics]]
"""name of a layer -> the branch that was measured, its former mean and variance"""


def measure_and_write(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    title: str,
    settle: Callable[[Estimator], Settle],
    method: str,
    examples: int | None,
    estimator: str,
    correction: int | None,
    branch: str | None,
    layers: Sequence[str] | None,
    forward: Forward | None,
    shared: str,
    keep_sharing: bool,
    memory: int | None,
    progress: bool | Meter,
    alone: bool,
) -> PopulationReport:
    """Measure the population statistics of `model` and write what `settle` makes of them. See `precise`."""
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if shared not in ("error", "pool"):
        raise unknown("way to treat shared layers", shared, ("error", "pool"))
    if examples is not None and examples < 1:
        raise InputError(f"examples: got {examples}, expected at least 1, or None for all that the batches give")
    if keep_sharing and method == "layerwise":
        raise InputError("layerwise statistics do not depend on how examples share a batch; leave keep_sharing out")
    if memory is not None and (method == "joint" or memory < 0):
        raise InputError(f"memory: got {memory}, expected at least 0 bytes, and only for method='layerwise'")
    rule = Estimator(estimator, int(estimator == "batches") if correction is None else correction)
    ranks = Ranks(alone)
    with bare(model) as root:
        found = find(root, layers, branch)
        feed = Feed(root, forward)
        devices = [feed.device] if feed.device.type == "cuda" else []
        with (
            torch.no_grad(),
            torch.random.fork_rng(devices),
            at_test(root, branch),
            metered(progress, title, first=ranks.rank == 0) as meter,
        ):
            task = Task(root, found.measured, feed, rule, settle(rule), shared == "pool", ranks, meter)
            for place in found.measured:
                place.layer.training = place.by_example or (keep_sharing and isinstance(place.layer, Norm))
            try:
                if method == "layerwise":
                    measured = layerwise(task, batches, examples=examples, budget=memory)
                else:
                    measured = joint(task, batches, examples=examples)
            except Exception as error:
                ranks.fail(error)
                raise
        if not measured.sums:
            names = [place.name for place in found.measured]
            raise InputError(f"no forward reached any of the layers {names}; nothing was written")
        total = sum(measured.batches)
        if examples is not None and total < examples:
            warnings.warn(f"examples: {examples} were asked for, the batches gave {total}", stacklevel=3)
        saved = _saved([place for place in found.measured if place in measured.sums], branch)
        reports = tuple(_layer_report(place, measured, rule) for place in found.measured if place in measured.sums)
        _copy((place.memory, measured.written[place]) for place in measured.sums)
    return PopulationReport(
        method=method,
        examples=total,
        batches=measured.batches,
        layers=reports,
        unused=tuple(place.name for place in found.measured if place not in measured.sums),
        frozen=found.frozen,
        forgetful=found.forgetful,
        passes=measured.passes,
        _undo=lambda: _undo(model, saved),
    )


def _saved(places: Sequence[Place], branch: str | None) -> Saved:
    return {
        place.name: (
            branch_of(place.layer, branch) if isinstance(place.layer, Norm) else None,
            (place.memory[0].clone(), place.memory[1].clone()),
        )
        for place in places
    }


def _undo(model: nn.Module, saved: Saved) -> None:
    with bare(model) as root:
        there = dict(root.named_modules())
        memories = {name: _memory(there.get(name), branch) for name, (branch, _) in saved.items()}
        gone = [name for name, memory in memories.items() if memory is None]
        if gone:
            raise InputError(f"cannot undo: the model has changed, its layers {gone} are gone or have no memory")
        _copy((memory, saved[name][1]) for name, memory in memories.items() if memory is not None)


def _memory(layer: nn.Module | None, branch: str | None) -> Statistics | None:
    """The memory of `branch` as the layer is now; of its first branch where it is new to branches."""
    bank: Any = layer if isinstance(layer, BATCH_NORM) else None
    if isinstance(layer, Norm):
        known = layer.policy.branches
        bank = layer.bank(branch if branch in known else known[0])
    return None if bank is None or bank.running_mean is None else (bank.running_mean, bank.running_var)


def _copy(pairs: Iterable[tuple[Statistics, Statistics]]) -> None:
    with torch.no_grad():
        for memory, written in pairs:
            for tensor, value in zip(memory, written, strict=True):
                tensor.copy_(value)


def _layer_report(place: Place, measured: Measured, rule: Estimator) -> LayerReport:
    sums: Sums = measured.sums[place]
    old_mean, old_variance = (tensor.double().cpu() for tensor in place.memory)
    mean, variance = (tensor.double().cpu() for tensor in measured.written[place])
    spread = (variance + place.layer.eps).sqrt()
    return LayerReport(
        name=place.name,
        count=sums.count,
        calls=measured.calls[place],
        partial=place in measured.partial,
        shift=(old_mean - mean).abs() / spread,
        ratio=(old_variance + place.layer.eps) / (variance + place.layer.eps),
        standard_error=rule.standard_error(sums).cpu() / spread,
    )
