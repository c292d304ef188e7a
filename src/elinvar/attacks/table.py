"""Threats by name."""

from collections.abc import Mapping
from types import MappingProxyType

from ..check import unknown
from .l2 import L2
from .linf import Linf
from .threat import Threat

THREATS: Mapping[str, type[Threat]] = MappingProxyType({"linf": Linf, "l2": L2})


def threat(norm: str, eps: float) -> Threat:
    """The threat of that norm. Raises `InputError` for an unknown one.

    >>> threat("linf", 8 / 255) == Linf(8 / 255)
    True
    """
    if norm not in THREATS:
        raise unknown("norm of a threat", norm, THREATS)
    return THREATS[norm](eps)
