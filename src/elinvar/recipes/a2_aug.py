"""A2-Aug: several random policies at once, each with its own normalization, taught by their ensemble (Li et al., 2023).

Run       elinvar train a2_aug --data cifar10:DIR. Other policies: `recipes.a2_aug(key=1)`, written by `config.dump`,
          and trained from that file
Cost      as many training forwards per example as there are policies: 4
Expected  error with WRN-40-2: 3.3 % on CIFAR-10, 18.7 % on CIFAR-100 (Table 2)
Measured  not on CIFAR yet
Differs   the policies of the published runs are not stated; levels as torchvision reads them; the branch is chosen on
          5,000 training images that are held out (what the authors chose by is not stated); batches hold 128 examples
          of each policy; clipped gradients and undecayed normalization are those of the code that the paper takes its
          settings from; warps blend four pixels, and are grey outside of the image; standardization, which is not
          stated, and precision are those of `standard`
"""

from ..augment import Cutout, Flip, PadCrop, sample_policies
from ..norm import NormPolicy, split
from ..objectives import AdaptiveEnsemble, CrossEntropy
from ..recipe import Cosine, Infer, Model, Recipe, Sgd, Train, ViewSpec
from .policies import MEAN


def a2_aug(
    *,
    epochs: int = 200,
    policies: int = 4,
    key: int = 0,
    cutout: int = 16,
    held_out: int = 5000,
    ensemble: bool = True,
    distill: bool = True,
    normalize: bool = True,
    scale: float | None = 1.0,
    separate: bool = True,
) -> Recipe:
    """Random policies side by side; a learned mix of their logits teaches each, and the best branch is kept.

    policies, key                  how many, and what they are drawn by; the same key and one more add one policy
    held_out                       training images by which the branch is chosen
    ensemble, distill, normalize   parts of the loss that can be off (Tables 7 and 8), and `scale` of the distillation
    separate                       False: one normalization for all of them (Table 5), as a single policy has anyway
    """
    separate = separate and policies > 1
    names = tuple(f"policy_{number}" for number in range(1, policies + 1))
    branches = names if separate else ("main",) * policies
    after = (Flip(), PadCrop(4), *((Cutout(cutout, MEAN),) if cutout else ()))
    views = tuple(
        ViewSpec(name=name, transforms=(policy, *after), branch=branch)
        for name, branch, policy in zip(names, branches, sample_policies(policies, key), strict=True)
    )
    taught = AdaptiveEnsemble(
        over=names, ensemble=float(ensemble), distill=float(distill), normalize=normalize, scale=scale
    )
    train = Train(
        epochs=epochs,
        views=views,
        norm=split(names) if separate else NormPolicy(),
        objective=CrossEntropy(over=names, weight=float(policies)) + taught,
        optimizer=Sgd(weight_decay=2e-4, norm_decay=0.0),
        schedule=Cosine(warmup_epochs=min(5.0, epochs / 20)),
        clip_gradient=5.0,
        held_out=held_out,
    )
    infer = Infer(best_of=names) if separate else Infer()
    return Recipe(name="a2_aug", train=train, model=Model(name="wrn-40-2"), infer=infer)
