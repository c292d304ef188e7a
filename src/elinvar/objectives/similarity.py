"""How far apart two predictions of an example are, with as little effect on the size of the logits as possible."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from .jsd import jensen_shannon
from .pairing import check_same_shape
from .wide import directions, wide

Distance = Callable[[Tensor, Tensor], Tensor]


def prediction_cross_entropy(
    first: Float[Tensor, "n classes"], second: Float[Tensor, "n classes"], *, fixed: bool = True
) -> Float[Tensor, " n"]:
    """Cross-entropy of the second prediction against the first, in nats.

        h(z, z') = -sum_c p_c log q_c,      p = softmax(z), q = softmax(z')

    fixed   whether p is a target without a gradient. Then dh/dz' = q - p, which is 0 at z = z', and z gets none.
            Without, it flows into both, h = H(p) + KL(p || q), and that of the entropy H makes predictions surer: a
            network may lower h by one certain answer to everything

    At least the entropy of p, which it is for equal logits. In float32 or wider, finite for logits up to 1e37. Raises
    `InputError` for logits of different shape.

    Source   Summers, thesis, section 3.4.1.
    Differs  the thesis says neither which of the two is the target nor whether it is fixed. Clean logits come first,
             and they are, as in TensorFlow 1's softmax_cross_entropy_with_logits; the head of `decoupled.py` says why.

    >>> z = torch.tensor([[0.0, 0.0]])
    >>> prediction_cross_entropy(z, z).exp()
    tensor([2.])
    """
    check_same_shape(first, second)
    target = wide(first.detach() if fixed else first).softmax(-1)
    return -(target * wide(second).log_softmax(-1)).sum(-1)


def joint_cross_entropy(first: Float[Tensor, "n classes"], second: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    """`prediction_cross_entropy` with a gradient into both."""
    return prediction_cross_entropy(first, second, fixed=False)


def symmetric_cross_entropy(
    first: Float[Tensor, "n classes"], second: Float[Tensor, "n classes"]
) -> Float[Tensor, " n"]:
    """Mean of `prediction_cross_entropy` in both directions: each prediction is the other one's fixed target."""
    return (prediction_cross_entropy(first, second) + prediction_cross_entropy(second, first)) / 2


def cosine_distance(first: Float[Tensor, "n classes"], second: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    """1 - cos(z, z') of logits that are not zero, in [0, 2], as half the squared distance of their directions.

    In float32 or wider, finite for logits up to 1e38. Raises `InputError` for logits of different shape.
    """
    check_same_shape(first, second)
    return (directions(first)[0] - directions(second)[0]).square().sum(-1) / 2


def jensen_shannon_distance(
    first: Float[Tensor, "n classes"], second: Float[Tensor, "n classes"]
) -> Float[Tensor, " n"]:
    """`jensen_shannon` of two views."""
    check_same_shape(first, second)
    return jensen_shannon(torch.stack([first, second]))


DISTANCES: Mapping[str, Distance] = MappingProxyType(
    {
        "cross_entropy": prediction_cross_entropy,
        "joint_cross_entropy": joint_cross_entropy,
        "symmetric_cross_entropy": symmetric_cross_entropy,
        "jensen_shannon": jensen_shannon_distance,
        "cosine": cosine_distance,
    }
)
