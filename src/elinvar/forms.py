"""Whether a config has exactly the form in which recipes are written, so that reading it can run nobody's code.

Recipe files are read by a parser that also understands import paths, file names and YAML inside of strings. For files
from strangers each of these is a way to have something imported or called. What passes here holds only numbers, short
texts, lists, mappings with the fields of our own settings classes, and class paths of classes that are already loaded.
"""

import re
from abc import ABC
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from .check import InputError

WORD = re.compile(r"[\w.+-]*(?: [\w.+-]+)*")


def _subclasses(base: type[Any]) -> Iterator[type[Any]]:
    for child in base.__subclasses__():
        yield child
        yield from _subclasses(child)


def path_of(settings: type) -> str:
    """The class path by which a config names a settings class."""
    return f"{settings.__module__}.{settings.__qualname__}"


def is_abstract(hint: object) -> bool:
    """Whether a field of this type takes one of several settings classes, so that a config must say which."""
    return isinstance(hint, type) and ABC in hint.__bases__


def check_form(value: Any, hint: Any, where: str) -> None:
    """Raise `InputError` unless `value` is the config of something of type `hint`."""
    if hint is Any:
        _check_plain(value, where)
    elif get_origin(hint) in (Union, UnionType):
        _check_one_of(value, get_args(hint), where)
    elif is_abstract(hint):
        _check_one_of(value, (hint,), where)
    elif is_dataclass(hint) and isinstance(hint, type):
        _check_fields(value, hint, where)
    elif get_origin(hint) in (tuple, list):
        if not isinstance(value, list):
            raise _wrong(where, value, "a list")
        for place, item in enumerate(value):
            check_form(item, get_args(hint)[0], f"{where}[{place}]")
    elif get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise _wrong(where, value, "a mapping")
        for key, item in value.items():
            _check_plain(key, where)
            check_form(item, get_args(hint)[1], f"{where}.{key}")
    elif isinstance(hint, type) and issubclass(hint, Enum):
        if value not in hint.__members__:
            raise _wrong(where, value, f"one of {', '.join(hint.__members__)}")
    else:
        _check_plain(value, where)


def _check_one_of(value: Any, hints: tuple[Any, ...], where: str) -> None:
    if value is None and type(None) in hints:
        return
    several = [hint for hint in hints if is_abstract(hint)]
    if not several:
        check_form(value, next(hint for hint in hints if hint is not type(None)), where)
        return
    known = {path_of(child): child for base in several for child in _subclasses(base) if is_dataclass(child)}
    if not isinstance(value, dict) or not set(value) <= {"class_path", "init_args"} or "class_path" not in value:
        raise _wrong(where, value, "a mapping of class_path and init_args")
    if value["class_path"] not in known:
        raise _wrong(where, value["class_path"], f"one of {', '.join(sorted(known))}")
    _check_fields(value.get("init_args", {}), known[value["class_path"]], where)


def _check_fields(value: Any, settings: type, where: str) -> None:
    if not isinstance(value, dict):
        raise _wrong(where, value, f"a mapping of the settings of {settings.__name__}")
    hints, names = get_type_hints(settings), {field.name for field in fields(settings)}
    for name, item in value.items():
        if name not in names:
            raise _wrong(where, name, f"a setting of {settings.__name__} ({', '.join(sorted(names))})")
        check_form(item, hints[name], f"{where}.{name}" if where else name)


def _check_plain(value: Any, where: str) -> None:
    if isinstance(value, list):
        for item in value:
            _check_plain(item, where)
    elif not (value is None or isinstance(value, bool | int | float) or _is_word(value)):
        raise _wrong(where, value, "a number or a plain word")


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and WORD.fullmatch(value) is not None


def _wrong(where: str, value: Any, expected: str) -> InputError:
    return InputError(f"{where or 'recipe'}: got {str(value)[:80]!r}, expected {expected}")
