"""Blend two images by a map, on whichever device they are."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float32, Int64, Shaped
from torch import Tensor

from ..check import InputError
from ..views import unit
from .maps import Balanced, Map
from .watch import check_mixable

Backend = Literal["compiled", "batched"]

COMPILED = (torch.uint8, torch.float32, torch.float64)


def choose(images: Shaped[Tensor, "n c h w"]) -> Backend:
    """The compiled back end where it can: on a CPU, without gradients, outside of graphs that are being compiled."""
    if torch.compiler.is_compiling() or images.device.type != "cpu" or images.dtype not in COMPILED:
        return "batched"
    return "batched" if images.requires_grad and torch.is_grad_enabled() else "compiled"


def blend(
    first: Shaped[Tensor, "n c h w"],
    second: Shaped[Tensor, "m c h w"],
    drawn: Map,
    *,
    partner: Int64[Tensor, " n"] | None = None,
    backend: Backend | None = None,
) -> Shaped[Tensor, "n c h w"]:
    """Each first image mixed with its partner, by the map.

    first, second   images of one type and size
    partner         (n,) rows of `second`; None: row by row
    backend         "compiled" (CPU; uint8, float32, float64; no gradients) or "batched" (any device, any floating
                    point, differentiable, for `torch.compile`); None: compiled where it can

    Both back ends make the same choices bit for bit; weighted averages differ by the last digit, in uint8 by one level
    of 255 at most. Images keep their type and scale: averages of uint8 are rounded to the nearest level. Only zero-mean
    images (`Balanced`) are floating point always, and uint8 is divided by 255 for them.

    Raises `InputError` for images, partners and maps that do not fit each other.
    """
    check_mixable(first, name="first images")
    check_mixable(second, name="second images")
    if first.shape[1:] != second.shape[1:] or first.dtype != second.dtype or first.device != second.device:
        raise InputError(
            f"second images: got {second.dtype} of shape {tuple(second.shape)} on {second.device}, "
            f"expected images like the first: {first.dtype} of shape {tuple(first.shape)} on {first.device}"
        )
    drawn.check(len(first), (first.shape[1], first.shape[2], first.shape[3]))
    last = len(second) - 1
    if partner is None and len(second) != len(first):
        raise InputError(f"second images: got {len(second)} for {len(first)} first ones; name rows of them in partner")
    if partner is not None and not bool(((partner >= 0) & (partner <= last)).all() and len(partner) == len(first)):
        raise InputError(f"partner: expected {len(first)} rows of the second images, 0 to {last}")
    return blend_parts(first, second, [(None, drawn)], partner=partner, backend=backend)[0]


Part = tuple[Bool[Tensor, " n"] | None, Map]


def blend_parts(
    first: Shaped[Tensor, "n c h w"],
    second: Shaped[Tensor, "m c h w"],
    parts: Sequence[Part],
    *,
    partner: Int64[Tensor, " n"] | None = None,
    backend: Backend | None = None,
) -> tuple[Shaped[Tensor, "n c h w"], list[Float32[Tensor, " n"] | None]]:
    """As `blend`, for several maps, each for the rows that it is chosen for (None: all; every row once).

    With the mean of each map where the blend has found it; None where `Map.mean` finds it as easily.
    """
    if any(isinstance(drawn, Balanced) for _, drawn in parts):
        first, second = unit(first), unit(second)
    if partner is None:
        partner = torch.arange(len(first), device=first.device)
    if backend is None:
        backend = choose(first)
    if backend == "batched":
        from .batched.run import run as run_batched

        return run_batched(first, second, parts, partner)
    if first.device.type != "cpu" or first.dtype not in COMPILED:
        raise InputError(f"backend: compiled has no code for {first.dtype} images on {first.device}; use 'batched'")
    from .compiled.run import run

    return run(first, second, parts, partner)
