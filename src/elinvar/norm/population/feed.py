"""Batches as a model takes them: which part is the images, how many examples there are, and where they run."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from ...check import InputError
from ...views import Batch

KEYS = ("images", "image", "pixel_values", "inputs", "input", "x")
Forward = Callable[[nn.Module, Any], object]
"""(model, batch) -> anything: runs the model on a batch of the user's own kind"""


class Feed:
    """Reads batches and runs a model on them, by `forward` or by looking for the images.

    Images are a tensor by itself, the first of a tuple or list, one of `KEYS` of a mapping, or those of a `Batch`; they
    move to the model's device. A batch for `forward` is handed over as it is.
    """

    def __init__(self, model: nn.Module, forward: Forward | None) -> None:
        self._forward = forward
        tensors = (tensor for some in (model.parameters(), model.buffers()) for tensor in some)
        self.device = next(tensors, torch.empty(0)).device

    def read(self, batches: Iterable[Any], examples: int | None) -> Iterator[Any]:
        """What is kept of each batch, without empty ones, until there are `examples`; the last is cut to fit."""
        if isinstance(batches, Tensor | nn.Module) or not isinstance(batches, Iterable):
            raise InputError(
                f"batches: got a {type(batches).__name__}, expected an iterable of batches; for one tensor of images "
                "use images.split(100)"
            )
        left = examples
        if left == 0:
            return
        for batch in batches:
            kept = batch if self._forward else _images(batch)
            count = rows(kept)
            if left is not None and count > left:
                kept, count = cut(kept, left), left
            if count:
                yield kept
            if left is not None:
                left -= count
                if left <= 0:  # before the loader prepares one batch more
                    return

    def run(self, model: nn.Module, kept: Any) -> object:
        """One forward."""
        if self._forward:
            return self._forward(model, kept)
        return model(kept.to(self.device, non_blocking=True))

    def join(self, some: list[Any], size: int) -> list[Any]:
        """Neighbours together until there are at least `size` rows, where they are images of one shape."""
        if self._forward:
            return some
        joined: list[list[Tensor]] = []
        for images in some:
            last = joined[-1] if joined else []
            if last and last[0].shape[1:] == images.shape[1:] and sum(map(len, last)) < size:
                last.append(images)
            else:
                joined.append([images])
        return [torch.cat(group) if len(group) > 1 else group[0] for group in joined]


def _images(batch: Any) -> Tensor:
    if isinstance(batch, Batch):
        batch = batch.images
    if isinstance(batch, Mapping):
        keys = [key for key in KEYS if key in batch]
        if len(keys) != 1:
            raise InputError(
                f"a batch with the keys {list(batch)}: expected exactly one of {KEYS}; say what to do by "
                "forward=lambda model, batch: model(batch[...])"
            )
        batch = batch[keys[0]]
    elif isinstance(batch, tuple | list) and batch:
        batch = batch[0]
    if not isinstance(batch, Tensor):
        raise InputError(
            f"a batch of type {type(batch).__name__}: expected images, (images, ...) or a mapping with one of {KEYS}; "
            "for anything else pass forward=lambda model, batch: ..."
        )
    return batch


def rows(kept: Any) -> int:
    """Examples in a batch: the length of its first tensor."""
    if isinstance(kept, Batch):
        return len(kept)
    for leaf in tree_leaves(kept):
        if isinstance(leaf, Tensor) and leaf.ndim:
            return len(leaf)
    raise InputError(f"a batch of type {type(kept).__name__} holds no tensor whose rows could be counted as examples")


def cut(kept: Any, count: int) -> Any:
    """The first `count` examples of a batch: of every tensor in it that has one row for each."""
    if isinstance(kept, Batch):
        return Batch(kept.images[:count], kept.targets[:count], kept.index[:count])
    total = rows(kept)

    def first(leaf: Any) -> Any:
        return leaf[:count] if isinstance(leaf, Tensor) and leaf.ndim and len(leaf) == total else leaf

    return tree_map(first, kept)
