"""Decoupled logit pairing: similar predictions, at a strength that follows the adversarial loss.

    L = J + k sg(J / h) h,      h = mean_i h(z_i, z'_i),      sg: no gradient

J is the loss of adversarial training, h how far apart two views' predictions are. The second term is always k times as
large as the first; its gradient is k (J / h) times that of h, which is k J times that of log h: it does not fade as h
does. J and h are means over the rows of one forward, so with accumulated micro-batches each has a factor of its own.
Regularization of the logits, the other half of what pairing by squares does, is a term of its own: `LogitSqueezing`.

What h rewards by itself is therefore what a network will do at large k. The cross-entropy of predictions with a
gradient into both, h = H(p) + KL(p || q), also rewards certainty. Near the uniform prediction of C classes, for logits
b that all images share,

    J = log C + |b|^2 / 2C,      h = log C - |b|^2 / 2C,      so the curvature along b is (1 - k J / h) / C,

and from k = 1 on a young network is pushed to one certain answer for all images: h goes to 0, k sg(J / h) grows without
bound, squeezing is too weak to stop it, and warm-up only delays it. Hence the target of the cross-entropy is fixed. It
still makes logits larger where an attacked image has the clean one's class and is less sure, and smaller where it has
another class, the two effects that the thesis names.

Source   Summers, thesis, equation 3.11 and section 3.4.1.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from jaxtyping import Float
from torch import Tensor

from ..check import InputError, unknown
from ..views import Logits, Views
from .loss import Loss
from .similarity import DISTANCES
from .total import Judge, Judging, Objective, check_names, check_same_examples, check_weight

SMALLEST = 1e-8

READINGS: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "literal": lambda ratio: 1.0 / ratio if ratio else math.nan,
        "share": lambda ratio: (1.0 - ratio) / ratio if ratio else math.nan,
        "fraction": lambda ratio: ratio,
    }
)


def pairing_strength(ratio: float, reading: str = "literal") -> float:
    """k, the pairing term over the adversarial loss, for what the thesis calls a ratio.

        literal    adversarial loss / pairing term = ratio                    k = 1 / ratio
        share      adversarial loss / both together = ratio                   k = (1 - ratio) / ratio
        fraction   pairing term / adversarial loss = ratio                    k = ratio

    For its 0.125 and 0.95 these are 8 and 1.053, 7 and 0.0526, 0.125 and 0.95. Section 3.5.2 says "the ratio between
    the adversarial training loss and the pairing loss", and that 0.125 stresses similarity while 0.95 keeps a balance:
    only the literal reading does both. "Fraction" is how section 3.4.1 words it, and turns 0.125 around.

    Raises `InputError` for a ratio out of range: above 0 for "literal", above 0 and at most 1 for "share", at least 0
    for "fraction".

    >>> pairing_strength(0.125), pairing_strength(0.125, "share"), pairing_strength(0.125, "fraction")
    (8.0, 7.0, 0.125)
    """
    if reading not in READINGS:
        raise unknown("reading of the ratio", reading, READINGS)
    strength = READINGS[reading](ratio)
    if not (math.isfinite(ratio) and math.isfinite(strength) and ratio >= 0 and strength >= 0):
        wanted = {"literal": "a number above 0", "share": "above 0, at most 1", "fraction": "0 or above"}[reading]
        raise InputError(f"ratio: got {ratio}, expected {wanted} by the reading {reading!r}")
    return strength


def pairing_factor(loss: Float[Tensor, ""], distance: Float[Tensor, ""], strength: float = 1.0) -> Float[Tensor, ""]:
    """strength loss / distance without a graph: what `distance` is multiplied with to become `strength` times `loss`.

    A distance below 1e-8 counts as that, so that the factor stays finite.
    """
    return strength * (loss.detach() / distance.detach().clamp_min(SMALLEST))


@dataclass(frozen=True, kw_only=True)
class DecoupledPairing(Objective):
    """`loss`, and `weight` times k times as much for views whose predictions differ.

    loss       what adversarial training descends on: `CrossEntropy(over=("adversarial",))`, or a sum
    over       the two views that are paired, the target of the cross-entropy first
    ratio      and `reading`: of `pairing_strength`, whose k this is
    distance   h: "cross_entropy", "joint_cross_entropy", "symmetric_cross_entropy", "jensen_shannon" or "cosine"
    weight     0 leaves `loss` alone; the distance is still seen in the log

    Differs    the clean prediction is a fixed target; "joint_cross_entropy" is h with a gradient into both, and trains
               only with k well below 1

    Parts: those of `loss`, and h with the factor that it enters with. The total says little about progress, for it is
    (1 + weight k) J whatever h does.
    """

    loss: Objective
    over: tuple[str, str] = ("clean", "adversarial")
    ratio: float = 0.125
    reading: str = "literal"
    distance: str = "cross_entropy"
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_names("over", self.over, at_least=2, at_most=2)
        check_weight(self.weight)
        pairing_strength(self.ratio, self.reading)
        if self.distance not in DISTANCES:
            raise unknown("distance of predictions", self.distance, DISTANCES)

    def judge(self, logits: Logits, views: Views, loss: Judge) -> Loss:
        """The objective with `loss` in place of its own."""
        check_same_examples(views, self.over)
        adversarial = loss(logits, views)
        distance = DISTANCES[self.distance](*logits.stack(self.over).unbind()).mean()
        factor = pairing_factor(adversarial.total, distance, self.weight * pairing_strength(self.ratio, self.reading))
        return Loss.joined([adversarial, Loss.of(f"distance({', '.join(self.over)})", distance, factor)])

    def __call__(self, logits: Logits, views: Views) -> Loss:
        return self.judge(logits, views, self.loss)

    def module(self) -> Judging:
        return Judging(self.judge, [self.loss.module()])
