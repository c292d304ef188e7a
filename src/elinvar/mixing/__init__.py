"""Mixed examples: a weight map for each pair, one blend, soft targets.

    from elinvar import mixing

    images, targets = mixing.mix("vh_mixup", images, targets, classes=10)       # any name in mixing.METHODS
    mix = mixing.Mix(mixing.Choice(("mixup", "cutmix")), classes=10)            # one of several for each example
    loader = DataLoader(data, batch_size=128, collate_fn=mixing.collate(mix))   # in workers; else mix(images, targets)

Train on the soft targets with `torch.nn.functional.cross_entropy(logits, targets)`.

Source   Summers, Understanding and Improving Deep Learning, 2021, chapter 2, for 16 methods; Yun et al., CutMix, 2019.
"""

from .backend import blend as blend
from .base import Drawn as Drawn
from .base import Method as Method
from .base import Mixing as Mixing
from .batch import Choice as Choice
from .batch import Mix as Mix
from .batch import mix as mix
from .center import zero_mean as zero_mean
from .collate import Collate as Collate
from .collate import collate as collate
from .concat import BCPlus as BCPlus
from .concat import HorizontalConcat as HorizontalConcat
from .concat import MixedConcat as MixedConcat
from .concat import Random2x2 as Random2x2
from .concat import VerticalConcat as VerticalConcat
from .concat import VHBCPlus as VHBCPlus
from .concat import VHMixup as VHMixup
from .linear import Mixup as Mixup
from .linear import NoisyMixup as NoisyMixup
from .linear import Unmixed as Unmixed
from .maps import Map as Map
from .pairing import Pairing as Pairing
from .pairing import partners as partners
from .paste import CutMix as CutMix
from .paste import RandomColumnInterval as RandomColumnInterval
from .paste import RandomRowInterval as RandomRowInterval
from .paste import RandomSquare as RandomSquare
from .scatter import RandomColumns as RandomColumns
from .scatter import RandomElements as RandomElements
from .scatter import RandomPixels as RandomPixels
from .scatter import RandomRows as RandomRows
from .table import METHODS as METHODS
from .table import method as method
from .view import MixView as MixView
