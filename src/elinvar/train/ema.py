"""A moving average of parameters and running statistics, as the model that is evaluated."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..check import InputError

STATISTICS = ("running_mean", "running_var", "running_std")
"""buffers that are averages over batches already, under the names that normalization layers give them"""


class WeightEma:
    """Shadow s of a model's trained parameters and running statistics w: after each step s <- decay s + (1 - decay) w.

    The decay starts at (1 + t) / (10 + t) and grows to `decay`, so that a short run is not an average over its
    beginning.

    Everything else of the state is copied from the last step, because the average of such values is no such value:
    unit vectors of spectral normalization, masks, counters, indices, queues, and parameters that do not train. Buffers
    outside of the state dict stay those of the model that the shadow is loaded into. Half precision is averaged in
    float32: bfloat16 rounds 1 - 0.001 to 1, and its average would stand still.

    Raises `InputError` for a checkpoint whose average is of another architecture.

    Source   the warm-up of the decay is TensorFlow's ExponentialMovingAverage. `torch.optim.swa_utils.AveragedModel`
             copies all buffers, running statistics included; with `use_buffers=True` it averages all of them.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        averaged = averages(model)
        self.state = {
            key: (_wide(value) if key in averaged else value).clone() for key, value in model.state_dict().items()
        }

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        averaged = averages(model)
        for key, value in model.state_dict().items():
            if key in averaged:
                self.state[key] = _wide(self.state[key]).lerp_(_wide(value), 1 - decay)
            else:
                self.state[key] = value.clone()

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Continue from a checkpoint."""
        for key in sorted(self.state.keys() ^ state.keys()):
            raise InputError(f"the averaged weights are of another architecture: {key} is in one of both only")
        for key, value in state.items():
            if value.shape != self.state[key].shape:
                raise InputError(
                    f"the averaged weights are of another architecture: {key} has shape {tuple(value.shape)}, expected "
                    f"{tuple(self.state[key].shape)}"
                )
            self.state[key].copy_(value)
        self.steps = steps


def averages(model: nn.Module) -> set[str]:
    """The names in the state dict of what is averaged: parameters that train, and running statistics."""
    statistics = {
        id(buffer)
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
        if name in STATISTICS
    }
    return {
        key
        for key, value in model.state_dict(keep_vars=True).items()
        if value.requires_grad or (id(value) in statistics and value.is_floating_point())
    }


def _wide(value: Tensor) -> Tensor:
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def evaluated(model: nn.Module, trained: Mapping[str, Tensor], average: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state that a run is evaluated by: averages where there are any, and the last step's values of all else.

    An average that `WeightEma` made holds these values already; checkpoints of earlier versions average everything.
    """
    averaged = averages(model)
    return {key: average.get(key, value) if key in averaged else value for key, value in trained.items()}
