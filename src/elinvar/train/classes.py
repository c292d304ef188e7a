"""The classes that a run was trained on, and those of the data that it meets afterwards."""

from collections.abc import Mapping
from typing import Any

from ..check import InputError, warn
from ..data import DataSet, match_classes
from ..data.matching import in_text_order
from .run import Run


def _section(run: Run, name: str) -> Mapping[str, Any]:
    found = run.manifest().get(name)
    return found if isinstance(found, dict) else {}


def class_names(run: Run) -> tuple[str, ...] | None:
    """The names of the classes in the order of the run's outputs; None for a run whose manifest has none."""
    found = _section(run, "data").get("classes")
    if isinstance(found, list) and found and all(isinstance(name, str) for name in found):
        return tuple(found)
    return None


def as_read_then(run: Run, data: DataSet) -> DataSet:
    """`data` as the run read them, where it is from the time when folders called by numbers were ordered as text."""
    if not run.recipe_file.exists() or class_names(run) is not None:
        return data
    before = in_text_order(data)
    if before is None or before.fingerprint() != _section(run, "data").get("fingerprint"):
        return data
    return before


def matched(run: Run, data: DataSet, *, subset: bool = False, own: bool = False) -> DataSet:
    """`data` with the class numbers of the run, by name; see `data.match_classes`.

    Of a run from the time before manifests had names: its own data are known by their fingerprint; for any others the
    number of classes is compared, and a warning says so, unless the caller takes the run's `own` data alone.

    Raises `InputError` for classes that do not fit.
    """
    names, whose = class_names(run), str(run.path)
    if names is not None:
        return match_classes(data, names, whose=whose, subset=subset)
    data = as_read_then(run, data)
    if data.fingerprint() == _section(run, "data").get("fingerprint"):
        return data
    count = _section(run, "model").get("classes")
    if isinstance(count, int) and count != len(data.classes):
        raise InputError(f"{data.name}: {len(data.classes):,} classes, {whose} has {count:,}; name other data")
    if own:
        return data
    order = ", folders called by numbers as numbers" if in_text_order(data) is not None else ""
    warn(
        f"{whose}: an older run, which keeps no names of classes, and {data.name} are not its own data: classes are "
        f"taken in the order of {data.name}{order}; train the run again to have them matched by name"
    )
    return data


def require_matched(run: Run, data: DataSet) -> None:
    """Raise `InputError` unless the class numbers of `data` are those of the run."""
    names = class_names(run)
    if names is not None and match_classes(data, names, whose=str(run.path)) is not data:
        raise InputError(
            f"{data.name}: its classes are in another order than those of {run.path}; use train.matched(run, data)"
        )
