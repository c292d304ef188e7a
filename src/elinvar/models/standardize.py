"""The input layer of every model: outside of it images are uint8 or in [0, 1], inside they are standardized."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from ..check import InputError

LARGEST_STD = 2.0  # that of [0, 1] images is at most 0.5; 1 leaves them as they are


class Standardize(nn.Module):
    """Subtract a mean and divide by a standard deviation, channel by channel.

        y = (x - mean) / std      (uint8 images are divided by 255 first)

    mean, std   one number for each channel, in units of [0, 1] images; std > 0

    Both are buffers and travel with the checkpoint. The result has their dtype (float32 unless the model was cast),
    and the memory format of the images. An epsilon outside of this layer has the unit of a pixel in [0, 1].

    Raises `InputError` for constants in units of 0..255, and for images of another shape, channel count or dtype;
    values are not read.

    >>> Standardize((0.5,), (0.25,))(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    tensor([[[[-2.,  2.]]]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if not mean or len(mean) != len(std):
            raise InputError(f"mean and std need one number for each channel, got {len(mean)} and {len(std)}")
        if not all(math.isfinite(value) for value in (*mean, *std)) or min(std) <= 0:
            raise InputError(f"got mean {tuple(mean)} and std {tuple(std)}, expected finite numbers, and std above 0")
        if max(mean) > 1 or max(std) > LARGEST_STD:
            raise InputError(
                f"got mean {tuple(mean)} and std {tuple(std)}, expected those of images in [0, 1]: divide constants of "
                "0..255 images by 255"
            )
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, images: Shaped[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        if images.ndim != 4 or images.shape[1] != len(self.mean):
            last = images.ndim == 4 and images.shape[3] == len(self.mean)
            hint = "; for channels last say images.permute(0, 3, 1, 2)" if last else ""
            raise InputError(
                f"images: got shape {tuple(images.shape)}, this model takes (N, {len(self.mean)}, H, W){hint}"
            )
        if images.dtype == torch.uint8:
            values = images.to(self.mean.dtype) / 255
        elif images.is_floating_point():
            values = images.to(self.mean.dtype)
        else:
            raise InputError(f"images: got dtype {images.dtype}, expected uint8, or floating point in [0, 1]")
        return (values - self.mean.view(-1, 1, 1)).div_(self.std.view(-1, 1, 1))

    def extra_repr(self) -> str:
        return f"mean={[round(m, 6) for m in self.mean.tolist()]}, std={[round(s, 6) for s in self.std.tolist()]}"


class Standardized(nn.Module):
    """A network behind its input layer.

    classes   length of the network's output, None where it is not known
    """

    def __init__(self, standardize: Standardize, network: nn.Module, *, classes: int | None = None) -> None:
        super().__init__()
        self.standardize = standardize
        self.network = network
        self.classes = classes

    def forward(self, images: Shaped[Tensor, "n c h w"]) -> Any:
        """What the network returns: logits, or whatever `outputs` then tells from logits."""
        return self.network(self.standardize(images))
