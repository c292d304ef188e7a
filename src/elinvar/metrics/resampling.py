"""Bootstrap confidence intervals: how far a number may lie from that of the population the test set was drawn from.

    resample r: n examples drawn with replacement; the interval spans the (1 - level) / 2 tails of its values

What is resampled is examples. Predictions of one image under several corruptions, severities or frames are not
independent, and neither are those of two models on one image: put them in one row of `values`, so that they are drawn
together.

Order. A resample draws row numbers, so the same examples in another order are other draws for the same key: the
interval moves by what chance leaves in it, the value does not.

Strata. None draws from all examples alike: right when the test set is a random sample. With the classes as strata
each resample keeps the number of examples of each class, as in test sets that were built with equal counts (CIFAR,
ImageNet); the interval is narrower there, by what the errors of the classes differ.

Source   Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapters 12 and 13.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64, Integer, Shaped
from torch import Tensor

from ..check import InputError
from ..rng import fresh_key, streams, uniform

DRAWS = 1 << 20  # at a time


@dataclass(frozen=True)
class Interval:
    """`value` of the sample, and the interval from `low` to `high` that covers with probability `level`."""

    value: float
    low: float
    high: float
    level: float
    resamples: int

    def __str__(self) -> str:
        return f"{self.value:.6g} [{self.low:.6g}, {self.high:.6g}] ({100 * self.level:g} % bootstrap)"


def bootstrap_mean(
    values: Shaped[Tensor, "n *columns"],
    *,
    statistic: Callable[[Float64[Tensor, "resamples *columns"]], Float[Tensor, " resamples"]] | None = None,
    strata: Integer[Tensor, " n"] | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    key: int | None = None,
) -> Interval:
    """Interval for a mean over examples, or for a function of several means; all resamples at once.

    values      what each example has: `mistakes(...)`, `flips(...)`, `brier_scores(...)`, differences of two models;
                or several of them in columns
    statistic   function of the means, (resamples, *columns) -> (resamples,); needed if there are columns. The mean
                corruption error of mistakes (n, 15, 5): `lambda means: means.mean((1, 2))`
    strata      see above
    key         same key, same interval; None draws one

    Raises `InputError` for no examples, values that are not finite, and settings out of range.

    >>> interval = bootstrap_mean(torch.arange(1000) % 10 == 0, key=1)
    >>> interval.value, 0.075 < interval.low < 0.09, 0.11 < interval.high < 0.125
    (0.1, True, True)
    """
    table = values.detach().double().flatten(1) if values.ndim > 1 else values.detach().double().unsqueeze(1)
    if not values.numel() or not table.isfinite().all():
        raise InputError(f"values: got shape {tuple(values.shape)}, expected at least one example, finite values")
    if statistic is None and values.ndim > 1:
        raise InputError(f"values: got shape {tuple(values.shape)}; say by `statistic` which number the means make")

    def judge(means: Tensor) -> Tensor:
        return means.squeeze(1) if statistic is None else statistic(means.view(-1, *values.shape[1:]))

    found = []
    for rows in _resampled(len(table), strata, level, resamples, key, table.device):
        offset = torch.arange(len(rows), device=rows.device).unsqueeze(1) * len(table)
        count = torch.bincount((rows + offset).flatten(), minlength=len(rows) * len(table)).view(len(rows), len(table))
        found.append(judge(count.double() @ table / len(table)))
    return _interval(float(judge(table.mean(0, keepdim=True))), torch.cat(found), level)


def bootstrap(
    measure: Callable[..., float],
    *data: Shaped[Tensor, "n ..."],
    strata: Integer[Tensor, " n"] | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    key: int | None = None,
) -> Interval:
    """Interval for any measure of examples, `measure(*data)`, such as a calibration error; one call for each resample.

    Settings and errors as in `bootstrap_mean`, which is faster where it applies. Calibration errors are biased upward
    by chance, and those of resamples, in which examples repeat, once more: their interval tells about spread, and may
    lie above the value.

    >>> from .calibration import overconfidence
    >>> sure, right = torch.full((200,), 0.9), torch.arange(200) % 2 == 0
    >>> interval = bootstrap(overconfidence, sure, right, resamples=100, key=1)
    >>> round(interval.value, 6), 0.3 < interval.low < 0.4 < interval.high < 0.5
    (0.4, True)
    """
    if not data or not len(data[0]) or any(len(part) != len(data[0]) for part in data):
        raise InputError(f"data: got {[tuple(part.shape) for part in data]}, expected tensors of n >= 1 examples each")
    found = [
        measure(*(part[row.to(part.device)] for part in data))
        for rows in _resampled(len(data[0]), strata, level, resamples, key, torch.device("cpu"))
        for row in rows
    ]
    return _interval(float(measure(*data)), torch.tensor(found, dtype=torch.float64), level)


def _resampled(
    n: int,
    strata: Integer[Tensor, " n"] | None,
    level: float,
    resamples: int,
    key: int | None,
    device: torch.device,
) -> Iterator[Int64[Tensor, "some n"]]:
    """Row numbers of resamples, some resamples at a time; each depends on the key and its own number alone."""
    if not 0 < level < 1 or resamples < 1:
        raise InputError(f"got level={level}, resamples={resamples}; expected a level between 0 and 1, resamples >= 1")
    if strata is not None and strata.shape != (n,):
        raise InputError(f"strata: got shape {tuple(strata.shape)}, expected ({n},), one for each example")
    stream = streams(fresh_key() if key is None else key, torch.arange(resamples, device=device))
    if strata is None:
        order, first, size = None, 0, n
    else:
        ordered, order = strata.to(device).sort(stable=True)
        counts = torch.unique_consecutive(ordered, return_counts=True)[1]
        first = (counts.cumsum(0) - counts).repeat_interleave(counts)
        size = counts.repeat_interleave(counts)
    for some in torch.split(stream, max(1, DRAWS // n)):
        row = (uniform(some, n) * size).long() + first
        yield row if order is None else order[row]


def _interval(value: float, found: Tensor, level: float) -> Interval:
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64, device=found.device)
    low, high = torch.quantile(found.double(), tails).tolist()
    return Interval(value, low, high, level, len(found))
