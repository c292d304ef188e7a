"""Weak Augment: a weak and a strong view, each with normalization of its own (Merchant, Zoph and Cubuk, 2020).

Run       elinvar train weak_augment --data cifar10:DIR; `elinvar evaluate RUN --branch aux --branch main=0.5,aux=0.5`
          judges the other branch and the mean of both, --set infer.branch=aux makes it the recipe's own; `elinvar tune
          RUN --mix` finds the shares on examples that --set train.held_out=5000 keeps
Cost      2 training forwards per example
Expected  error with WRN-28-2, main branch: 3.7 % on CIFAR-10 (RandAugment alone 4.2 %, Table 2), 19.1 % on CIFAR-10-C
          (RandAugment alone 15.9 %, Table 5)
Measured  not on CIFAR yet
Differs   100 epochs where the authors train for 200; their operations and magnitude are not stated: those of
          RandAugment for this network; levels as torchvision reads them; judged by the main branch;
          standardization, which is not stated, and precision are those of `standard`
"""

from dataclasses import replace

from .. import norm
from ..augment import Cutout, Flip, PadCrop, RandAugment
from ..objectives import CrossEntropy
from ..recipe import Recipe, ViewSpec
from .policies import MEAN
from .standard import standard


def weak_augment(*, epochs: int = 100, n: int = 3, m: float = 4.0, cutout: int = 16) -> Recipe:
    """Cutout on the main branch, RandAugment and Cutout on the auxiliary one, normalized apart; mean of both losses."""
    base = standard(epochs=epochs)
    weak = (Flip(), PadCrop(4), Cutout(cutout, MEAN))
    views = (
        ViewSpec(name="weak", transforms=weak),
        ViewSpec(name="strong", transforms=(RandAugment(n, m), *weak), branch="aux"),
    )
    train = replace(
        base.train,
        shared=(),  # each view flips and crops by itself
        views=views,
        norm=norm.split(("main", "aux")),
        objective=CrossEntropy(over=("weak", "strong")),
    )
    return replace(base, name="weak_augment", train=train)
