"""Batches that are not drawn independently: few classes, many examples of each."""

from typing import Literal

import torch
from jaxtyping import Int64
from torch import Tensor

from ..check import InputError
from ..rng import bits, check_seed, fold, streams, uniform


def grouped_order(
    targets: Int64[Tensor, " n"],
    key: int,
    *,
    batches: int,
    classes: int,
    each: int,
    repeat_classes: bool = True,
    repeat_examples: bool = False,
    inside: Literal["shuffled", "by class"] = "shuffled",
) -> Int64[Tensor, " m"]:
    """Places of `batches` batches, one after the other, each of `classes` times `each` examples of one class.

    Cut it into batches of classes * each: `split.batches(order, classes * each)`. Classes are drawn uniformly among
    those that have examples, whatever their sizes. A pure function of targets and key.

    targets          of the split
    repeat_classes   draw classes with replacement, so that a batch may hold one twice; its examples are drawn twice
    repeat_examples  draw the examples of a class with replacement too; otherwise the `each` of a draw are distinct
    inside           "shuffled": a batch in random order; "by class": one class after the other, so that ghost batches
                     that are runs of neighbours see one class each

    Raises `InputError` for more classes, or examples of a class, than there are, and for a key outside of its range.

    Source   Summers, thesis, section 4.4.4 (table 4.1): 4 classes with replacement, 32 examples of each. It does not
             say whether examples repeat, nor in which order they stand. Wu and Johnson 2021, section 6.1: 16 classes, 2
             images of each.

    >>> targets = torch.arange(6) // 2
    >>> targets[grouped_order(targets, 1, batches=1, classes=3, each=2, repeat_classes=False, inside="by class")]
    tensor([0, 0, 1, 1, 2, 2])
    """
    if min(batches, classes, each) < 1:
        raise InputError(f"batches, classes and each: got {batches}, {classes} and {each}, expected at least 1")
    key = check_seed(key, name="key")
    members = [(targets == name).nonzero().flatten() for name in torch.unique(targets)]
    fewest = min(map(len, members), default=0)
    if not members or (classes > len(members) and not repeat_classes):
        raise InputError(
            f"classes: got {classes}, the targets hold {len(members)}; allow repeat_classes, or take fewer"
        )
    if each > fewest and not repeat_examples:
        raise InputError(f"each: got {each}, the smallest class has {fewest}; allow repeat_examples, or take fewer")
    of_batch = streams(fold(key, "classes"), torch.arange(batches))
    if repeat_classes:
        drawn = (uniform(of_batch, classes) * len(members)).long()
    else:
        drawn = bits(of_batch, len(members)).argsort(1)[:, :classes]
    of_draw = streams(fold(key, "examples"), torch.arange(batches * classes))
    order = torch.stack(
        [
            _some(members[name], each, stream, repeat_examples)
            for name, stream in zip(drawn.flatten(), of_draw, strict=True)
        ]
    ).view(batches, classes * each)
    if inside == "shuffled":
        order = order.gather(1, bits(streams(fold(key, "order"), torch.arange(batches)), classes * each).argsort(1))
    return order.flatten()


def _some(members: Tensor, each: int, stream: Tensor, repeat: bool) -> Tensor:
    if repeat:
        return members[(uniform(stream, each) * len(members)).long()]
    return members[bits(stream, len(members)).argsort()[:each]]
