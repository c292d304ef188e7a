"""Layer by layer: each layer is measured while all layers before it normalize by their final statistics.

A layer's input then does not depend on how examples are grouped, so batches of any size show the same moments as the
whole population in one batch.

All batches go through the model side by side, each a paused forward: at a layer each of them is measured and waits for
the last, then all go on with what the layer is to remember. So every operation runs once for every example, and skips,
branches and concatenations need no care: they are variables of paused frames. A forward that would keep more than the
budget is dropped instead, and computed again up to the next layer; with a budget of nothing every layer costs one
forward up to it, as in the paper.

Source   Wu and Johnson 2021, appendix A.3, where the cost is quadratic in depth.
"""

import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ...check import InputError
from .estimator import Sums, Tally
from .feed import rows
from .layers import Place, Statistics, observed
from .live import free_memory
from .measure import moments_of
from .rehearse import Key, Rehearsal, rehearse
from .suspend import Ambient, Cancelled, Run
from .task import Measured, Task

PAUSED = 1000  # forwards at most; each is a thread
THREADS = 4096  # of the system: on a CPU each forward has a pool of its own for parallel kernels


def layerwise(task: Task, batches: Iterable[Any], *, examples: int | None, budget: int | None) -> Measured:
    """Measure layer by layer; paused forwards keep up to `budget` bytes (None: see `_room`)."""
    kept = _load(task, batches, task.ranks.share(examples))
    limit = min(PAUSED, THREADS // torch.get_num_threads()) if task.feed.device.type == "cpu" else PAUSED
    if len(kept) > limit:
        kept = task.feed.join(kept, -(-sum(map(rows, kept)) // limit))
    everyone = task.ranks.gather([rows(some) for some in kept])
    sizes = tuple(size for of_rank in everyone for size in of_rank)
    if not sizes:
        raise InputError("batches: got no examples; an iterator that was used up gives none a second time")
    shown = rehearse(task, kept) if kept else Rehearsal({}, True)
    if budget is None:
        budget = _room(task, task.feed.device)
    if not shown.independent:
        budget = 0
        warnings.warn(
            "forwards of this model disturb each other (a module keeps something of a batch between layers, or draws "
            "random numbers): every layer is measured by forwards of its own, at a cost that is quadratic in depth",
            stacklevel=4,
        )
    elif (forwards := _forwards(list(shown.live.values()), sum(map(rows, kept)), budget)) > 1.5:
        need = max(shown.live.values()) * sum(map(rows, kept))
        warnings.warn(
            f"paused forwards would keep up to {need / 1e9:.2f} GB, the budget is {budget / 1e9:.2f} GB: what does not "
            f"fit is computed again, about {forwards:.1f} forwards in all; use fewer examples, or a larger memory=...",
            stacklevel=4,
        )
    return _Barrier(task, kept, sizes, shown, budget, limit).run()


def _room(task: Task, device: torch.device) -> int:
    """What tensors may take: half of a GPU's free memory; of a CPU's a quarter, in equal parts for the workers.

    The C library keeps about as much again: memory that one thread has freed is not at once another's.
    """
    return free_memory(device) // (4 * task.ranks.size if device.type == "cpu" else 2)


def _forwards(live: list[float], examples: int, budget: float) -> float:
    """The cost to expect: from a layer to the next, or to the end, those that fit go on, the others begin again."""
    cost = 1.0
    for layer, size in enumerate(live):
        fit = min(1.0, budget / max(size * examples, 1.0))
        cost += fit + (1.0 - fit) * (layer + 2)
    return cost / (len(live) + 1)


def _load(task: Task, batches: Iterable[Any], share: int | None) -> list[Any]:
    """All batches, which later layers need again, while there is room for them."""
    kept, examples, held, room = [], 0, 0, _room(task, torch.device("cpu"))
    for some in task.feed.read(batches, share):
        kept.append(some)
        examples += rows(some)
        held += sum(leaf.nbytes for leaf in tree_leaves(some) if isinstance(leaf, Tensor))
        task.meter(0, None, f"loading, {examples:,} examples")
        if held > room:
            raise InputError(
                f"the images alone take more than {room / 1e9:.1f} GB, a quarter of the free memory; give examples=... "
                "(1,000 to 10,000 are enough), or use method='joint'"
            )
    return kept


@dataclass(eq=False)
class _Batch:
    """A batch on its way: its forward (None: not begun, dropped or over), where it waits, and what the wait keeps."""

    kept: Any
    number: int
    run: Run | None = None
    waits: Key | None = None
    over: bool = False
    bytes: float = 0.0
    calls: Counter[Place] = field(default_factory=Counter)


class _Barrier:
    def __init__(
        self, task: Task, kept: list[Any], sizes: tuple[int, ...], shown: Rehearsal, budget: int, limit: int
    ) -> None:
        self.task, self.sizes, self.shown, self.budget, self.limit = task, sizes, shown, budget, limit
        self.batches = [_Batch(some, number) for number, some in enumerate(kept)]
        self.numbers = {place: number for number, place in enumerate(task.places)}
        self.ambient = Ambient(task.feed.device)
        self.tallies: dict[Key, Tally] = {}
        self.reached: dict[Key, set[int]] = {}  # batches that a layer was measured by
        self.sums: dict[Key, Sums] = {}
        self.final: dict[Key, Statistics] = {}
        self.partial: set[Place] = set()
        self.current = _Batch(None, -1)
        self.held, self.paused = 0.0, 0  # bytes and number of paused forwards
        self.visits = self.wanted = 0  # rows that went through layers, and that had to

    def run(self) -> Measured:
        """Rounds: bring every batch to the next layer that is not final, then finish one layer on all workers."""
        try:
            with observed(self.task.places, self.see):
                while True:
                    for batch in self.batches:
                        if not batch.over and (batch.waits is None or batch.waits in self.final):
                            self.advance(batch)
                    if not self.finish():
                        break
        finally:
            for batch in self.batches:
                if batch.run is not None:
                    batch.run.cancel()
        return self.measured()

    def advance(self, batch: _Batch) -> None:
        """Go on, or begin again, until the forward waits, is dropped, or ends."""
        batch.waits, self.current = None, batch
        if batch.run is None:
            batch.calls.clear()
            batch.run = Run(lambda: self.task.feed.run(self.task.root, batch.kept), self.ambient)
        else:
            self.held -= batch.bytes
            self.paused -= 1
        if not batch.run.resume():
            batch.run = None
            batch.over = batch.waits is None

    def see(self, place: Place, x: Tensor) -> Statistics | None:
        """On the thread of the current batch, of which only one runs at a time."""
        batch = self.current
        key = place, batch.calls[place]
        batch.calls[place] += 1
        if key[1] > 0:
            self.task.called_again(place)
        if not x.numel():
            return None
        self.visits += len(x)
        reached = self.reached.setdefault(key, set())
        if key not in self.final:
            if key not in self.tallies:
                self.tallies[key] = Tally(self.task.estimator, place.name)
            self.tallies[key].add(moments_of(x))
            reached.add(batch.number)
            self.wanted += len(x)
            self.wait(batch, key)
        elif batch.number not in reached:
            self.wanted += len(x)
            self.partial.add(place)
        return None if place.layer.training else self.final[key]

    def wait(self, batch: _Batch, key: Key) -> None:
        live = self.shown.live
        batch.waits = key
        batch.bytes = rows(batch.kept) * live.get(key, max(live.values(), default=0.0))
        if self.held + batch.bytes >= self.budget or self.paused >= self.limit:
            raise Cancelled  # measured here, but may not wait here
        self.held += batch.bytes
        self.paused += 1
        assert batch.run is not None
        batch.run.pause()

    def finish(self) -> bool:
        """Settle one layer that batches wait at, the first in the model's order; False if none waits anywhere."""
        waiting = {batch.waits for batch in self.batches if batch.waits is not None}
        mine = {(self.numbers[place], call): self.tallies[place, call].total() for place, call in waiting}
        if self.task.ranks.size > 1:
            mine = {key: sums.cpu() for key, sums in mine.items()}
        everyone = self.task.ranks.gather(mine)
        keys = {key for of_rank in everyone for key in of_rank}
        if not keys:
            return False
        number, call = min(keys)
        place = self.task.places[number]
        parts = [of_rank[number, call] for of_rank in everyone if (number, call) in of_rank]
        self.sums[place, call] = self.task.estimator.merge(parts)
        self.final[place, call] = self.statistics(place, self.sums[place, call])
        self.tallies.pop((place, call), None)
        done, layers = len(self.final), max(len(self.shown.live), len(self.final))
        self.task.meter(done * sum(self.sizes), layers * sum(self.sizes), place.name)
        return True

    def statistics(self, place: Place, sums: Sums) -> Statistics:
        mean, variance = place.memory
        settled = self.task.settle(place, sums, sum(self.sizes))
        return settled[0].to(mean), settled[1].to(variance)

    def measured(self) -> Measured:
        """The calls of one layer are normalized one by one, but remembered together."""
        by_place: dict[Place, list[Sums]] = {}
        for place, call in sorted(self.sums, key=lambda key: (self.numbers[key[0]], key[1])):
            by_place.setdefault(place, []).append(self.sums[place, call])
        sums = {place: self.task.estimator.merge(parts) for place, parts in by_place.items()}
        written = {place: self.statistics(place, some) for place, some in sums.items()}
        calls = {place: len(parts) for place, parts in by_place.items()}
        everyone = self.task.ranks.gather((self.visits, self.wanted, {self.numbers[place] for place in self.partial}))
        visits, wanted = sum(mine for mine, *_ in everyone), sum(mine for _, mine, _ in everyone)
        partial = frozenset(self.task.places[number] for *_, some in everyone for number in some)
        return Measured(sums, written, self.sizes, calls, partial, visits / max(wanted, 1))
