"""Number format and memory layout of training and inference: bf16 and channels_last where they pay.

Weights, gradients, gamma, beta and all statistics stay float32; only what autocast lists runs in bfloat16.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from .outputs import logits_of


class Precision(StrEnum):
    """`auto` takes bfloat16 where the processor multiplies it faster than float32."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def bfloat16_pays(device: torch.device) -> bool:
    """Whether `device` has instructions for bfloat16 products (AMX or AVX512-BF16; NVIDIA from Ampere on)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    features = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # torch has no public question for these
    return device.type == "cpu" and any(getattr(torch.cpu, name, bool)() for name in features)


@dataclass(frozen=True)
class Compute:
    """Where and how a model runs."""

    device: torch.device
    dtype: torch.dtype
    memory_format: torch.memory_format

    @classmethod
    def choose(
        cls, device: torch.device, precision: Precision = Precision.AUTO, channels_last: bool | None = None
    ) -> "Compute":
        """Resolve `auto`; channels_last=None means where bfloat16 runs, whose kernels want it."""
        half = precision is Precision.BFLOAT16 or (precision is Precision.AUTO and bfloat16_pays(device))
        last = half if channels_last is None else channels_last
        return cls(
            device,
            torch.bfloat16 if half else torch.float32,
            torch.channels_last if last else torch.contiguous_format,
        )

    def place(self, model: nn.Module) -> nn.Module:
        """Move `model` to the device and its convolutions to the memory format, in place."""
        return model.to(device=self.device).to(memory_format=self.memory_format)  # type: ignore[call-overload,no-any-return]

    def forward(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """`model` as a function from images to float32 logits in this format.

        It raises `InputError` where the model returns anything but logits; see `outputs`.
        """

        def run(images: Shaped[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
            images = images.to(device=self.device).contiguous(memory_format=self.memory_format)
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype is torch.bfloat16):
                output = model(images)
            return logits_of(output, len(images)).float()

        return run
