"""Errors of a classifier on images that are made from test images, piece by piece, and thrown away."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64, Integer, Shaped
from torch import Tensor, nn

from .. import outputs
from ..check import InputError, check_images

CPU_BATCH, DEVICE_BATCH = 100, 500  # a small network stays in cache; a large processor is kept busy

Predict = Callable[[Tensor], Tensor]
Progress = Callable[[int, int], object]


@contextmanager
def predicting(predict: Predict | nn.Module) -> Iterator[Predict]:
    """Inside, images in [0, 1] to scores without gradients; a module is in eval mode, and back in its own after."""
    if not isinstance(predict, nn.Module):
        with torch.no_grad():
            yield predict
        return
    before = [(module, module.training) for module in predict.modules()]
    predict.eval()
    try:
        with torch.no_grad():
            yield predict
    finally:
        for module, training in before:
            module.training = training


def prepared(
    predict: Predict | nn.Module,
    images: Shaped[Tensor, "n c h w"],
    targets: Integer[Tensor, " n"],
    device: torch.device | str | None,
) -> tuple[Float[Tensor, "n c h w"], Int64[Tensor, " n"]]:
    """Images as floats in [0, 1], and targets, where the model is. Raises `InputError` for what is no test set."""
    check_images(images)
    if not len(images) or targets.shape != images.shape[:1] or targets.is_floating_point():
        raise InputError(
            f"got {len(images)} images and targets of shape {tuple(targets.shape)} ({targets.dtype}), expected a class "
            "number for each of at least one image"
        )
    if device is None:
        weight = next(predict.parameters(), images) if isinstance(predict, nn.Module) else images
        device = weight.device
    there = images.detach().to(device)
    floats = there / 255 if there.dtype == torch.uint8 else there
    return floats, targets.to(device=device, dtype=torch.int64)


def at_a_time(batch_size: int | None, images: Tensor) -> int:
    """How many images make a batch: as asked for, else what suits their device. Raises `InputError` below 1."""
    if batch_size is None:
        return CPU_BATCH if images.device.type == "cpu" else DEVICE_BATCH
    if batch_size < 1:
        raise InputError(f"batch_size: got {batch_size}, expected at least 1")
    return batch_size


def wrong(scores: Any, targets: Int64[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Which rows are misclassified; NaN decides nothing."""
    return outputs.wrong(outputs.logits_of(scores, len(targets)), targets)
