"""The table of mixing methods, by the names of the thesis' published code."""

from collections.abc import Mapping
from types import MappingProxyType

from ..check import InputError, unknown
from .base import BetaMethod, Method
from .concat import BCPlus, HorizontalConcat, MixedConcat, Random2x2, VerticalConcat, VHBCPlus, VHMixup
from .linear import Mixup, NoisyMixup
from .paste import CutMix, RandomColumnInterval, RandomRowInterval, RandomSquare
from .scatter import RandomColumns, RandomElements, RandomPixels, RandomRows

METHODS: Mapping[str, type[Method]] = MappingProxyType(
    {
        "mixup": Mixup,
        "bcplus": BCPlus,
        "vert_concat": VerticalConcat,
        "horizontal_concat": HorizontalConcat,
        "mixed_concat": MixedConcat,
        "random_2x2": Random2x2,
        "vh_mixup": VHMixup,
        "vh_bcplus": VHBCPlus,
        "random_square": RandomSquare,
        "random_column_interval": RandomColumnInterval,
        "random_row_interval": RandomRowInterval,
        "random_rows": RandomRows,
        "random_columns": RandomColumns,
        "random_pixels": RandomPixels,
        "random_elements": RandomElements,
        "noisy_mixup": NoisyMixup,
        "cutmix": CutMix,
    }
)


def method(name: str, *, alpha: float = 1.0) -> Method:
    """The method of that name with its default settings.

    alpha   above 0: of Beta(alpha, alpha), for methods that draw a lambda

    Raises `InputError` for an unknown name, and for an alpha that the method has no use for.

    >>> method("vh_mixup", alpha=0.4)
    VHMixup(alpha=0.4, label='realized')
    """
    if name not in METHODS:
        raise unknown("mixing method", name, METHODS)
    kind = METHODS[name]
    if issubclass(kind, BetaMethod):
        return kind(alpha=alpha)
    if alpha != 1.0:
        raise InputError(f"alpha: got {alpha}, but {name} draws nothing from Beta(alpha, alpha); leave alpha at 1")
    return kind()
