"""Smaller versions of a data set, for experiments that must be quick."""

from dataclasses import replace

from ..check import InputError
from ..rng import fold
from .dataset import DataSet, Split
from .order import stratified_order


def _prefix(split: Split, count: int | None, part: str) -> Split:
    if count is None:
        return split
    if not 1 <= count <= len(split):
        raise InputError(f"{part}: got {count} examples, expected 1 to {len(split)}")
    return split.take(stratified_order(split.targets, fold("subset"))[:count])


def subset(dataset: DataSet, *, train: int | None = None, test: int | None = None) -> DataSet:
    """So many examples of each split, None for all: classes in proportion, and always the same ones.

    A smaller subset is the beginning of a larger one. The constants that standardize stay those of the whole set.
    Raises `InputError` for more examples than there are.
    """
    return replace(dataset, train=_prefix(dataset.train, train, "train"), test=_prefix(dataset.test, test, "test"))


def hold_out(split: Split, count: int) -> tuple[Split, Split | None]:
    """`split` without `count` examples, and these, if any: classes in proportion, and always the same ones.

    Raises `InputError` if nothing would be left.
    """
    if not 0 <= count < len(split):
        raise InputError(
            f"held_out: got {count} of {len(split)} examples, expected 0 to {len(split) - 1}; set train.held_out"
        )
    if not count:
        return split, None
    order = stratified_order(split.targets, fold("held out"))
    return split.take(order[count:].sort().values), split.take(order[:count].sort().values)
