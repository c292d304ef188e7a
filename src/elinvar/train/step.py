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
from ..outputs import probabilities_sure
from ..precision import Compute
from ..recipe import Train
from ..rng import Seeds, Source
from ..routing import Routing, Trace, route
from ..views import Batch


class NotFinite(InputError):
    """The loss of a step, or its gradient, is NaN or infinite. Nothing of that step was written to the weights."""


@dataclass(frozen=True)
class Report:
    """What a step did: the loss, its named parts, its gradient's l2 norm before clipping, how many examples it saw."""

    loss: float
    parts: dict[str, float]
    gradient_norm: float
    examples: int


class Step:
    """Trains `model` in place, one batch at a call, in the mode that its modules are in.

    What the objective learns joins the optimizer: a group of its own, which nothing decays.
    """

    def __init__(
        self, model: nn.Module, train: Train, optimizer: torch.optim.Optimizer, seeds: Seeds, compute: Compute
    ) -> None:
        self.model, self.train, self.optimizer, self.seeds = model, train, optimizer, seeds
        self.forward = compute.forward(model)
        self.device = compute.device
        self.looked = False
        self.objective = train.objective.module().to(self.device)
        if learned := list(self.objective.parameters()):
            optimizer.add_param_group({"params": learned, "weight_decay": 0.0})

    def __call__(self, batch: Batch, *, epoch: int, number: int) -> Report:
        """One step on `batch`; `number` counts the steps of the run, keys the draws of dropout
        and says how far a warm-up is.

        Raises `NotFinite` before weights or memory change if the loss or its gradient is not finite, and `InputError`
        for a model that returns anything but logits: tuples, dictionaries, probabilities.
        """
        self.optimizer.zero_grad(set_to_none=True)
        context = Context(self.seeds, epoch, self.model, self.forward, number)
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices):
                torch.manual_seed(self.seeds.key(Source.DROPOUT, number) >> 1)
                report = self._record(batch, context)
            if not (math.isfinite(report.loss) and math.isfinite(report.gradient_norm)):
                parts = ", ".join(f"{name} {value:.4g}" for name, value in report.parts.items())
                raise NotFinite(
                    f"the loss is {report.loss:.4g} and its gradient's norm {report.gradient_norm:.4g} "
                    f"in epoch {epoch + 1}, step {number + 1} ({parts}); "
                    "lower train.optimizer.lr, add warm-up, or try train.precision=FLOAT32"
                )
            self._clip(report.gradient_norm)
            self.optimizer.step()
            commit(self.model)
        except BaseException:
            discard(self.model)
            raise
        return report

    def _look(self, rows: Tensor) -> None:
        """Refuse probabilities; the first forward shows them, and later ones do not wait for the device."""
        if self.looked:
            return
        self.looked = True
        if probabilities_sure(rows):
            raise InputError(
                "the model returned probabilities (rows of at least 0 that sum to 1), expected logits, whose softmax "
                "the objective takes; remove the softmax at its end, or return its logarithm"
            )

    def _clip(self, norm: float) -> None:
        """Shorten the gradient of the model's weights to `Train.clip_gradient`."""
        longest = self.train.clip_gradient
        if longest is not None and norm > longest:
            torch._foreach_mul_([p.grad for p in self.model.parameters() if p.grad is not None], longest / norm)

    def _record(self, batch: Batch, context: Context) -> Report:
        names: list[str] = []
        sums: list[Tensor] = []
        for micro in batch.parts(self.train.accumulate):
            share = len(micro) / len(batch)
            views = self.train.prepare(micro, context)
            # The routing stays until after backward, where activation checkpointing runs the forward again.
            with route(self.model, Routing.of(views), Trace.PROPOSE):
                rows = self.forward(views.images())
                self._look(rows)
                logits = views.split(rows)
                loss = self.objective(logits, views)
                (loss.total * share).backward()
            names = list(loss.parts)
            numbers = [loss.total.detach(), *(part.value for part in loss.parts.values())]
            sums.append(torch.stack(numbers).double() * share)
        slope = torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        # The one moment that waits for the device.
        gradient_norm, total, *parts = torch.cat([slope.double().reshape(1), torch.stack(sums).sum(0)]).tolist()
        return Report(total, dict(zip(names, parts, strict=True)), gradient_norm, len(batch))
