"""The names of a model's classes, where the model or its file has them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

KEYS = ("classes", "label_names")


def names_in_file(path: Path) -> tuple[str, ...] | None:
    """The JSON list that the metadata of a safetensors file has under one of `KEYS`; None for any other file."""
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        found = next((json.loads(metadata[key]) for key in KEYS if key in metadata), None)
    except (OSError, SafetensorError, ValueError):
        return None  # a damaged file is named by who reads its weights
    return _names(found) if isinstance(found, list) else None


def names_of_model(model: nn.Module) -> tuple[str, ...] | None:
    """What timm (`pretrained_cfg`) or transformers (`config.id2label`) keep of them in a model; None for any other."""
    for module in (model, getattr(model, "network", None)):
        told = getattr(module, "pretrained_cfg", None)
        if isinstance(told, dict) and (found := _names(told.get("label_names") or ())):
            return found
        by_number = getattr(getattr(module, "config", None), "id2label", None)
        if isinstance(by_number, dict) and (found := _by_number(by_number)):
            return found
    return None


def _by_number(names: dict[Any, Any]) -> tuple[str, ...] | None:
    """Names by 0, 1, ...; None for the LABEL_0, LABEL_1, ... that stand for no names."""
    if sorted(names, key=str) != sorted(range(len(names)), key=str):
        return None
    found = _names(names[number] for number in range(len(names)))
    return None if found is None or all(name == f"LABEL_{place}" for place, name in enumerate(found)) else found


def _names(found: Iterable[Any]) -> tuple[str, ...] | None:
    names = tuple(found)
    return names if names and all(isinstance(name, str) for name in names) else None
