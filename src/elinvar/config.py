"""Recipes as YAML: complete, re-runnable, with typed overrides of any leaf.

An object whose type is one of several (an augmentation, an objective, a sharing rule) is written as `class_path` and
`init_args`; a file that somebody else wrote may only name classes of this library, unless it is trusted.
"""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from . import mixing  # noqa: F401  a file may name its transforms, and only classes that are loaded can be named
from .check import InputError
from .forms import check_form, is_abstract, path_of
from .recipe import Recipe


def to_config(value: Any) -> Any:
    """Settings as plain data: dicts, lists, numbers and strings."""
    if isinstance(value, Enum):
        return value.name
    if is_dataclass(value) and not isinstance(value, type):
        arguments = {field.name: to_config(getattr(value, field.name)) for field in fields(value)}
        if any(is_abstract(base) for base in type(value).__mro__):
            return {"class_path": path_of(type(value)), "init_args": arguments}
        return arguments
    if isinstance(value, tuple | list):
        return [to_config(item) for item in value]
    if isinstance(value, dict):
        return {key: to_config(item) for key, item in value.items()}
    return value


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="recipe", exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(Recipe, fail_untyped=True)
    return parser


def _clear(error: Exception) -> InputError:
    text = " ".join(str(error).split()).replace('Parser key "', "").replace('":', ":")
    return InputError(f"recipe: {text}")


def _build(parser: ArgumentParser, config: Any) -> Recipe:
    try:
        return Recipe(**vars(parser.instantiate(config)))
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        raise _clear(error) from error


def override(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """The recipe with leaves replaced: `["train.epochs=30", "model.name=wrn-16-1"]`.

    Raises `InputError` for a path that does not exist or a value of another type.
    """
    for assignment in assignments:
        if "=" not in assignment:
            raise InputError(f"--set {assignment}: expected PATH=VALUE, for example train.epochs=30")
    parser = _parser()
    parser.set_defaults(to_config(recipe))
    try:
        given = parser.parse_args([f"--{assignment}" for assignment in assignments])
        config = parser.parse_object(given.as_dict())  # defaults are not read: what they hold would stay plain data
    except Exception as error:
        raise _clear(error) from error
    return _build(parser, config)


def dump(recipe: Recipe) -> str:
    """The recipe as YAML."""
    return yaml.safe_dump(to_config(recipe), sort_keys=False)


def _check_harmless(config: Any, path: Path) -> None:
    """Raise `InputError` unless reading `config` imports and calls nothing but this library's own settings classes."""
    try:
        check_form(config, Recipe, "")
        name = str(config.get("model", {}).get("name", ""))
        if any(mark in name for mark in ".:"):
            raise InputError(f"model.name: {name!r} is code outside of elinvar, which would run")
    except InputError as error:
        raise InputError(f"{path}: {error}; if you trust where the file comes from, allow it with --trust") from error


def load(path: Path, *, trust: bool = False) -> Recipe:
    """Read a recipe from a YAML file.

    Raises `InputError` if it is unreadable, does not describe a recipe, or, unless `trust`, is written in any other
    form than `dump` writes or names code outside of elinvar: importing a class or building a model runs it.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not a readable recipe ({' '.join(str(error).split())})") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: expected a recipe as a YAML mapping, got {type(config).__name__}")
    if not trust:
        _check_harmless(config, path)
    parser = _parser()
    try:
        return _build(parser, parser.parse_object(config))
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: {_clear(error)}") from error
