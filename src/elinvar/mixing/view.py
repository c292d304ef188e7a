"""Mixing as a step of a recipe: one more transform of a view."""

from dataclasses import dataclass, replace

from ..check import InputError
from ..context import Context, Transform
from ..rng import Source
from ..views import View
from .base import Mixing
from .batch import Mix
from .pairing import Pairing


@dataclass(frozen=True)
class MixView(Transform):
    """Mix the examples of a view with each other: its targets become soft. Put it after crops and flips.

    method, probability, pairing   as in `Mix`

    An example draws the same in an epoch whatever its batch; with whom it is mixed depends on who is in the batch. A
    mixed row keeps the index of its first example. Micro-batches are paired each by itself.

    `BCPlus` and `VHBCPlus` train on zero-mean images, but nothing takes the mean off images at test time: they need a
    network that does (`zero_mean`).

    Raises `InputError` for class numbers if the model does not say how many there are (`model.classes`).

    >>> from elinvar.mixing import VHMixup
    >>> MixView(VHMixup(), probability=0.5)
    MixView(method=VHMixup(alpha=1.0, label='realized'), probability=0.5, pairing='permutation')
    """

    method: Mixing
    probability: float = 1.0
    pairing: Pairing = "permutation"

    def __call__(self, view: View, context: Context, *path: int | str) -> View:
        classes = getattr(context.model, "classes", None)
        if classes is None and view.targets.ndim == 1:
            raise InputError(
                "mix: the model does not say how many classes there are, which soft targets need; "
                "set its attribute `classes`, or give soft targets"
            )
        mix = Mix(self.method, classes=classes, probability=self.probability, pairing=self.pairing)
        images, targets = mix(view.images, view.targets, keys=context.streams(Source.MIX, view.index, *path))
        return replace(view, images=images, targets=targets, index=view.index[: len(images)])
