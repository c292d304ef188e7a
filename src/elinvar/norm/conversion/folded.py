"""What stands in a fused model where a normalization layer stood."""

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...check import InputError
from ..layer import Norm


class FusedTrainingWarning(UserWarning):
    """A fused model goes into training mode."""


class Line(NamedTuple):
    """What a branch of a layer computes at test: (x - mean) / sqrt(variance + eps) * gamma + beta."""

    mean: Float[Tensor, " channels"]
    variance: Float[Tensor, " channels"]
    gamma: Float[Tensor, " channels"]
    beta: Float[Tensor, " channels"]
    eps: float

    @classmethod
    def of(cls, layer: Norm, branch: str | None) -> "Line":
        """The line of `branch`, of the first one in a layer that lacks it; float32 or better."""
        name = branch if branch in layer.policy.branches else layer.policy.branches[0]
        bank, (gamma, beta) = layer.bank(name), layer.affine_of(name)
        assert bank.running_mean is not None
        assert bank.running_var is not None
        mean, variance = layer.by_width((bank.running_mean.unsqueeze(0), bank.running_var.unsqueeze(0)))
        mean, variance = mean[0].clone(), variance[0].clone()
        gamma, beta = (
            torch.full_like(mean, value) if tensor is None else tensor.detach().to(mean.dtype)
            for tensor, value in ((gamma, 1.0), (beta, 0.0))
        )
        return cls(mean, variance, gamma, beta, layer.eps)


class Then(nn.Module):
    """What followed a normalization layer: dropout and activation of timm's layers, under their names."""

    def __init__(self, then: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, module in then.items():
            self.add_module(name, module)

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *spatial"]:
        for module in self.children():
            x = module(x)
        return x


class Fixed(Then):
    """A normalization by constants, the same in both modes."""

    def __init__(self, line: Line, then: Mapping[str, nn.Module]) -> None:
        super().__init__(then)
        self.eps = line.eps
        self.register_buffer("running_mean", line.mean)
        self.register_buffer("running_var", line.variance)
        self.register_buffer("weight", line.gamma)
        self.register_buffer("bias", line.beta)

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *spatial"]:
        mean, variance, gamma, beta = self.buffers(recurse=False)
        return super().forward(F.batch_norm(x, mean, variance, gamma, beta, False, 0.0, self.eps))

    def extra_repr(self) -> str:
        return f"{len(self.get_buffer('weight'))}, eps={self.eps}"


class Folded(Then):
    """Nothing is left of the normalization, which is in the layer `into`. The first of a model warns of training.

    flat  `into` is a linear layer, whose last axis it was that was normalized
    """

    def __init__(self, into: str, then: Mapping[str, nn.Module], *, flat: bool, first: bool) -> None:
        super().__init__(then)
        self.into, self.flat, self.first = into, flat, first

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *spatial"]:
        if self.flat and isinstance(x, Tensor) and x.ndim != 2:
            raise InputError(
                f"{self.into!r} gave an output of shape {tuple(x.shape)}: its second axis was normalized, but what was "
                "folded into a linear layer normalizes the last one; use the model as it was before norm.fuse"
            )
        return super().forward(x)

    def train(self, mode: bool = True) -> "Folded":
        if mode and self.first:
            warnings.warn(
                "training a model that norm.fuse made for prediction: a step of a fused weight counts s^2 times what "
                "it did, channel by channel, s = gamma / sqrt(var + eps), so training may diverge or stand still; "
                "fine-tune the model as it was before",
                FusedTrainingWarning,
                stacklevel=2,
            )
        return super().train(mode)

    def extra_repr(self) -> str:
        return f"into={self.into!r}"
