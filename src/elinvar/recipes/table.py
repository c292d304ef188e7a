"""The table of recipes: a name for each function that returns one."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ..check import unknown
from ..recipe import Recipe
from .a2_aug import a2_aug
from .augmix import augmix, augmix_no_jsd
from .mixing import cutmix, mixup, vh_mixup
from .policies import autoaugment, randaugment
from .robust import alp, label_smoothing, logit_squeezing, lrm, pgd
from .split import weak_augment
from .standard import standard

RECIPES: Mapping[str, Callable[[], Recipe]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            standard,
            augmix,
            augmix_no_jsd,
            randaugment,
            autoaugment,
            mixup,
            cutmix,
            vh_mixup,
            weak_augment,
            a2_aug,
            pgd,
            alp,
            lrm,
            label_smoothing,
            logit_squeezing,
        )
    }
)


def recipe(name: str) -> Recipe:
    """The recipe called `name`; raises `InputError` with the nearest names for any other.

    >>> recipe("augmix").train.epochs
    100
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]()
