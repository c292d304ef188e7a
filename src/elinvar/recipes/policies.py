"""Searched policies: RandAugment (Cubuk et al., 2020) and AutoAugment (Cubuk et al., 2019), with flip, crop and Cutout.

Run       elinvar train randaugment --data cifar10:DIR
Cost      1 training forward per example
Expected  error 4.2 % (RandAugment) and 4.1 % (AutoAugment) on CIFAR-10 with WRN-28-2 (Merchant et al., 2020, Table 2);
          AutoAugment with `overlap_free`: 23.9 % on CIFAR-10-C with WRN-40-2 (Hendrycks et al., ICLR 2020, Table 4)
Measured  not on CIFAR yet
Differs   100 epochs where the searches trained for 200; levels as torchvision reads them; warps blend four pixels, and
          are grey outside of the image; standardization and precision are those of `standard`, by mean and standard
          deviation of the training set
"""

from dataclasses import replace

from ..augment import Augmentation, AutoAugment, Cutout, Flip, PadCrop, RandAugment
from ..recipe import Recipe
from .standard import standard

# CIFAR-10's mean color, which standardization makes 0.
MEAN = (125, 123, 114)


def _with(policy: Augmentation, name: str, epochs: int, cutout: int) -> Recipe:
    base = standard(epochs=epochs)
    last = (Cutout(cutout, MEAN),) if cutout else ()
    return replace(base, name=name, train=replace(base.train, shared=(policy, Flip(), PadCrop(4), *last)))


def randaugment(*, epochs: int = 100, n: int = 3, m: float = 4.0, cutout: int = 16) -> Recipe:
    """Three random operations at magnitude 4 of 30, flip, crop, and a square of 16 pixels taken out."""
    return _with(RandAugment(n, m), "randaugment", epochs, cutout)


def autoaugment(*, epochs: int = 100, overlap_free: bool = False, cutout: int = 16) -> Recipe:
    """One of 25 pairs of operations found on CIFAR-10, flip, crop, and a square of 16 pixels taken out."""
    return _with(AutoAugment("cifar10", overlap_free=overlap_free), "autoaugment", epochs, cutout)
