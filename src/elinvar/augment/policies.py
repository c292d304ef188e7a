"""The table of policies: whole augmentations that people name, each with its default settings."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from .augmix import AugMix, RandomChain
from .autoaugment import AutoAugment
from .base import Augmentation
from .crop import Flip, PadCrop
from .noise import GaussianNoise, PatchGaussian, PatchUniform
from .randaugment import RandAugment
from .regions import Cutout, RandomErasing


def autoaugment_cifar10() -> AutoAugment:
    """Put each image through one of the 25 pairs of operations that AutoAugment found on CIFAR-10."""
    return AutoAugment("cifar10")


def autoaugment_imagenet() -> AutoAugment:
    """Put each image through one of the 25 pairs of operations that AutoAugment found on ImageNet."""
    return AutoAugment("imagenet")


def autoaugment_svhn() -> AutoAugment:
    """Put each image through one of the 25 pairs of operations that AutoAugment found on SVHN."""
    return AutoAugment("svhn")


def autoaugment_overlap_free() -> AutoAugment:
    """AutoAugment for CIFAR-10 without operations that overlap corruptions: AugMix's AutoAugment*."""
    return AutoAugment("cifar10", overlap_free=True)


def cutout() -> Cutout:
    """Take a square of 8 pixels out of each image, as on CIFAR-100."""
    return Cutout(8)


def gaussian_noise() -> GaussianNoise:
    """Add Gaussian noise of standard deviation .1 to every value."""
    return GaussianNoise(0.1)


POLICIES: Mapping[str, Callable[[], Augmentation]] = MappingProxyType(
    {
        "augmix": AugMix,
        "random_chain": RandomChain,
        "randaugment": RandAugment,
        "autoaugment_cifar10": autoaugment_cifar10,
        "autoaugment_imagenet": autoaugment_imagenet,
        "autoaugment_svhn": autoaugment_svhn,
        "autoaugment_overlap_free": autoaugment_overlap_free,
        "cutout": cutout,
        "random_erasing": RandomErasing,
        "gaussian_noise": gaussian_noise,
        "patch_gaussian": PatchGaussian,
        "patch_uniform": PatchUniform,
        "random_flip": Flip,
        "pad_crop": PadCrop,
    }
)
