"""Classes of data and classes of a model, matched by name; or refused, with what differs."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256

import torch
from jaxtyping import Int64
from torch import Tensor

from ..check import InputError
from ..views import Batch
from .dataset import DataSet, Match, Split, plain
from .folder import FolderSplit

FEW = 3  # names in a message
SUBSET_OPTION = "--subset-of-classes"


class Relabelled:
    """`split` with other class numbers: target t becomes table[t]. Order and images stay."""

    def __init__(self, split: Split, table: Int64[Tensor, " k"]) -> None:
        self.split, self.table = split, table
        self.targets = table[split.targets]

    def __len__(self) -> int:
        return len(self.split)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        return self.split.shape

    def batches(
        self,
        order: Int64[Tensor, " m"],
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        drop_last: bool = False,
        start: int = 0,
        workers: int | None = None,
        key: int | None = None,
    ) -> Iterator[Batch]:
        """See `Split.batches`."""
        found = self.split.batches(
            order, batch_size, device=device, drop_last=drop_last, start=start, workers=workers, key=key
        )
        return (replace(batch, targets=self.table.to(batch.targets.device)[batch.targets]) for batch in found)

    def take(self, index: Int64[Tensor, " m"]) -> "Relabelled":
        """See `Split.take`."""
        return Relabelled(self.split.take(index), self.table)

    def fingerprint(self) -> str:
        """SHA-256 of the split's own and of the targets, as little-endian 64-bit numbers."""
        digest = sha256(f"relabelled {self.split.fingerprint()}\n".encode())
        digest.update(self.targets.numpy().astype("<i8").tobytes())
        return digest.hexdigest()


def few(names: Sequence[str]) -> str:
    """Some of many names, and how many more there are.

    >>> few(["ant", "bee", "cow", "dog", "eel"])
    'ant, bee, cow and 2 more'
    """
    rest = len(names) - FEW
    return ", ".join(names[:FEW]) + (f" and {rest:,} more" if rest > 0 else "")


def difference(data: Sequence[str], model: Sequence[str], whose: str) -> str | None:
    """How the classes of data differ from those of `whose`, in a phrase; None for the same names in the same order."""
    ours, theirs = _plain(data), _plain(model)
    extra = [name for name in data if plain(name) not in theirs]
    missing = [name for name in model if plain(name) not in ours]
    parts = [f"not among those of {whose}: {few(extra)}"] if extra else []
    parts += [f"missing: {few(missing)}"] if missing else []
    if parts:
        return f"{len(data):,} classes, those of {whose} are {len(model):,}; {'; '.join(parts)}"
    return None if list(ours) == list(theirs) else f"the same classes as {whose} in another order"


def _plain(names: Sequence[str]) -> dict[str, int]:
    """Places of names; raises `InputError` for one name twice."""
    places = {plain(name): place for place, name in enumerate(names)}
    if len(places) < len(names):
        twice = next(name for place, name in enumerate(names) if places[plain(name)] != place)
        raise InputError(f"two classes are called {twice!r}; rename one of them")
    return places


def places(names: Sequence[str], among: Sequence[str], whose: str) -> Int64[Tensor, " k"]:
    """For each name its place in `among`; raises `InputError`, which begins with `whose`, unless all are there."""
    known = _plain(among)
    if strange := [name for name in names if plain(name) not in known]:
        raise InputError(
            f"{whose}: classes {few(strange)} are none of the {len(among):,} of the test set; name its data with --data"
        )
    return torch.tensor([known[plain(name)] for name in names])


def match_classes(data: DataSet, model: Sequence[str], *, whose: str, subset: bool = False) -> DataSet:
    """`data` with the class numbers of a model, by name: images and their order stay, targets change.

    model    names of the model's classes, in the order of its outputs
    whose    who has these classes, for messages
    subset   whether the data may hold some of the classes alone: they are then numbered in the model's order, and
             `DataSet.outputs` says which outputs of the model they are; the name of the data says how many

    The data set itself comes back if nothing differs. Raises `InputError` that lists what is missing and what is not
    known to the model.
    """
    if data.match is not None and data.match.model == tuple(model):
        return data
    differing = difference(data.classes, model, whose)
    if differing is None:
        return data
    ours, theirs = _plain(data.classes), _plain(model)
    if ours.keys() - theirs.keys():
        raise InputError(f"{data.name}: {differing}; name data with the same classes, or rename its folders")
    if not subset and len(ours) < len(theirs):
        way = f"'elinvar evaluate' judges on these classes and outputs alone with {SUBSET_OPTION}"
        raise InputError(f"{data.name}: {differing}; {way}")
    order = sorted(ours, key=lambda name: theirs[name])
    table = _inverse(order, ours)
    name, note = data.name, f"{data.name}: the classes of {whose} are in another order; they are matched by name"
    if len(ours) < len(theirs):
        name = f"{data.name} ({len(ours):,} of {len(theirs):,} classes)"
        note = f"{data.name}: judged on {len(ours):,} of the {len(theirs):,} classes of {whose}, by their outputs alone"
    return replace(
        data,
        name=name,
        train=_relabelled(data.train, table),
        test=_relabelled(data.test, table),
        classes=tuple(data.classes[ours[name]] for name in order),
        notes=(*data.notes, note),
        match=Match(tuple(model), data.classes if data.match is None else data.match.stored),
    )


def some_classes(data: DataSet) -> str:
    """Which classes of a model were judged, where they are some of them."""
    return f"{len(data.classes):,} of {len(data.model_classes):,} classes: {few(data.classes)}"


def _inverse(order: Sequence[str], ours: dict[str, int]) -> Int64[Tensor, " k"]:
    """For each place of `ours` the place of its name in `order`."""
    table = torch.empty(len(order), dtype=torch.int64)
    table[torch.tensor([ours[name] for name in order])] = torch.arange(len(order))
    return table


def _relabelled(split: Split, table: Int64[Tensor, " k"]) -> Split:
    same = torch.equal(table, torch.arange(len(table)))
    return split if same else Relabelled(split, table)


def in_text_order(data: DataSet) -> DataSet | None:
    """Folders called by numbers, with classes in the order of their names as text, as folders once were read.

    None where that is the same order, and for other data.
    """
    order = sorted(data.classes)
    whole = isinstance(data.train, FolderSplit) and isinstance(data.test, FolderSplit)
    if not whole or data.match is not None or tuple(order) == data.classes:
        return None
    table = _inverse(order, {name: place for place, name in enumerate(data.classes)})
    train, test = (_sorted(split, table) for split in (data.train, data.test) if isinstance(split, FolderSplit))
    return replace(data, train=train, test=test, classes=tuple(order))


def _sorted(split: FolderSplit, table: Int64[Tensor, " k"]) -> FolderSplit:
    places = table[split.targets].argsort(stable=True)
    found = split.take(places)
    found.targets = table[found.targets]
    return found
