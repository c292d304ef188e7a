"""A copy of a model, also where older tools left computed weights on its layers."""

import copy
from typing import TypeVar

from torch import Tensor, nn

from ..check import InputError

M = TypeVar("M", bound=nn.Module)


def copied(model: M) -> M:
    """A deep copy of `model`.

    Weights that hooks compute before every forward (pruning, the older weight_norm) are copied as values; the hooks
    compute them anew.

    Raises `InputError` for a model that cannot be copied.
    """
    computed = (value for module in model.modules() for value in vars(module).values() if isinstance(value, Tensor))
    memo = {id(value): value.detach().clone() for value in computed if not value.is_leaf}
    try:
        return copy.deepcopy(model, memo)
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{type(model).__name__} holds something that cannot be copied ({reason})") from error
