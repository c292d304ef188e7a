"""A moving average of weights and statistics, as the model that is judged."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightEma:
    """Shadow s of a model's floating-point state w: after each step s <- decay s + (1 - decay) w.

    The decay starts at (1 + t) / (10 + t) and grows to `decay`, so that a short run is not an average over its
    beginning. Counters are copied. Source: the warm-up of the decay is TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.state = {key: value.detach().clone() for key, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                self.state[key].lerp_(value, 1 - decay)
            else:
                self.state[key].copy_(value)

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Continue from a checkpoint."""
        for key, value in state.items():
            self.state[key].copy_(value)
        self.steps = steps
