"""The table of policies: whole augmentations that people name, each with its default settings."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from .augmix import AugMix, RandomChain
from .base import Augmentation
from .crop import Flip, PadCrop

POLICIES: Mapping[str, Callable[[], Augmentation]] = MappingProxyType(
    {"augmix": AugMix, "random_chain": RandomChain, "random_flip": Flip, "pad_crop": PadCrop}
)
