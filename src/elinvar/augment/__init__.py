"""Augmentations: each draws a small program per example, which compiled code (CPU) or tensor code (GPU) runs."""

from .augmix import AugMix as AugMix
from .augmix import RandomChain as RandomChain
from .autoaugment import AutoAugment as AutoAugment
from .backend import apply as apply
from .base import Augmentation as Augmentation
from .base import Compose as Compose
from .base import Programmed as Programmed
from .crop import Flip as Flip
from .crop import PadCrop as PadCrop
from .levels import AUGMIX_LEVELS as AUGMIX_LEVELS
from .levels import LEVELS as LEVELS
from .levels import Levels as Levels
from .levels import Range as Range
from .noise import GaussianNoise as GaussianNoise
from .noise import PatchGaussian as PatchGaussian
from .noise import PatchUniform as PatchUniform
from .ops import OPS as OPS
from .ops import Kind as Kind
from .ops import Op as Op
from .policies import POLICIES as POLICIES
from .program import Program as Program
from .program import concatenate as concatenate
from .randaugment import RandAugment as RandAugment
from .randaugment import sample_policies as sample_policies
from .regions import Cutout as Cutout
from .regions import RandomErasing as RandomErasing
