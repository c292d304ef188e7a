"""Losses of single examples: what tuning minimizes the mean of, and how near each is to a jump."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ...check import InputError, unknown

Metric = Callable[[Tensor, Tensor], Tensor]
"""(logits of shape (n, classes), targets) -> (n,) losses, lower is better"""


@dataclass(frozen=True)
class Loss:
    """A loss of each example.

    of      (scores, targets) -> (n,)
    margin  (scores, targets) -> (n,): how far logits may move before the loss jumps; None for one that is smooth
    """

    name: str
    of: Metric
    margin: Metric | None

    def __call__(self, scores: Float[Tensor, "n classes"], targets: Tensor) -> Float64[Tensor, " n"]:
        values = self.of(scores, targets)
        if not isinstance(values, Tensor) or values.shape != scores.shape[:1]:
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise InputError(
                f"metric {self.name!r} gave {got} for {len(scores)} examples; expected a tensor with the loss of each"
            )
        return values.detach().double().cpu()


def loss_of(metric: str | Metric) -> Loss:
    """The loss called `metric`, or one of the user's own; raises `InputError` for another name."""
    if callable(metric):
        return Loss(getattr(metric, "__name__", type(metric).__name__), metric, _gap_of_top)
    if metric not in LOSSES:
        raise unknown("metric", metric, LOSSES)
    return LOSSES[metric]


def _wrong(scores: Tensor, targets: Tensor) -> Tensor:
    return scores.argmax(1) != _classes(scores, targets)


def _negative_log_likelihood(scores: Tensor, targets: Tensor) -> Tensor:
    return -scores.double().log_softmax(1).gather(1, _classes(scores, targets)[:, None])[:, 0]


def _gap_of_target(scores: Tensor, targets: Tensor) -> Tensor:
    """Between the target's score and the best other one: whether a prediction is right changes only across 0."""
    place = _classes(scores, targets)[:, None]
    own = scores.gather(1, place)[:, 0]
    return (own - scores.scatter(1, place, -torch.inf).amax(1)).abs()


def _gap_of_top(scores: Tensor, targets: Tensor) -> Tensor:
    """Between the two best scores: no prediction changes without crossing 0."""
    if scores.shape[1] < 2:
        return torch.full_like(scores[:, 0], torch.inf)
    first, second = scores.topk(2, dim=1).values.unbind(1)
    return first - second


def _classes(scores: Tensor, targets: Tensor) -> Tensor:
    if targets.shape != scores.shape[:1] or targets.is_floating_point() or targets.dtype == torch.bool:
        raise InputError(
            f"targets: got {targets.dtype} of shape {tuple(targets.shape)} beside logits of shape "
            f"{tuple(scores.shape)}; expected one class number for each row (or a metric of your own)"
        )
    if len(targets) and (int(targets.min()) < 0 or int(targets.max()) >= scores.shape[1]):
        raise InputError(
            f"targets: got classes {int(targets.min())} to {int(targets.max())}, but the model tells "
            f"{scores.shape[1]} classes apart"
        )
    return targets.long()


def _overconfidence(scores: Tensor, targets: Tensor) -> Tensor:
    confidence, predicted = scores.double().softmax(1).max(1)
    return confidence - (predicted == _classes(scores, targets)).double()


LOSSES = {
    "error": Loss("error", _wrong, _gap_of_target),
    "negative_log_likelihood": Loss("negative_log_likelihood", _negative_log_likelihood, None),
}
BESIDE = {**LOSSES, "overconfidence": Loss("overconfidence", _overconfidence, _gap_of_target)}
"""what can be shown beside the loss that is lowered; confidence minus accuracy is best at 0"""
