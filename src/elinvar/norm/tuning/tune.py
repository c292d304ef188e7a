"""Tuning: which weight an example should have in its own normalization, and which mix of branches predicts best."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from ...check import InputError, unknown
from ...outputs import logits_of
from ...precision import Compute
from ...views import Batch
from ..conversion.borrow import borrowed
from ..layer import Norm
from ..mixture import check_weights
from ..population.layers import at_test
from .losses import BESIDE, Metric, loss_of
from .report import Point, Tuned
from .rules import Rules, rows_meet, settle
from .search import Rows, Search


def tune(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    alphas: Iterable[float] | None = None,
    metric: str | Metric = "error",
    mix: Sequence[Mapping[str, float]] | None = None,
    combine: str = "probabilities",
    branch: str | None = None,
    beside: Sequence[str] = (),
    refine: bool = True,
    exact: bool = False,
    compute: Compute | None = None,
    apply: bool = True,
) -> Tuned:
    """Choose the weight alpha of `norm.ExampleWeighted`, and the mix of branches, on labelled examples, in one pass.

    model    any classifier; `norm.convert`ed or with torch's BatchNorm layers. It is run in eval mode, without its
             wrappers (`torch.compile`, DDP)
    batches  iterable of (images, targets, ...) or of `Batch`: validation data, not the test set and not what the model
             was trained on. Not augmented
    alphas   None: 0 to 0.5 for layers that share statistics over examples; 1 to 0.5 for a model whose layers all
             normalize each example by itself. What the model does now and the neutral value (0 or 1) are always among
             them, so that on these data tuning cannot hurt; (): leave alpha alone
    metric   "error", "negative_log_likelihood", or (logits, targets) -> (n,) losses; lower is better
    mix      weights of branches to choose from, such as `norm.mixes(("main", "aux"))`, with every alpha; None: none.
             Mixes cost nothing beyond a forward of each branch
    combine  how a mix averages: see `norm.Mixture`
    branch   that predicts before tuning, and without `mix`; None: the first
    beside   further losses whose means are told of every candidate and choose nothing: "error",
             "negative_log_likelihood", "overconfidence" (mean confidence minus accuracy)
    refine   also try values halfway to the neighbours of the alpha that does best on the first examples
    exact    compute every candidate for every example
    compute  device and number format; None: as the model is
    apply    give the model the alpha that was found, if the 95 % interval of its gain lies above 0 (`Tuned.supported`);
             False: leave it as it came (`Tuned.apply` does it later)

    Cost. Only what stands before the first normalization layer is common to two alphas, so exactness costs one
    evaluation for each. But logits as a function of alpha are close to a space of few dimensions. All candidates are
    computed for the first 256 examples; from these follow two to four alphas, the nodes, and fixed weights by which the
    logits at any other candidate are combined from those at the nodes. After that only the nodes are computed for every
    example; and, of each candidate that may still be best, the close calls, whose loss may jump within the error of the
    interpolation; and of all candidates one example in 16, which corrects the mean whatever the interpolation is worth.
    So values at the nodes are exact, means of others are unbiased, and each comes with its standard error
    (`Point.approximation`). 11 alphas cost about 3 evaluations; few examples, up to 256, are computed exactly, and so
    is everything if layers normalize by the test batch at hand. Eval mode must treat each example by itself. With
    torch.distributed each process tunes by itself: give all of them the same batches.

    The lowest mean wins, one standard error of approximation added. Everything is back as it was after an error.

    Raises `InputError` for data without targets, an unknown metric or branch, alphas outside [0, 1], logits that are
    not finite, no examples, and a model with nothing to tune.

    Source   Summers, thesis, section 4.3.1, tunes alpha with one evaluation for each value; Merchant et al. 2020,
             section 6.2, mix branches. The interpolation is ours: see `skeleton.py`.
    """
    loss = loss_of(metric)
    for name in beside:
        if name not in BESIDE:
            raise unknown("loss", name, BESIDE)
    with borrowed(model) as root, at_test(root, None):
        rules = Rules(root)
        grid = rules.grid(alphas)
        candidates = [rules.current, *(alpha for alpha in grid if alpha != rules.current)]
        names, mixes = _branches(root, branch, mix)
        if len(candidates) == len(mixes) == 1:
            raise InputError("there is nothing to tune: no layer with a memory or no alphas, and no mix of branches")
        device = next((tensor.device for tensor in root.state_dict().values()), torch.device("cpu"))
        forward = compute.forward(root) if compute is not None else _plain(root, device)
        search = Search(
            root, forward, rules, candidates, names, mixes, combine, loss, [BESIDE[name] for name in beside]
        )
        with rules.kept(), torch.no_grad():
            rows = _read(batches)
            if exact or rows_meet(root):
                search.exactly(rows)
            else:
                search.quickly(rows, refine=refine and bool(grid))
    examples = int(search.tally.count[0])
    if not examples:
        raise InputError("batches: got no examples; tuning needs some with their targets")
    tuned = _report(search, loss.name, examples, beside, lambda alpha: settle(model, alpha))
    if apply:
        tuned.apply()
    return tuned


def _branches(
    root: nn.Module, branch: str | None, mix: Sequence[Mapping[str, float]] | None
) -> tuple[list[str], list[tuple[float, ...]]]:
    """The branches that are run, and the mixes of them; the first mix is what predicts before tuning."""
    layers = [layer for layer in root.modules() if isinstance(layer, Norm)]
    known = list(dict.fromkeys(name for layer in layers for name in layer.policy.branches)) or ["main"]
    first = known[0] if branch is None else branch
    if first not in known:
        raise InputError(f"no layer has a branch {first!r} (known: {known}); convert with norm.split(branches=...)")
    for weights in mix or ():
        check_weights(root, weights)
    names = [name for name in known if name == first or any(weights.get(name) for weights in mix or ())]
    before = tuple(float(name == first) for name in names)
    others = (tuple(float(weights.get(name, 0.0)) for name in names) for weights in mix or ())
    return names, list(dict.fromkeys((before, *others)))


def _plain(root: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
    def forward(images: Tensor) -> Tensor:
        return logits_of(root(images.to(device, non_blocking=True)), len(images))

    return forward


def _read(batches: Iterable[Any]) -> Iterator[Rows]:
    if isinstance(batches, Tensor | nn.Module) or not isinstance(batches, Iterable):
        raise InputError(
            f"batches: got a {type(batches).__name__}, expected an iterable of (images, targets); for two tensors use "
            "zip(images.split(100), targets.split(100))"
        )
    for batch in batches:
        parts = (batch.images, batch.targets) if isinstance(batch, Batch) else batch
        if not isinstance(parts, tuple | list) or len(parts) < 2 or not all(isinstance(p, Tensor) for p in parts[:2]):
            raise InputError(
                f"a batch of type {type(batch).__name__}: expected (images, targets): tuning needs what is right"
            )
        images, targets = parts[:2]
        if len(images) != len(targets):
            raise InputError(f"a batch has {len(images)} images but {len(targets)} targets")
        if len(images):
            yield images, targets.cpu()


def _report(search: Search, metric: str, examples: int, beside: Sequence[str], give: Callable[[float], None]) -> Tuned:
    order = sorted(range(len(search.alphas)), key=lambda place: search.rules.distance(search.alphas[place]))
    points = {
        (place, mix): Point(
            **asdict(search.tally.estimate(place, mix)),
            alpha=search.alphas[place],
            weights=dict(zip(search.branches, search.mixes[mix], strict=True)),
            beside={
                name: tally.estimate(place, mix).value for name, tally in zip(beside, search.tallies[1:], strict=True)
            },
        )
        for mix in range(len(search.mixes))
        for place in order
    }
    before = best = points[0, 0]
    for point in points.values():  # nearest to neutral first: of equals it wins
        if point.value + point.approximation < best.value + best.approximation:
            best = point
    return Tuned(
        metric=metric,
        examples=examples,
        curve=tuple(points.values()),
        before=before,
        best=best,
        computed=tuple(search.computed),
        evaluations=search.forwards / examples,
        _give=give,
    )
