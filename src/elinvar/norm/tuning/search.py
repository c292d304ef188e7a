"""One pass over the data: the losses of all candidates, most of them from interpolated logits."""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor, nn

from ...check import InputError
from ...outputs import warn_of_probabilities
from ...rng import fold, streams
from ...routing import Routing, Trace, route
from ..mixture import mix
from .losses import Loss
from .rules import Rules, between
from .skeleton import Skeleton, skeletons, spread
from .tally import Tally

PROBE = 256  # examples of which every candidate is computed, before nodes are chosen
EVERY = 16  # of so many interpolated losses one is computed as well
CLOSE = 4.0  # a margin below so many times the interpolation's error is a close call, and is computed
TOLERANCE = 0.05  # error of an interpolated logit, in units of the logits' own spread
DOUBT = 3.0  # standard errors by which a candidate must be worse than the best to count as beaten
WAIT = 64  # examples that are computed together

Rows = tuple[Tensor, Tensor]
"""images and targets"""
Logits = Float[Tensor, "branches n classes"]
Losses = Float64[Tensor, "losses mixes n"]


class Search:
    """Candidates are pairs of an alpha and a mix of branches; the first of both is the model as it came."""

    def __init__(
        self,
        model: nn.Module,
        forward: Callable[[Tensor], Tensor],
        rules: Rules,
        alphas: Sequence[float | None],
        branches: Sequence[str],
        mixes: Sequence[Sequence[float]],
        combine: str,
        loss: Loss,
        beside: Sequence[Loss] = (),
    ) -> None:
        self.model, self.forward, self.rules, self.loss = model, forward, rules, loss
        self.alphas, self.branches, self.mixes, self.combine = list(alphas), branches, mixes, combine
        self.every = (loss, *beside)  # the first one chooses
        self.tallies = self._tallies()
        self.computed = self.alphas
        self.forwards = 0  # rows that went through the network
        self.looked = False  # at what the model returns

    def _tallies(self) -> list[Tally]:
        return [Tally(len(self.alphas), len(self.mixes), jumps=loss.margin is not None) for loss in self.every]

    @property
    def tally(self) -> Tally:
        """Of the loss that is lowered."""
        return self.tallies[0]

    def add(self, place: int, losses: Losses, base: Float64[Tensor, "losses n"], *, clear: bool = False) -> None:
        """Take in losses of a candidate, and those of the first one for the same examples."""
        for tally, own, before in zip(self.tallies, losses, base, strict=True):
            tally.add(place, own, before, clear=clear)

    def logits(self, alpha: float | None, images: Tensor) -> Logits:
        """What each branch says, computed."""
        self.rules.use(alpha)
        found = []
        for branch in self.branches:
            with route(self.model, Routing((branch,)), Trace.NOTHING):
                found.append(self.forward(images).float().cpu())
        self.forwards += len(images) * len(self.branches)
        joined = torch.stack(found)
        if not torch.isfinite(joined).all():
            where = "" if alpha is None else f" at alpha {alpha}; leave that out, or"
            count = int((~joined.isfinite()).any(2).any(0).sum())
            raise InputError(
                f"the model's logits hold NaN or infinite values for {count} of {len(images)} images{where}; check "
                "weights and images"
            )
        if not self.looked:
            self.looked = True
            warn_of_probabilities(joined, "the model's outputs")
        return joined

    def scores(self, logits: Logits) -> Iterator[Float[Tensor, "n classes"]]:
        """The predictions of every mix, as logits."""
        return (mix(logits, weights, self.combine) for weights in self.mixes)

    def losses(self, logits: Logits, targets: Tensor) -> Losses:
        """The losses of every mix."""
        scores = list(self.scores(logits))
        return torch.stack([torch.stack([loss(of, targets) for of in scores]) for loss in self.every])

    def exactly(self, rows: Iterator[Rows]) -> None:
        """Compute every candidate of every example, batch by batch as they come."""
        for images, targets in rows:
            found = [self.losses(self.logits(alpha, images), targets) for alpha in self.alphas]
            self._add_all(found)

    def quickly(self, rows: Iterator[Rows], *, refine: bool) -> None:
        """Compute every candidate of the first examples, then only what cannot be interpolated."""
        first, rest = _head(rows, PROBE)
        if not first:
            return
        images, targets = (torch.cat(parts) for parts in zip(*first, strict=True))
        snapshots = [self._in_parts(alpha, images) for alpha in self.alphas]
        found = [self.losses(logits, targets) for logits in snapshots]
        if refine:
            for alpha in self._halfway(found):
                self.alphas.append(alpha)
                snapshots.append(self._in_parts(alpha, images))
                found.append(self.losses(snapshots[-1], targets))
            self.tallies = self._tallies()
        self._add_all(found)
        chosen: Quick | None = None
        for images, targets in rest:
            if chosen is None:
                lowered = torch.stack([losses[0] for losses in found])
                chosen = self._choose(torch.stack(snapshots), lowered, torch.cat([t for _, t in first]))
                self.computed = [self.alphas[node] for node in chosen.skeleton.nodes]
                del snapshots, first
            chosen.see(images, targets)
        if chosen is not None:
            chosen.finish()

    def _in_parts(self, alpha: float | None, images: Tensor) -> Logits:
        return torch.cat([self.logits(alpha, part) for part in torch.split(images, WAIT)], dim=1)

    def _add_all(self, found: Sequence[Losses]) -> None:
        for place, losses in enumerate(found):
            self.add(place, losses, found[0][:, 0])

    def _halfway(self, found: Sequence[Losses]) -> list[float]:
        """Alphas next to the one that did best so far."""
        if len(self.alphas) < 2:
            return []
        best = min(range(len(self.alphas)), key=lambda place: float(found[place][0].mean(1).min()))
        known = [self.rules.distance(alpha) for alpha in self.alphas]
        return [self.rules.at(distance) for distance in between(known, known[best])]

    def _choose(self, snapshots: Float[Tensor, "alphas branches n classes"], found: Tensor, targets: Tensor) -> "Quick":
        """The skeleton whose whole cost is the least, of those that are good enough for what may still be best."""
        able = contenders(found)
        wanted = [place for place in range(1, len(self.alphas)) if able[place].any()]
        enough = TOLERANCE * float(spread(snapshots[0]).square().mean().sqrt())
        best, least = None, torch.inf
        for skeleton in skeletons(snapshots, wanted):
            quick = Quick(self, skeleton, able)
            if len(skeleton.nodes) >= least:
                break
            cost = quick.cost(snapshots[list(skeleton.nodes)], targets)
            complete = set(wanted) <= set(skeleton.nodes)
            if cost < least and (complete or max(skeleton.reach[place] for place in wanted) <= enough):
                best, least = quick, cost
        assert best is not None, "the last skeleton is good enough for all that are wanted"
        for tally in self.tallies:
            tally.alike = able
        return best


