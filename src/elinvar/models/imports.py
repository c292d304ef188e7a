"""Find what an import path names, by importing and never by evaluating."""

from difflib import get_close_matches
from importlib import import_module
from types import ModuleType

from ..check import InputError


def find(path: str) -> object:
    """What `package.module:attribute` or `package.module.attribute` names; attributes may be nested.

    The form with a colon is exact. In the other one each part is looked up as an attribute first, then as a module.

    Raises `InputError` when a part does not exist, with the nearest name that does, or cannot be imported.

    >>> find("torch.nn:BatchNorm2d") is find("torch.nn.BatchNorm2d")
    True
    """
    module, colon, attribute = path.partition(":")
    parts = module.split(".")
    names = attribute.split(".") if colon else []
    if not all(part.isidentifier() for part in parts + names):
        raise InputError(f"got {path!r}, expected an import path: package.module:attribute or package.module.attribute")
    if colon:
        found: object = _imported(module, path)
    else:
        found, names = _imported(parts[0], path), parts[1:]
    for place, name in enumerate(names, start=1):
        if not colon and not hasattr(found, name) and hasattr(found, "__path__"):
            found = _imported(".".join(parts[: place + 1]), path)
        else:
            found = _attribute(found, name, path)
    return found


def _imported(module: str, path: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise InputError(f"{path!r}: importing {module} failed, it needs {error.name}: {error}") from error
        parent, _, name = module.rpartition(".")
        if parent and error.name == module:
            raise _missing(import_module(parent), name, path) from error
        raise InputError(
            f"{path!r}: there is no module {error.name!r}; install it, or put its folder on PYTHONPATH"
        ) from error
    except ImportError as error:
        raise InputError(f"{path!r}: importing {module} failed: {error}") from error


def _attribute(owner: object, name: str, path: str) -> object:
    if not hasattr(owner, name):
        raise _missing(owner, name, path)
    return getattr(owner, name)


def _missing(owner: object, name: str, path: str) -> InputError:
    near = get_close_matches(name, [known for known in dir(owner) if not known.startswith("_")], n=3)
    hint = f"did you mean {', '.join(map(repr, near))}?" if near else "check its spelling"
    return InputError(f"{path!r}: {getattr(owner, '__name__', owner)} has no {name!r}; {hint}")
