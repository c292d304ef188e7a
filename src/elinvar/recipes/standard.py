"""Standard training: flips, crops, cross-entropy. What every other recipe is compared with.

Run       elinvar train standard --data cifar10:DIR
Cost      1 training forward per example
Expected  error 26.9 % on CIFAR-10-C with WRN-40-2 (Hendrycks et al., ICLR 2020, Table 1)
Measured  see the table in the README
Differs   standardization is the model's first layer, by mean and standard deviation of the training set (the published
          row: 0.5 and 0.5 for every channel); crops are padded with black, which is where [0, 1] images start; training
          runs in bfloat16 where the processor multiplies it faster (`train.precision`), evaluation in float32
"""

from ..augment import Flip, PadCrop
from ..objectives import CrossEntropy
from ..recipe import Model, Recipe, Train


def standard(*, epochs: int = 100) -> Recipe:
    """Flip and pad-crop, one clean view, cross-entropy; SGD with Nesterov momentum and a cosine."""
    return Recipe(
        name="standard",
        model=Model(name="wrn-40-2"),
        train=Train(epochs=epochs, shared=(Flip(), PadCrop(4)), objective=CrossEntropy(over=("clean",))),
    )
