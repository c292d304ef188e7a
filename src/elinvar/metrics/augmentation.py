"""What an augmentation does to data and to training: its affinity and its diversity.

    affinity  = accuracy on augmented test images - accuracy on clean ones      of a model trained on clean images
    diversity = training loss under the augmentation / training loss without    each at the end of its own training

Source   Gontijo-Lopes et al., "Tradeoffs in data augmentation: an empirical study", ICLR 2021, section 3.
"""

from typing import Literal

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from ..check import InputError
from .accumulator import Accumulator
from .error import mistakes

Predictions = Float[Tensor, "n classes"] | Integer[Tensor, " n"]
Form = Literal["difference", "ratio"]


def affinity(
    clean: Predictions, augmented: Predictions, targets: Integer[Tensor, " n"], *, form: Form = "difference"
) -> float:
    """How much of its accuracy a model that was trained on clean images keeps on augmented ones.

    clean, augmented   its predictions on test images and on the same images, each augmented once
    form               "difference": accuracies subtracted, -1 to 1, mostly below 0 (times 100: percentage points, as
                       Merchant et al., "Does data augmentation benefit from split BatchNorms", print it).
                       "ratio": divided

    Raises `InputError` for shapes that do not fit, no examples, and a ratio to an accuracy of 0.

    >>> affinity(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 0, 1, 0]), torch.tensor([0, 1, 1, 0]))
    -0.25
    """
    metric = Affinity(form=form)
    metric.update(clean, augmented, targets)
    return metric.value()


class Affinity(Accumulator):
    """`affinity` of all pieces together."""

    state = ("counts",)

    def __init__(self, *, form: Form = "difference") -> None:
        if form not in ("difference", "ratio"):
            raise InputError(f"form: got {form!r}, expected 'difference' or 'ratio'")
        super().__init__()
        self.form = form

    def reset(self) -> None:
        self.counts = (0, 0, 0)

    def update(self, clean: Predictions, augmented: Predictions, targets: Integer[Tensor, " n"]) -> None:
        right = [len(targets) - int(torch.count_nonzero(mistakes(side, targets))) for side in (clean, augmented)]
        self._add((right[0], right[1], len(targets)))

    def merge(self, other: "Affinity") -> None:
        self._add(other.counts)

    def value(self) -> float:
        clean, augmented, seen = self.counts
        if not seen:
            raise InputError("the affinity of no examples is not defined; call update first")
        if self.form == "difference":
            return (augmented - clean) / seen
        if not clean:
            raise InputError("affinity: no clean image is classified rightly, so there is no ratio; train the model")
        return augmented / clean

    def _add(self, more: tuple[int, int, int]) -> None:
        clean, augmented, seen = self.counts
        self.counts = (clean + more[0], augmented + more[1], seen + more[2])


def diversity(augmented: Float[Tensor, " n"], clean: Float[Tensor, " m"]) -> float:
    """How much harder an augmentation makes training: above 1 where it does.

    augmented, clean   losses of training examples (or batches of equal size) in the last epoch, each of a model
                       trained with the augmentation, and without

    Raises `InputError` for no losses, losses that are not finite, and clean losses of mean 0.

    >>> diversity(torch.tensor([0.5, 1.0]), torch.tensor([0.25, 0.25]))
    3.0
    """
    for name, losses in (("augmented", augmented), ("clean", clean)):
        if not losses.numel() or not losses.isfinite().all():
            raise InputError(f"{name}: got {losses.numel()} losses, expected at least one, all of them finite")
    base = float(clean.double().mean())
    if base <= 0:
        raise InputError(f"clean: got a mean loss of {base:.4g}, expected one above 0 to compare with")
    return float(augmented.double().mean()) / base
