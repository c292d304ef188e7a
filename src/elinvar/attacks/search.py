"""The one loop behind every attack: start, estimate, move, project; again from other starts; stop where it is done."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..rng import bits
from .estimator import Estimator
from .goal import Goal
from .rules import Rule, State
from .threat import Bounds, Threat


@dataclass(frozen=True)
class Search:
    """How to look for a point that reaches a goal.

    random_start   begin anywhere in the threat's ball, else at the image
    restarts       how often; the best end of each example counts
    stop           leave an example alone as soon as the goal is reached
    """

    threat: Threat
    estimator: Estimator
    rule: Rule
    steps: int
    bounds: Bounds
    random_start: bool
    restarts: int
    stop: bool

    def __call__(
        self, goal: Goal, images: Float[Tensor, "n c h w"], streams: Int64[Tensor, " n"]
    ) -> Float[Tensor, "n c h w"]:
        """The points found, each in its image's place. Restart r takes draw r of an example's stream as its own."""
        rows = torch.arange(len(images), device=images.device)
        found = images.clone()
        if self.stop and self.random_start:  # a start at the image sees this in its first step
            rows = rows[~goal.reached(goal.look(images))]
        best: Tensor | None = None
        for restart in range(self.restarts):
            if not len(rows):
                break
            whole = len(rows) == len(images)
            here = goal if whole else goal.at(rows)
            stream = _child(streams[rows], restart)
            points = self._climb(here, images if whole else images[rows], stream)
            if self.restarts == 1:
                return points if whole else found.index_copy_(0, rows, points)
            logits = here.look(points)
            value, reached = here.value(logits), here.reached(logits)
            if best is None:
                best = value.new_full((len(images), 2), -torch.inf)
            score = torch.stack([reached.to(value), value.nan_to_num(-torch.inf)], 1)
            old = best[rows]
            better = (score[:, 0] > old[:, 0]) | ((score[:, 0] == old[:, 0]) & (score[:, 1] > old[:, 1]))
            best[rows[better]] = score[better]
            found[rows[better]] = points[better]
            if self.stop:
                rows = rows[~reached]
        return found

    def _climb(
        self, goal: Goal, images: Float[Tensor, "n c h w"], stream: Int64[Tensor, " n"]
    ) -> Float[Tensor, "n c h w"]:
        """The end of one ascent: draw 0 of a stream is its start's, draw t + 1 that of step t."""
        inside = self.threat.around(images, self.bounds)
        points = images.clone()
        if self.random_start:
            points = inside(points.add_(self.threat.start(images, _child(stream, 0))))
        rows = torch.arange(len(images), device=images.device)
        state: State = ()
        found: Tensor | None = None
        for number in range(self.steps):
            seen = self.estimator(goal, points, _child(stream, number + 1), self.stop)
            if seen.gradient is None:
                break
            gradient = seen.gradient
            if seen.reached is not None and bool(seen.reached.any()):
                found = points.clone() if found is None else found.index_copy_(0, rows, points)
                left = ~seen.reached
                rows, images, stream, goal = rows[left], images[left], stream[left], goal.at(left)
                points, gradient, state = points[left], gradient[left], tuple(part[left] for part in state)
                inside = self.threat.around(images, self.bounds)
            move, state = self.rule(self.threat, gradient, state, number)
            points = inside(points.add_(move))
        return points if found is None else found.index_copy_(0, rows, points)


def _child(stream: Int64[Tensor, " n"], number: int) -> Int64[Tensor, " n"]:
    """A stream of its own for each example, which draw `number` of its stream names."""
    return bits(stream, 1, number).squeeze(1)
