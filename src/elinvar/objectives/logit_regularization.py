"""LRM: adversarial training with label smoothing, decoupled pairing and squeezing, as one sum."""

from .cross_entropy import CrossEntropy
from .decoupled import DecoupledPairing
from .squeezing import LogitSqueezing
from .total import WeightedSum


def lrm(
    *,
    clean: str = "clean",
    adversarial: str = "adversarial",
    ratio: float = 0.125,
    beta: float = 1e-3,
    smoothing: float = 0.1,
    reading: str = "literal",
    distance: str = "cross_entropy",
    pairing: float = 1.0,
) -> WeightedSum:
    """The objective of the thesis' "logit regularization methods", whose fourth part is mixed inputs.

        J + k sg(J / h) h + beta (mean ||z||^2 + mean ||z'||^2)

    J is the smoothed cross-entropy of the attacked view alone (alpha = 0), z are logits of the clean view, z' of the
    attacked one. The attack should ascend the same smoothed targets; where the views bring them, take `smoothing=0`.
    `pairing=0`, `beta=0` and `smoothing=0` each switch a part off; with all three the gradient is that of adversarial
    training.

                  ratio   beta    smoothing   mixing
        CIFAR-10  0.125   1e-3    0.1         VH-mixup
        CIFAR-100 0.95    3e-5    0.1         VH-mixup
        SVHN      0.95    1e-4    0.2         mixup

    Raises `InputError` for settings out of range.

    Source   Summers, thesis, sections 3.4.1 and 3.5.2.
    Differs  "ratio" has several readings, of which `pairing_strength` tells; the clean prediction is a fixed target,
             which the thesis leaves open and the head of `decoupled.py` gives reasons for.
    """
    loss = CrossEntropy(over=(adversarial,), smoothing=smoothing)
    over = (clean, adversarial)
    paired = DecoupledPairing(loss=loss, over=over, ratio=ratio, reading=reading, distance=distance, weight=pairing)
    return paired + LogitSqueezing(over=over, weight=beta)
