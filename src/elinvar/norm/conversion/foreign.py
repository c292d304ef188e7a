"""Checkpoints of other libraries' layers with several statistics, read into ours: one table of key patterns."""

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from ...check import InputError
from ..layer import Norm

_HELD = "weight|bias|running_mean|running_var|num_batches_tracked"

# What follows the name of a layer in a key, and the number of the branch that the first group stands for.
_PATTERNS = (
    (re.compile(rf"aux_bn\.(\d+)\.({_HELD})"), 1),  # timm SplitBatchNorm2d; its first branch has plain keys
    (re.compile(rf"(\d+)\.({_HELD})"), 0),  # detectron2 CycleBatchNormList, with shared or separate gamma and beta
    (re.compile(rf"batchnorm()\.({_HELD})"), 0),  # composer GhostBatchNorm2d
)


def import_state_dict(model: nn.Module, state: Mapping[str, Any], *, strict: bool = True) -> Any:
    """`model.load_state_dict(state, strict)` for checkpoints whose normalization layers were those of another library.

    Known are timm's `SplitBatchNorm2d` (`aux_bn.0.` is the second branch), detectron2's `CycleBatchNormList` (`0.` and
    `1.` are branches) and composer's `GhostBatchNorm2d` (`batchnorm.`); branches are those of the policy, in order.
    Plain BatchNorm, SyncBatchNorm and FrozenBatchNorm need no translation: `model.load_state_dict` reads them, and
    branches that they lack start from the first one. `state` is not changed.

    Raises `InputError` if a layer of `state` has more branches than that of the model, and `RuntimeError` as torch does
    for keys and shapes that do not fit.
    """
    layers = {f"{name}." if name else "": module for name, module in model.named_modules() if isinstance(module, Norm)}
    return model.load_state_dict({_translated(key, layers): value for key, value in state.items()}, strict=strict)


def _translated(key: str, layers: Mapping[str, Norm]) -> str:
    prefix = next((prefix for prefix in layers if key.startswith(prefix)), None)
    if prefix is None:
        return key
    return prefix + _inside(key.removeprefix(prefix), prefix, layers[prefix].policy.branches)


def _inside(rest: str, prefix: str, branches: tuple[str, ...]) -> str:
    for pattern, first in _PATTERNS:
        match = pattern.fullmatch(rest)
        if match:
            number = int(match[1] or 0) + first
            if number >= len(branches):
                raise InputError(
                    f"the checkpoint has a branch number {number} for {prefix.rstrip('.') or 'the layer'!r}, which has "
                    f"the branches {branches}; convert the model with norm.split(branches=...) and as many names"
                )
            return match[2] if number == 0 else f"branches.{branches[number]}.{match[2]}"
    return rest
