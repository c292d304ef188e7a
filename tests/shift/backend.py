"""Run one back end on its own, and hand out the draws that a corruption uses."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elinvar.rng import fold, streams, uniform
from elinvar.shift import corrupt
from elinvar.shift.corrupt import batched
from elinvar.shift.frame import Frame
from elinvar.shift.table import KNOWN


def own_streams(keys: Tensor, name: str, severity: int) -> Tensor:
    return streams(fold(name, severity), keys)


def by_tensors(
    images: Tensor, name: str, severity: int, keys: Tensor, constants: str | None = None, flavour: str = "sensible"
) -> Tensor:
    """What `corrupt` returns on an accelerator, on this device."""
    row = KNOWN[name]
    channels, height, width = images.shape[1:]
    level = row.severity.level(severity, height, width, constants)
    plan = row.plan(level, Frame(channels, height, width, None, constants, flavour))
    return batched(row, images, own_streams(keys, name, severity), plan)


def by_kernels(
    images: Tensor, name: str, severity: int, keys: Tensor, constants: str | None = None, flavour: str = "sensible"
) -> Tensor:
    """What `corrupt` returns on a CPU."""
    return corrupt(images, name, severity, keys=keys, constants=constants, flavour=flavour)


BACK_ENDS = {"compiled": by_kernels, "batched": by_tensors}


def draws(keys: Tensor, name: str, severity: int, count: int) -> NDArray[np.float64]:
    """The uniform numbers that `name` uses for each example, (n, count)."""
    return uniform(own_streams(keys, name, severity), count).numpy()


def levels(images: Tensor) -> NDArray[np.float64]:
    """Float results as grey levels (n, h, w, c)."""
    assert images.dtype == torch.float64
    return (images * 255).permute(0, 2, 3, 1).numpy()
