"""Mixed examples: mixup (Zhang et al., 2018), CutMix (Yun et al., 2019), VH-Mixup (Summers, thesis, 2021, chapter 2).

Run       elinvar train vh_mixup --data cifar10:DIR; on CIFAR-100 with --set train.optimizer.weight_decay=5e-4
Cost      1 training forward per example
Expected  mixup and CutMix: error 22.3 % and 27.1 % on CIFAR-10-C with WRN-40-2 (Hendrycks et al., ICLR 2020, Table 1);
          mixup and VH-Mixup: 4.3 % and 3.8 % on CIFAR-10 itself with a pre-activation ResNet-18 in 225 epochs, where
          standard training has 5.4 % (thesis, Table 2.1)
Measured  not on CIFAR yet
Differs   model and schedule are those of `standard`, so that one thing changes (the thesis' model: --set
          model.name=preact-resnet-18); every example draws its own lambda; partners come from the batch, where the
          thesis pairs the shuffled data and halves it; crops are padded with black, not with the mean; averages of
          bytes are rounded to 256 values; standardization and precision are those of `standard` (what the thesis
          subtracts and divides by is not stated)
"""

from dataclasses import replace

from ..mixing import CutMix, Method, Mixup, MixView, VHMixup
from ..recipe import Recipe, Sgd, ViewSpec
from .standard import standard

# On CIFAR-10 mixed examples want a fifth of the weight decay (Zhang et al.; thesis, section 2.4).
WEIGHT_DECAY = 1e-4


def _mixed(name: str, method: Method, probability: float, epochs: int, weight_decay: float) -> Recipe:
    base = standard(epochs=epochs)
    view = ViewSpec(name="clean", transforms=(MixView(method, probability),))
    train = replace(base.train, views=(view,), optimizer=Sgd(weight_decay=weight_decay))
    return replace(base, name=name, train=train)


def mixup(
    *, epochs: int = 100, alpha: float = 1.0, probability: float = 1.0, weight_decay: float = WEIGHT_DECAY
) -> Recipe:
    """Weighted averages of two examples, flipped and cropped before; cross-entropy with their averaged targets."""
    return _mixed("mixup", Mixup(alpha), probability, epochs, weight_decay)


def cutmix(
    *, epochs: int = 100, alpha: float = 1.0, probability: float = 0.5, weight_decay: float = WEIGHT_DECAY
) -> Recipe:
    """Half of the examples with a rectangle of another one; targets by area. All of them: `probability=1`."""
    return _mixed("cutmix", CutMix(alpha), probability, epochs, weight_decay)


def vh_mixup(
    *, epochs: int = 100, alpha: float = 1.0, probability: float = 1.0, weight_decay: float = WEIGHT_DECAY
) -> Recipe:
    """Mixup of a vertical and a horizontal concatenation of two examples: the thesis' best method."""
    return _mixed("vh_mixup", VHMixup(alpha), probability, epochs, weight_decay)
