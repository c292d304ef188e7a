"""What an attack makes large: one number for each example, from its logits and target."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..check import InputError, unknown
from ..objectives import cross_entropy

Loss = Callable[[Tensor, Tensor], Tensor]  # logits (N, K) and targets to (N,)


def margin(
    logits: Float[Tensor, "n classes"], targets: Int64[Tensor, " n"] | Float[Tensor, "n classes"]
) -> Float[Tensor, " n"]:
    """The largest logit of another class minus that of the target: above 0 where the example is misclassified.

        max_{c != y} z_c - z_y

    Its gradient does not vanish where the model is very sure, as that of the cross-entropy does. Soft targets count
    by their largest entry. Computed in float32 or the dtype of the logits, whichever is wider.

    Raises `InputError` for class numbers outside of 0 to classes - 1 (on a CPU), and for fewer than two classes.

    Source   Uesato et al., "Adversarial risk and the dangers of evaluating against weak attacks", 2018, section 3.2;
             Carlini and Wagner, 2017, section V-A (f_6, without their floor).

    >>> margin(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]))
    tensor([-1.])
    """
    classes = logits.shape[1]
    labels = class_numbers(targets)
    if classes < 2:
        raise InputError(f"a margin needs at least two classes, got logits of shape {tuple(logits.shape)}")
    if len(labels) and labels.device.type == "cpu":
        low, high = (int(value) for value in torch.aminmax(labels))
        if low < 0 or high >= classes:
            raise InputError(f"targets: got class numbers {low} to {high}, expected 0 to {classes - 1}")
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    own = labels.unsqueeze(1)
    others = wide.scatter(1, own, -torch.inf)
    return others.amax(1) - wide.gather(1, own).squeeze(1)


def class_numbers(targets: Tensor) -> Int64[Tensor, " n"]:
    """The class of each target: of soft ones the most probable."""
    return targets.argmax(1) if targets.ndim == 2 else targets


LOSSES: Mapping[str, Loss] = MappingProxyType({"cross_entropy": cross_entropy, "margin": margin})


def named(loss: str | Loss) -> Loss:
    """The loss of that name; a function is taken as it is. Raises `InputError` for an unknown name."""
    if not isinstance(loss, str):
        return loss
    if loss not in LOSSES:
        raise unknown("loss of an attack", loss, LOSSES)
    return LOSSES[loss]
