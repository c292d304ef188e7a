"""Joint: all layers in one forward, each normalized by the batch at hand; cheap, and approximate in depth.

A layer's input depends on how examples were grouped in the layers before it; the error grows with depth and falls with
the size of the batches, as 3 / (B + 1) in the simplest case.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from ...check import InputError
from .estimator import Tally
from .feed import rows
from .layers import Place, Statistics, observed
from .measure import moments_of
from .task import Measured, Task


def joint(task: Task, batches: Iterable[Any], *, examples: int | None) -> Measured:
    """Measure while each batch is normalized by its own moments; layers in training mode normalize as they will."""
    tallies: dict[Place, Tally] = {}
    calls: Counter[Place] = Counter()
    most: Counter[Place] = Counter()
    share = task.ranks.share(examples)

    def see(place: Place, x: Tensor) -> Statistics | None:
        if not x.numel():
            return None
        calls[place] += 1
        if calls[place] > 1:
            task.called_again(place)
        seen = moments_of(x)
        if seen.count == 1:
            raise InputError(
                f"layer {place.name!r} got one value of each channel in a batch, which has no variance; "
                "leave out batches of one example (drop_last=True), or use method='layerwise'"
            )
        if place not in tallies:
            tallies[place] = Tally(task.estimator, place.name)
        tallies[place].add(seen)
        if place.layer.training:
            return None
        mean, variance = place.memory
        return seen.mean.to(mean), (seen.squares / seen.count).to(variance)

    sizes: list[int] = []
    for kept in task.feed.read(batches, share):
        calls.clear()
        with observed(task.places, see):  # not while the next batch is made, perhaps with this very model
            task.feed.run(task.root, kept)
        for place, count in calls.items():
            most[place] = max(most[place], count)
        sizes.append(rows(kept))
        task.meter(sum(sizes), share, f"batch {len(sizes)}")
    numbers = {place: number for number, place in enumerate(task.places)}
    mine = {numbers[place]: tally.total() for place, tally in tallies.items()}  # raises in the order of the forward
    if task.ranks.size > 1:
        mine = {number: sums.cpu() for number, sums in mine.items()}
    everyone = task.ranks.gather((mine, sizes, {numbers[place]: count for place, count in most.items()}))
    batches_of_all = tuple(size for _, sizes, _ in everyone for size in sizes)
    if not batches_of_all:
        raise InputError("batches: got no examples; an iterator that was used up gives none a second time")
    sums = {
        place: task.estimator.merge(parts)
        for number, place in enumerate(task.places)
        if (parts := [of_rank[number] for of_rank, _, _ in everyone if number in of_rank])
    }
    written = {place: task.settle(place, some, sum(batches_of_all)) for place, some in sums.items()}
    often = {place: max(most.get(number, 0) for *_, most in everyone) for number, place in enumerate(task.places)}
    return Measured(sums, written, batches_of_all, often)
