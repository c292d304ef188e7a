"""torchvision and timm as peers in tests, also where torchvision's compiled operators were built for another torch."""

import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

_OPERATORS = ("nms", "qnms")
_declared: list[object] = []


def _declare_what_cannot_be_loaded() -> None:
    """torchvision fails to import where two of its operators are unknown; no test calls them."""
    spec = find_spec("torchvision")
    assert spec is not None, "the dev dependency group installs torchvision"
    operators: Any = torch.ops
    fragment: Any = torch.library.Library
    for place in spec.submodule_search_locations or []:
        for compiled in Path(place).glob("_C*.so"):
            try:
                operators.load_library(str(compiled))
            except OSError:
                continue
            return
    library = fragment("torchvision", "FRAGMENT")
    for name in _OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)  # operators live as long as this


def load(name: str) -> ModuleType:
    """The module `name` of torchvision or timm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not _declared:
            _declare_what_cannot_be_loaded()
        return import_module(name)
