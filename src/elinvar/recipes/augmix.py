"""AugMix (Hendrycks et al., ICLR 2020): chains of simple operations, mixed, and one prediction for all views.

Run       elinvar train augmix --data cifar10:DIR
Cost      3 training forwards per example (augmix_no_jsd: 1)
Expected  error 11.2 % on CIFAR-10-C with WRN-40-2 (Table 1), 13.1 % without the consistency loss (Table 4)
Measured  see the table in the README
Differs   operations draw per example from keyed streams and run on the whole batch (reference: Pillow, image by
          image); the mixture is made of [0, 1] images and standardized by the model's first layer, which commutes, by
          mean and standard deviation of the training set (reference: 0.5 and 0.5 for every channel); training runs in
          bfloat16 where the processor multiplies it faster (`train.precision`), evaluation in float32 (reference: both)
"""

from dataclasses import replace

from ..augment import AugMix
from ..objectives import Consistency, CrossEntropy
from ..recipe import Recipe, ViewSpec
from .standard import standard


def augmix(*, epochs: int = 100, severity: float = 3.0, width: int = 3, weight: float = 12.0) -> Recipe:
    """Three views of an example, normalized jointly: cross-entropy on the clean one, Jensen-Shannon over all."""
    names = ("clean", "aug1", "aug2")
    base = standard(epochs=epochs)
    copies = tuple(ViewSpec(name=name, transforms=(AugMix(severity, width),)) for name in names[1:])
    objective = CrossEntropy(over=("clean",)) + Consistency(over=names, weight=weight)
    train = replace(base.train, views=(ViewSpec(name="clean"), *copies), objective=objective)
    return replace(base, name="augmix", train=train)


def augmix_no_jsd(*, epochs: int = 100, severity: float = 3.0, width: int = 3) -> Recipe:
    """One augmented view of an example and plain cross-entropy on it; the clean image is not seen."""
    base = standard(epochs=epochs)
    view = ViewSpec(name="augmented", transforms=(AugMix(severity, width),))
    train = replace(base.train, views=(view,), objective=CrossEntropy(over=("augmented",)))
    return replace(base, name="augmix_no_jsd", train=train)
