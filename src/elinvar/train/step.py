"""The step: views, one recorded forward, an objective, one commit.

    prepare   batch -> views          augment | mix | attack; may look at the model, leaves no trace in it
    record    views -> logits         the one forward whose moments the normalization layers propose
    judge     logits by name -> loss  and its parts
    commit    weights, then the layers' memory: the only writes of the step

With gradient accumulation the first three run once for each micro-batch, and the layers commit the pooled moments.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..check import InputError
from ..context import Context
from ..norm import commit, discard
from ..precision import Compute
from ..recipe import Train
from ..rng import Seeds, Source
from ..routing import Routing, Trace, route
from ..views import Batch


class NotFinite(InputError):
    """The loss of a step is NaN or infinite. Nothing of that step was written to the weights."""


@dataclass(frozen=True)
class Report:
    """What a step did: the loss, its named parts, and how many examples they are means over."""

    loss: float
    parts: dict[str, float]
    examples: int


class Step:
    """Trains `model` in place, one batch at a call."""

    def __init__(
        self, model: nn.Module, train: Train, optimizer: torch.optim.Optimizer, seeds: Seeds, compute: Compute
    ) -> None:
        self.model, self.train, self.optimizer, self.seeds = model, train, optimizer, seeds
        self.forward = compute.forward(model)
        self.device = compute.device

    def __call__(self, batch: Batch, *, epoch: int, number: int) -> Report:
        """One step on `batch`; `number` counts the steps of the run and keys the draws of dropout.

        Raises `NotFinite` before weights or memory change if the loss is not finite.
        """
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        context = Context(self.seeds, epoch, self.model, self.forward)
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices):
                torch.manual_seed(self.seeds.key(Source.DROPOUT, number) >> 1)
                report = self._record(batch, context)
            if not math.isfinite(report.loss):
                parts = ", ".join(f"{name} {value:.4g}" for name, value in report.parts.items())
                raise NotFinite(
                    f"the loss is {report.loss} in epoch {epoch + 1}, step {number + 1} ({parts}); "
                    "lower train.optimizer.lr, add warm-up, or try train.precision=FLOAT32"
                )
            self.optimizer.step()
            commit(self.model)
        except BaseException:
            discard(self.model)
            raise
        return report

    def _record(self, batch: Batch, context: Context) -> Report:
        names: list[str] = []
        sums: list[Tensor] = []
        for micro in batch.parts(self.train.accumulate):
            share = len(micro) / len(batch)
            views = self.train.prepare(micro, context)
            # The routing stays until after backward, where activation checkpointing runs the forward again.
            with route(self.model, Routing.of(views), Trace.PROPOSE):
                logits = views.split(self.forward(views.images()))
                loss = self.train.objective(logits, views)
                (loss.total * share).backward()  # type: ignore[no-untyped-call]
            names = list(loss.parts)
            numbers = [loss.total.detach(), *(part.value for part in loss.parts.values())]
            sums.append(torch.stack(numbers).double() * share)
        total, *parts = torch.stack(sums).sum(0).tolist()  # the one moment that waits for the device
        return Report(total, dict(zip(names, parts, strict=True)), len(batch))
