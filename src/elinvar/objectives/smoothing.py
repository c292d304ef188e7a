"""Label smoothing: targets that are never quite sure, in both conventions."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..check import InputError, unknown

CONVENTIONS = ("others", "uniform")


def smooth_targets(
    targets: Int64[Tensor, " n"] | Float[Tensor, "n classes"], classes: int, s: float, convention: str = "others"
) -> Float[Tensor, "n classes"]:
    """Smoothed soft targets, for class numbers or for soft targets whose rows sum to 1.

        others    1 - s on the class, s / (K - 1) on every other:   y (1 - s K / (K - 1)) + s / (K - 1)
        uniform   a share s spread over all classes:                y (1 - s) + s / K

    classes   K
    s         strength: 0 to 1 - 1/K for "others", where that is uniform; 0 to 1 for "uniform"

    "others" with s is "uniform" with s K / (K - 1). Both are linear in y: smoothing before or after mixing is the
    same. Rows sum to 1; float32, or the dtype of the targets if that is wider. The logits that fit "others" best are
    log((1 - s)(K - 1) / s) apart.

    Raises `InputError` for an s out of range, targets that do not fit the classes, and, on a CPU, class numbers
    outside of 0 to K - 1.

    Source   "others": Summers, thesis, equation 3.8. "uniform": Szegedy et al. 2016, and `label_smoothing` of torch.

    >>> smooth_targets(torch.tensor([2]), 3, 0.2), smooth_targets(torch.tensor([2]), 3, 0.3, "uniform")
    (tensor([[0.1000, 0.1000, 0.8000]]), tensor([[0.1000, 0.1000, 0.8000]]))
    """
    if classes < 1:
        raise InputError(f"classes: got {classes}, expected at least 1")
    if convention not in CONVENTIONS:
        raise unknown("convention of label smoothing", convention, CONVENTIONS)
    top = 1.0 - 1.0 / classes if convention == "others" else 1.0
    if not (math.isfinite(s) and 0.0 <= s <= top + 1e-12):
        raise InputError(f"s: got {s}, expected 0 to {top:.4g} for {classes} classes by the convention {convention!r}")
    other = s / max(classes - 1, 1) if convention == "others" else s / classes
    own = 1.0 - s if convention == "others" else 1.0 - s + other
    if targets.ndim == 1 and targets.dtype == torch.int64:
        check_class_numbers(targets, classes)
        rows = torch.full((len(targets), classes), other, dtype=torch.float32, device=targets.device)
        return rows.scatter_(1, targets[:, None], own)
    if targets.ndim != 2 or targets.shape[1] != classes or not targets.is_floating_point():
        raise InputError(
            f"targets: got {targets.dtype} of shape {tuple(targets.shape)}, expected int64 class numbers (n,), "
            f"or floating point soft targets (n, {classes})"
        )
    return targets.to(torch.promote_types(targets.dtype, torch.float32)) * (own - other) + other


def check_class_numbers(targets: Int64[Tensor, " n"], classes: int) -> None:
    """Raise `InputError` for class numbers outside of 0 to classes - 1, where looking waits for no device."""
    if not len(targets) or targets.device.type != "cpu" or torch.compiler.is_compiling():
        return
    low, high = (int(value) for value in torch.aminmax(targets))
    if low < 0 or high >= classes:
        raise InputError(f"targets: got class numbers {low} to {high}, expected 0 to {classes - 1}")
