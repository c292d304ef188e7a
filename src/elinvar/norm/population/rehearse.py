"""Before measuring layer by layer: a few examples show what a pause keeps, and whether forwards disturb each other."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from .feed import cut, rows
from .layers import Place, Statistics, observed
from .live import LiveSet
from .suspend import Ambient, Run
from .task import Task

Key = tuple[Place, int]
"""a layer, and how often it ran before in the same forward"""
FEW = 2  # examples


@dataclass(frozen=True)
class Rehearsal:
    """What a forward of a few examples showed.

    live          bytes for each example that stay alive while a forward is paused before each layer, in its order
    independent   whether two forwards can be interleaved: the model keeps nothing of a batch outside of its forward
    """

    live: Mapping[Key, float]
    independent: bool


def rehearse(task: Task, batches: Sequence[Any]) -> Rehearsal:
    """Run a few examples of the first two batches, one after the other and in turns; the memory normalizes them.

    Raises `InputError` for a layer that runs several times where calls are not pooled.
    """
    few = [cut(kept, FEW) for kept in batches[:2]]
    live: dict[Key, float] = {}
    calls: Counter[Place] = Counter()
    tracked = LiveSet(task.root)

    def look(place: Place, x: Tensor) -> Statistics | None:
        calls[place] += 1
        if calls[place] > 1:
            task.called_again(place)
        live[place, calls[place] - 1] = tracked.bytes() / rows(few[0])
        return None

    with observed(task.places, look), tracked:
        first = task.feed.run(task.root, few[0])
    if len(few) < 2:
        return Rehearsal(live, True)
    with observed(task.places, lambda place, x: None):
        apart = first, task.feed.run(task.root, few[1])
    return Rehearsal(live, all(map(_same, apart, _in_turns(task, few))))


def _in_turns(task: Task, few: Sequence[Any]) -> list[object]:
    """Outputs of forwards that take turns at every layer."""
    out: list[object] = [None] * len(few)
    running: list[Run] = []
    current = 0

    def work(number: int) -> None:
        out[number] = task.feed.run(task.root, few[number])

    def pause(place: Place, x: Tensor) -> Statistics | None:
        running[current].pause()
        return None

    ambient = Ambient(task.feed.device)
    try:
        running += [Run(lambda number=number: work(number), ambient) for number in range(len(few))]  # type: ignore[misc]
        with observed(task.places, pause):
            while not all(run.over for run in running):
                for current, run in enumerate(running):  # noqa: B007
                    if not run.over:
                        run.resume()
    finally:
        for run in running:
            run.cancel()
    return out


def _same(a: object, b: object) -> bool:
    ours, theirs = ([leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)] for out in (a, b))
    return len(ours) == len(theirs) and all(map(_close, ours, theirs))


def _close(a: Tensor, b: Tensor) -> bool:
    """Equal but for a kernel's choice of order; NaN is left to the measurement, which names its layer."""
    if a.shape != b.shape or not a.is_floating_point() or not a.numel():
        return torch.equal(a, b)
    a, b = a.nan_to_num(), b.nan_to_num()
    return bool((a - b).abs().max() <= torch.finfo(a.dtype).eps ** 0.5 * a.abs().max())
