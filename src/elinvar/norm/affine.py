"""Affine: which gamma and beta follow the normalization, and what weight decay does to them."""

import math
from enum import StrEnum

from torch import nn

from ..check import InputError
from .decay import KEY, watch_optimizers
from .memory import Bank

_NORMS = (Bank, nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


class Affine(StrEnum):
    """Who owns gamma and beta."""

    SHARED = "shared"  # one pair for all branches
    SEPARATE = "separate"  # one pair for each branch
    NONE = "none"  # the normalized values as they are


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    *,
    norm_decay: float | None = None,
    gamma_to: float = 0.0,
    beta_decay: float | None = None,
    bias_decay: float | None = None,
) -> list[dict[str, object]]:
    """Parameter groups for any torch optimizer that say what is decayed: `weights`, `norm` (gamma, beta) and `bias`.

        penalty = 1/2 (weight_decay sum w^2 + norm_decay sum (gamma - gamma_to)^2 + beta_decay sum beta^2
                       + bias_decay sum b^2)

    weight_decay  of everything that is not said otherwise (convolutions, linear weights)
    norm_decay    of gamma, and of beta where `beta_decay` is None; None: as `weight_decay`, as in the five works
    gamma_to      what gamma decays to: 0, as torch does, or 1, where normalization starts
    beta_decay    of beta; None: as gamma
    bias_decay    of all other biases; None: as `weight_decay`

    Gamma and beta are those of BatchNorm, `Norm` (all branches), Instance-, Group-, Layer- and RMSNorm. Every trainable
    parameter is in exactly one group, frozen ones in none; groups without parameters are left out. Where gamma and beta
    are treated differently the groups `gamma` and `beta` stand instead of `norm`.

    With `gamma_to`, the group of gamma carries the key `decays_to`, which hooks on the step of every optimizer obey:
    once for each step however many backwards it had, for coupled decay (SGD: gradient + wd (gamma - 1)) and decoupled
    decay (AdamW: gamma - lr wd (gamma - 1)), with `GradScaler`, with closures and inside `torch.compile`. As in torch,
    a parameter without a gradient is left alone. After a step with coupled decay, `gamma.grad` holds the correction.

    Raises `InputError` for decays that are not numbers of at least 0; and in the first step of an optimizer from
    elsewhere whose groups do not say `decoupled_weight_decay`, if `gamma_to` is not 0.

    Source   Summers, thesis, section 4.3.3: decay of gamma and beta helps where a path leads from the layer to the
             output that no later normalization rescales (`norm.reaches_output`); toward 0 or 1 made no difference.
    """
    if not math.isfinite(gamma_to):
        raise InputError(f"gamma_to: got {gamma_to}, expected the value that gamma decays to, 0 or 1")
    of_gamma = weight_decay if norm_decay is None else norm_decay
    decays = {
        "weights": weight_decay,
        "gamma": of_gamma,
        "beta": of_gamma if beta_decay is None else beta_decay,
        "bias": weight_decay if bias_decay is None else bias_decay,
    }
    for name, decay in decays.items():
        if not (decay >= 0.0 and math.isfinite(decay)):
            raise InputError(f"weight decay of {name}: got {decay}, expected a number of at least 0")
    names = {kind: kind for kind in decays}
    if gamma_to == 0.0 and decays["gamma"] == decays["beta"]:
        names["gamma"] = names["beta"] = "norm"

    roles = _roles(model)
    groups: dict[str, dict[str, object]] = {}
    for kind, name in names.items():
        members = [
            parameter
            for key, parameter in model.named_parameters()
            if parameter.requires_grad and names[_kind(key, parameter, roles)] == name
        ]
        if members:
            groups[name] = {"name": name, "params": members, "weight_decay": decays[kind]}
    if gamma_to != 0.0 and "gamma" in groups:
        groups["gamma"][KEY] = float(gamma_to)
        watch_optimizers()
    return list(groups.values())


def _roles(model: nn.Module) -> dict[int, str]:
    """Gamma and beta, by identity."""
    roles: dict[int, str] = {}
    for module in model.modules():
        if isinstance(module, _NORMS):
            own = dict(module.named_parameters(recurse=False))
            roles |= {id(own[key]): role for key, role in (("weight", "gamma"), ("bias", "beta")) if key in own}
    return roles


def _kind(name: str, parameter: nn.Parameter, roles: dict[int, str]) -> str:
    return roles.get(id(parameter)) or ("bias" if name.endswith("bias") else "weights")
