"""Output ranges of normalization layers: what they were, and what they can be."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..check import InputError
from ..norm import Norm, OwnBatch, Renorm
from ..routing import Routing

SMALLEST_GAMMA = 1e-3  # of a channel that is looked at: dividing by less would show rounding


@dataclass
class Range:
    """Least and largest normalized value, before gamma and beta, of the forwards so far.

    bound  no value can be further from 0 than this; infinite where a forward was normalized by other values than its
           own, as by the memory
    """

    low: float = math.inf
    high: float = -math.inf
    bound: float = 0.0

    @property
    def extent(self) -> float:
        """The largest distance from 0; negative infinity if nothing was seen."""
        return max(-self.low, self.high)


@contextmanager
def output_ranges(model: nn.Module) -> Iterator[dict[str, Range]]:
    """Record the range of every `norm.Norm` layer, by its name, in all forwards inside.

        |x - mean| / sqrt(var + eps) <= sqrt(N - 1)

    for N values whose own mean and biased variance these are: all values of a statistic, which for feature maps are
    examples times positions, and in a ghost batch those of the ghost. It is reached when one value differs from all
    others, which are equal. At test the memory takes their place, and nothing bounds the output.

    Channels with |gamma| < 0.001 are left out: all of a layer whose gamma has just started at 0. Raises `InputError`
    for a model without such layers.

    Source   Summers, thesis, section 4.3.1 and appendix A.1, where N is called B.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, Norm)}
    if not layers:
        raise InputError(
            "there is no normalization layer to watch: convert the model first, norm.convert(model, policy)"
        )
    found = {name: Range() for name in layers}
    handles = [layer.register_forward_hook(_watch(found[name])) for name, layer in layers.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _watch(seen: Range) -> Any:
    def hook(layer: Norm, args: tuple[Tensor, ...], out: Tensor) -> None:
        if not len(out):
            return
        x, policy = args[0], layer.policy
        routing = layer.session.routing if layer.session else Routing((policy.branches[0],))
        spans = routing.spans(len(x))
        by_rows = not policy.memory.frozen if layer.training else isinstance(policy.inference, OwnBatch)
        partition = (policy.sharing.partition if by_rows else policy.sharing.owners)(spans, policy.branches)
        of_row = partition.on(out.device)
        like = out.new_zeros(len(partition.rows), layer.num_features, dtype=torch.float32)
        gamma, beta = (
            table[of_row].reshape(len(out), -1, *[1] * (out.ndim - 2)) for table in layer.affine_table(partition, like)
        )
        values = (out.detach().float() - beta) / gamma
        values = values[(gamma.abs() >= SMALLEST_GAMMA).expand_as(values)]
        if values.numel():
            low, high = values.aminmax()
            seen.low, seen.high = min(seen.low, low.item()), max(seen.high, high.item())
        foreign = not by_rows or routing.reference or _elsewhere(layer)
        largest = max(partition.counts(x)) * layer.width
        seen.bound = max(seen.bound, math.inf if foreign else math.sqrt(largest - 1))

    return hook


def _elsewhere(layer: Norm) -> bool:
    """Whether statistics are not those of the batch alone: corrected, pooled over workers, or mixed with the memory."""
    policy = layer.policy
    if not layer.training:
        return isinstance(policy.inference, OwnBatch) and policy.inference.prior > 0
    workers = policy.sharing.workers
    return isinstance(policy.memory, Renorm) or (workers is not None and workers.peers() is not None)
