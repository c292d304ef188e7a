"""Distillation: a student's prediction should be its teacher's, by logits of one length."""

from jaxtyping import Float
from torch import Tensor

from ..check import InputError
from ..outputs import warn_on_cpu
from .total import check_weight
from .wide import directions, wide


def distillation(
    students: Float[Tensor, "*students n classes"],
    teacher: Float[Tensor, "n classes"],
    *,
    normalize: bool = True,
    scale: float | None = 1.0,
) -> Float[Tensor, "*students n"]:
    """Kullback-Leibler divergence of each example's student from its teacher, in nats.

        KL(softmax(s t / ||t||) || softmax(s z / ||z||)),      without normalization KL(softmax(s t) || softmax(s z))

    students    one or several on top of each other, z
    teacher     t; the gradient flows into it too unless it is detached
    normalize   divide logits by their l2 norm, example by example: then no logits are too large to follow
    scale       s > 0. With 1, as printed, unit logits give nearly uniform predictions: two that are sure of different
                classes are 0.147 apart for 10 classes, 0.0017 for 1000. None: the teacher's own norm, example by
                example and without a gradient, so that the teacher is taken as it is and the student at its size

    In float32 or wider, finite for logits up to 1e38 (normalized) or 1e37. Logits of 0 stay 0 when they are normalized.

    Raises `InputError` for shapes that differ, a scale that is not above 0, and `scale=None` without normalization.
    Warns, on a CPU, of a teacher of probabilities.

    Source   Li et al., "A2-Aug", CVPR Workshops 2023, equation 8 and Table 8.

    >>> import torch
    >>> teacher = torch.tensor([[4.0, 0.0, 0.0]])
    >>> distillation(10 * teacher, teacher), distillation(-teacher, teacher, scale=None).round(decimals=2)
    (tensor([0.]), tensor([4.3800]))
    """
    check_scale(normalize, scale)
    if students.shape[-2:] != teacher.shape:
        raise InputError(f"students: got shape {tuple(students.shape)} for a teacher of {tuple(teacher.shape)}")
    warn_on_cpu(teacher, "teacher")
    if not normalize and scale is not None:
        return _divergence(scale * wide(teacher), scale * wide(students))
    (target, length), (students, _) = directions(teacher), directions(students)
    by = length if scale is None else scale
    return _divergence(by * target, by * students)


def _divergence(teacher: Tensor, students: Tensor) -> Tensor:
    log_p = teacher.log_softmax(-1)
    return (log_p.exp() * (log_p - students.log_softmax(-1))).sum(-1)


def check_scale(normalize: bool, scale: float | None) -> None:
    """Raise `InputError` for a scale that is none."""
    if scale is None:
        if not normalize:
            raise InputError(
                "scale: got None, the teacher's norm, without normalization; use normalize=True or scale=1"
            )
        return
    check_weight(scale, "scale")
    if not scale:
        raise InputError("scale: got 0, expected a number above 0, or None for the teacher's norm")
