"""Weight decay toward a value other than 0, which torch's optimizers do not know.

A parameter group says so by a key of its own, which optimizers keep and do not read:

    {"params": [...], "weight_decay": wd, "decays_to": t}

The optimizer decays toward 0 and two hooks around its step add what is missing, once for each step:

    coupled    the gradient g + wd w becomes g + wd (w - t): t wd is taken from the gradient before the step
    decoupled  the step's w - lr wd w becomes w - lr wd (w - t): t lr wd is added to the weight after it

So the optimizer's own decay, whatever its schedule, and the correction always belong together.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from ..check import InputError

KEY = "decays_to"
_COUPLED = ("SGD", "Adam", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta", "ASGD")
_registered: list[Any] = []


def watch_optimizers() -> None:
    """From now on, every optimizer's step serves the groups that carry `decays_to`."""
    if not _registered:
        _registered[:] = register_optimizer_step_pre_hook(_before), register_optimizer_step_post_hook(_after)


def _is_decoupled(optimizer: Optimizer, group: dict[str, Any]) -> bool:
    kind = type(optimizer)
    if "decoupled_weight_decay" in group:
        return bool(group["decoupled_weight_decay"])
    if isinstance(optimizer, AdamW):
        return True
    if kind.__module__.startswith("torch.optim.") and kind.__name__ in _COUPLED:
        return False
    raise InputError(
        f"{kind.__module__}.{kind.__qualname__}: unknown whether its weight decay joins the gradient or the weight, so "
        f"gamma cannot decay to {group[KEY]}; set 'decoupled_weight_decay' to True or False in the parameter groups, "
        "or use gamma_to=0"
    )


def _groups(optimizer: Optimizer, *, decoupled: bool) -> list[dict[str, Any]]:
    wanted = [group for group in optimizer.param_groups if group.get(KEY) and group["weight_decay"]]
    return [group for group in wanted if _is_decoupled(optimizer, group) is decoupled]


def _correct_gradients(optimizer: Optimizer, groups: list[dict[str, Any]]) -> None:
    scale = getattr(optimizer, "grad_scale", None)  # a fused optimizer under GradScaler divides by it in its kernel
    with torch.no_grad():
        for group in groups:
            pull: float | Tensor = group[KEY] * group["weight_decay"] * (-1.0 if group.get("maximize") else 1.0)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.sub_(pull if scale is None else (pull * scale).to(parameter.grad.device))


def _before(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    groups = _groups(optimizer, decoupled=False)
    if not groups:
        return None
    closure = args[1] if len(args) > 1 else kwargs.get("closure")
    if closure is None:
        _correct_gradients(optimizer, groups)
        return None

    def corrected() -> Any:
        loss = closure()  # makes the gradients inside of the step
        _correct_gradients(optimizer, groups)
        return loss

    return (args[:1], {**kwargs, "closure": corrected})


def _after(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    overflow = getattr(optimizer, "found_inf", None)  # 1.0 when a fused optimizer under GradScaler changed nothing
    with torch.no_grad():
        for group in _groups(optimizer, decoupled=True):
            pull = group[KEY] * group["weight_decay"] * group["lr"]
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.add_(pull if overflow is None else (pull * (1.0 - overflow)).to(parameter.device))
