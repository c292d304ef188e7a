"""Run a program on images, on whichever device they are."""

from typing import Literal

import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from ..check import InputError, check_images
from .program import Program

Backend = Literal["compiled", "batched"]


def to_bytes(images: Shaped[Tensor, "n c h w"]) -> UInt8[Tensor, "n c h w"]:
    """Images as contiguous uint8: 0..255 as they are, [0, 1] rounded to the nearest of the 256 values."""
    if images.is_floating_point():
        images = images.detach().to(torch.float32)
        if images.device.type == "cpu":
            from .compiled.pixels import to_bytes as rounded

            return rounded(images)
        images = images.mul(255.0).round_().to(torch.uint8)
    return images.contiguous()


def to_floats(images: UInt8[Tensor, "n c h w"], dtype: torch.dtype) -> Shaped[Tensor, "n c h w"]:
    """0..255 as [0, 1] of a type of floating point."""
    if images.device.type == "cpu":
        from .compiled.pixels import to_floats as scaled

        return scaled(images).to(dtype)
    return (images.to(torch.float32) / 255).to(dtype)


def _changed(
    made: UInt8[Tensor, "n c h w"], before: UInt8[Tensor, "n c h w"], images: Shaped[Tensor, "n c h w"]
) -> Shaped[Tensor, "n c h w"]:
    """`made` in the type of floating point images, which keep the values that operations left alone."""
    if images.dtype == torch.float32 and images.device.type == "cpu":
        from .compiled.pixels import keep

        return keep(made, before, images.detach())
    return torch.where(made == before, images.detach(), to_floats(made, images.dtype))


def check_channels(images: Shaped[Tensor, "n c h w"]) -> None:
    """Raise `InputError` unless images are grey or have three colours, as operations want them."""
    if images.shape[1] not in (1, 3):
        last = images.shape[3] in (1, 3)
        hint = "; if channels come last, use images.permute(0, 3, 1, 2)" if last else ""
        raise InputError(
            f"images: got {images.shape[1]} channels, expected 1 (grey) or 3 (red, green, blue) in (N, C, H, W){hint}"
        )


def apply(
    images: Shaped[Tensor, "n c h w"], program: Program, *, backend: Backend | None = None
) -> Shaped[Tensor, "n c h w"]:
    """What `program` makes of `images`, row by row.

    images   uint8, or floating point in [0, 1]; 1 or 3 channels. Operations see floating point rounded to 256 values;
             what they change becomes one of these, what they leave alone keeps its own
    backend  "compiled" (CPU) or "batched" (any device); None: compiled for images on a CPU

    Mixtures come out as float32 in [0, 1]; results of pure programs in the type of the images. Both back ends give the
    same pixels, but for one level in very few of those that warps blend.

    Raises `InputError` if images and program do not fit each other, or the program is malformed. Under `torch.compile`
    the call is one operation of the graph.
    """
    if torch.compiler.is_compiling():
        from .opaque import run

        return run(images, program, backend)
    check_images(images)
    if len(program) != len(images):
        raise InputError(f"program: got {len(program)} rows for {len(images)} images, expected one for each")
    program.check()
    return execute(images, program, backend=backend)


@torch.no_grad()
def execute(
    images: Shaped[Tensor, "n c h w"], program: Program, *, backend: Backend | None = None
) -> Shaped[Tensor, "n c h w"]:
    """As `apply`, without looking at every value of `images` and `program` first."""
    check_channels(images)
    channels = images.shape[1]
    if len(program.fill) not in (1, channels):
        raise InputError(f"program: got fill {program.fill} for images of {channels} channels, expected 1 or one each")
    if backend is None:
        backend = "compiled" if images.device.type == "cpu" else "batched"
    if backend == "compiled":
        if images.device.type != "cpu":
            raise InputError(f"backend: compiled runs on a CPU, the images are on {images.device}; use 'batched'")
        from .compiled.run import run
    else:
        from .batched.run import run
    before = to_bytes(images)
    made = run(before, program)
    return _changed(made, before, images) if program.pure and images.is_floating_point() else made
