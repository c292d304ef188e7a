"""Batches, views and logits: the nouns that travel through a step.

A batch is what the loader gives. A view is one way of looking at it: images, their targets, the branch of
normalization they belong to, and a name. Row i of every array in a view comes from the example `index[i]`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from .check import InputError, unknown


def unit(images: Shaped[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Images as floating point in [0, 1]: uint8 divided by 255, anything else untouched.

    >>> unit(torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8))
    tensor([[[[0.0000, 0.2000, 1.0000]]]])
    """
    return images.to(torch.float32).div_(255) if images.dtype == torch.uint8 else images


@dataclass(frozen=True)
class Batch:
    """Examples of one data set.

    images   (N, C, H, W), uint8 or floating point in [0, 1]
    targets  (N,) class numbers
    index    (N,) place of each example in its data set: what its random draws are keyed by
    """

    images: Shaped[Tensor, "n c h w"]
    targets: Int64[Tensor, " n"]
    index: Int64[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.images)

    def parts(self, count: int) -> tuple["Batch", ...]:
        """At most `count` micro-batches of near-equal size, cut by example."""
        cuts = [torch.tensor_split(tensor, count) for tensor in (self.images, self.targets, self.index)]
        return tuple(Batch(*part) for part in zip(*cuts, strict=True) if len(part[0]))


@dataclass(frozen=True)
class View:
    """One look at a batch. `targets` are class numbers (N,) or soft targets (N, classes) whose rows sum to 1."""

    name: str
    images: Shaped[Tensor, "n c h w"]
    targets: Int64[Tensor, " n"] | Float[Tensor, "n classes"]
    index: Int64[Tensor, " n"]
    branch: str = "main"

    def with_images(self, images: Shaped[Tensor, "n c h w"]) -> "View":
        return replace(self, images=images)

    def __len__(self) -> int:
        return len(self.images)


class Views:
    """Views with distinct names, in the order in which their rows are concatenated."""

    def __init__(self, views: Sequence[View]) -> None:
        if not views:
            raise InputError("a step needs at least one view, got none")
        self._views = {view.name: view for view in views}
        if len(self._views) != len(views):
            raise InputError(f"views must have distinct names, got {[view.name for view in views]}")

    def __iter__(self) -> Iterator[View]:
        return iter(self._views.values())

    def __getitem__(self, name: str) -> View:
        if name not in self._views:
            raise unknown("view", name, self._views)
        return self._views[name]

    def names(self) -> tuple[str, ...]:
        return tuple(self._views)

    def images(self) -> Shaped[Tensor, "rows c h w"]:
        """All rows, view after view; uint8 stays uint8 only if every view is. A single view is not copied."""
        parts = [view.images for view in self]
        if len(parts) == 1:
            return parts[0]
        if len({part.dtype for part in parts}) > 1:
            parts = [unit(part) for part in parts]
        return torch.cat(parts)

    def split(self, rows: Shaped[Tensor, "rows *rest"]) -> "Logits":
        """Cut what the model made of `images()` back into one tensor for each view."""
        sizes = [len(view) for view in self]
        if len(rows) != sum(sizes):
            raise InputError(f"the model returned {len(rows)} rows for views of {sizes} examples")
        return Logits(dict(zip(self.names(), torch.split(rows, sizes), strict=True)))


class Logits(Mapping[str, Float[Tensor, "n classes"]]):
    """What the model said about each view, by the view's name."""

    def __init__(self, by_name: Mapping[str, Float[Tensor, "n classes"]]) -> None:
        self._by_name = dict(by_name)

    def __getitem__(self, name: str) -> Float[Tensor, "n classes"]:
        if name not in self._by_name:
            raise unknown("view", name, self._by_name)
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def stack(self, names: Sequence[str]) -> Float[Tensor, "views n classes"]:
        """The logits of several views of the same examples, one on top of the other."""
        parts = [self[name] for name in names]
        if len({part.shape for part in parts}) != 1:
            shapes = {name: tuple(part.shape) for name, part in zip(names, parts, strict=True)}
            raise InputError(f"views that are compared must hold the same examples, got shapes {shapes}")
        return torch.stack(parts)
