"""Read the pickles of the official archives and nothing else: a pickle from a stranger can run any code."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..check import InputError


class _Dtype:
    """Stands for numpy's dtype and knows no more than its code."""

    def __init__(self, code: bytes | str, *flags: object) -> None:
        self.code = _text(code)

    def __setstate__(self, state: object) -> None:
        """Byte order and the like: without meaning for single bytes."""


class _Array:
    """Stands for numpy's array: only bytes, which numpy's safe constructors check."""

    bytes = np.empty(0, dtype=np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, columns_first, data = state
        if dtype.code != "u1":
            raise ValueError(f"array of {dtype.code}, expected bytes (u1)")
        self.bytes = np.frombuffer(data, dtype=np.uint8).reshape(shape, order="F" if columns_first else "C")


def _reconstruct(kind: type, shape: tuple[int, ...], code: bytes | str) -> _Array:
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"text in {encoding}, expected latin1")
    return text.encode("latin-1")


ALLOWED: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,  # how Python 3 writes bytes in the format of Python 2
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., object]:
        if (module, name) not in ALLOWED:
            raise InputError(f"asks for {module}.{name}")
        return ALLOWED[module, name]


def _text(key: object) -> object:
    return key.decode("latin-1") if isinstance(key, bytes) else key


def read_pickle(path: Path) -> dict[object, Any]:
    """The dictionary in `path`, keys as text. Values can be arrays of bytes, numbers, text, lists and dictionaries.

    Raises `InputError` for a pickle that asks for anything else, before any of it runs, and for what is no dictionary.
    """
    try:
        with path.open("rb") as file:
            found = _Unpickler(file, encoding="bytes").load()
    except InputError as error:
        raise InputError(
            f"{path}: refuses to load this pickle, which {error}; image batches need only arrays, lists and text: "
            "get the official archive"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a readable file") from error
    except Exception as error:  # damaged pickles raise nearly everything: EOFError, KeyError, ValueError, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: damaged pickle ({reason}); get the official archive again") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: holds a {type(found).__name__}, expected a dictionary; get the official archive")
    return {_text(key): value.bytes if isinstance(value, _Array) else value for key, value in found.items()}
