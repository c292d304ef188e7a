"""Affine: which gamma and beta follow the normalization, and what weight decay does to them."""

from enum import StrEnum

from torch import nn

from ..check import InputError
from ..routing import Routed


class Affine(StrEnum):
    """Who owns gamma and beta."""

    SHARED = "shared"  # one pair for all branches
    SEPARATE = "separate"  # one pair for each branch
    NONE = "none"  # the normalized values as they are


def parameter_groups(
    model: nn.Module,
    *,
    weight_decay: float,
    norm_decay: float | None = None,
    bias_decay: float | None = None,
) -> list[dict[str, object]]:
    """Parameter groups for any torch optimizer that say what is decayed: `weights`, `norm` (gamma, beta) and `bias`.

    weight_decay  of everything that is not said otherwise (convolutions, linear weights)
    norm_decay    of gamma and beta of normalization layers; None: as `weight_decay`, which the five works do
    bias_decay    of all other biases; None: as `weight_decay`

    Every trainable parameter is in exactly one group, frozen ones in none; groups without parameters are left out.
    """
    decays = {
        "weights": weight_decay,
        "norm": weight_decay if norm_decay is None else norm_decay,
        "bias": weight_decay if bias_decay is None else bias_decay,
    }
    for name, decay in decays.items():
        if not decay >= 0.0:
            raise InputError(f"weight decay of {name}: got {decay}, expected a number of at least 0")
    members: dict[str, list[nn.Parameter]] = {name: [] for name in decays}
    norms = (Routed, nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
    of_norm = {id(p) for module in model.modules() if isinstance(module, norms) for p in module.parameters()}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = "norm" if id(parameter) in of_norm else "bias" if name.endswith("bias") else "weights"
            members[kind].append(parameter)
    return [
        {"name": name, "params": members[name], "weight_decay": decay}
        for name, decay in decays.items()
        if members[name]
    ]