class Quick:
    """Losses from a skeleton; those that it may have wrong are computed, and a sample of the others too."""

    def __init__(self, search: Search, skeleton: Skeleton, able: Bool[Tensor, "alphas mixes"]) -> None:
        self.search, self.skeleton, self.able = search, skeleton, able
        self.others = [place for place in range(len(search.alphas)) if place not in skeleton.nodes]
        self.waiting: dict[int, list[tuple[Tensor, ...]]] = {place: [] for place in self.others}
        self.seen = 0

    def cost(self, logits: Float[Tensor, "nodes branches n classes"], targets: Tensor) -> float:
        """Forwards for each example, as far as these examples tell."""
        close = (self._close(place, self.skeleton.guess(place, logits), targets) for place in self.others)
        return len(self.skeleton.nodes) + sum(float(rows.double().mean()) + 1 / EVERY for rows in close)

    def see(self, images: Tensor, targets: Tensor) -> None:
        """Take in a batch."""
        search = self.search
        logits = torch.stack([search.logits(search.alphas[node], images) for node in self.skeleton.nodes])
        exact = [search.losses(of, targets) for of in logits]
        base = exact[0][:, 0]
        for node, losses in zip(self.skeleton.nodes, exact, strict=True):
            search.add(node, losses, base)
        for place in self.others:
            guess = self.skeleton.guess(place, logits)
            losses, close = search.losses(guess, targets), self._close(place, guess, targets)
            search.add(place, losses[..., ~close], base[:, ~close], clear=True)
            again = close | self._pick(place, len(images))
            if again.any():
                on = again.to(images.device)
                rows = images[on], targets[again], losses[..., again].movedim(2, 0), base[:, again].T, close[again]
                self.waiting[place].append(rows)
                if sum(len(part[0]) for part in self.waiting[place]) >= WAIT:
                    self._compute(place)
        self.seen += len(images)

    def finish(self) -> None:
        """Compute what still waits."""
        for place in self.others:
            if self.waiting[place]:
                self._compute(place)

    def _compute(self, place: int) -> None:
        images, targets, guessed, base, close = (torch.cat(parts) for parts in zip(*self.waiting[place], strict=True))
        self.waiting[place] = []
        losses = self.search.losses(self.search.logits(self.search.alphas[place], images), targets)
        self.search.add(place, losses[..., close], base.T[:, close])
        for tally, off in zip(self.search.tallies, losses - guessed.movedim(0, 2), strict=True):
            tally.sample(place, off[:, ~close])

    def _close(self, place: int, guess: Logits, targets: Tensor) -> Bool[Tensor, " n"]:
        """Examples whose loss may jump within the error of the guess, of candidates that may still be best."""
        near = torch.zeros(len(targets), dtype=torch.bool)
        margin = self.search.loss.margin
        if margin is not None and self.able[place].any():
            for able, scores in zip(self.able[place], self.search.scores(guess), strict=True):
                if able:
                    near |= margin(scores, targets) < CLOSE * self.skeleton.reach[place]
        return near

    def _pick(self, place: int, count: int) -> Bool[Tensor, " n"]:
        """One example of every `EVERY`, at random: the order of the data may repeat itself."""
        places = torch.arange(self.seen, self.seen + count)
        return streams(fold("tune", place), places // EVERY) % EVERY == places % EVERY


def contenders(losses: Float64[Tensor, "alphas mixes n"]) -> Bool[Tensor, "alphas mixes"]:
    """Candidates that are not worse than the best by more than `DOUBT` standard errors, example by example."""
    flat = losses.flatten(0, 1)
    worse = flat - flat[flat.mean(1).argmin()]
    error = worse.std(1) / len(worse[0]) ** 0.5 if worse.shape[1] > 1 else torch.full_like(worse[:, 0], torch.inf)
    return (worse.mean(1) <= DOUBT * error).view(losses.shape[:2])


def _head(rows: Iterator[Rows], count: int) -> tuple[list[Rows], Iterator[Rows]]:
    """The first `count` examples, and an iterator over the others."""
    first: list[Rows] = []
    left = count
    for images, targets in rows:
        first.append((images[:left], targets[:left]))
        if len(images) >= left:
            return first, _chain((images[left:], targets[left:]), rows)
        left -= len(images)
    return first, iter(())


def _chain(tail: Rows, rows: Iterator[Rows]) -> Iterator[Rows]:
    if len(tail[0]):
        yield tail
    yield from rows
