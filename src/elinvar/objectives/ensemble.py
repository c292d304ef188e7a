"""Adaptive ensemble: a learned mean of several views' logits, which teaches each of them.

    Q_ens = sum_i mu_i Q_i,      mu = softmax(scores)
    L     = CE(sum_i mu_i sg(Q_i), y)  +  sum_i KL(Q_ens || Q_i)

The first term moves mu alone: logits are detached there. The second moves the model alone: the teacher is detached.

Source   Li et al., "A2-Aug", CVPR Workshops 2023, equations 4 to 8 and Tables 7 and 8.
Differs  equation 5 minimizes over mu and the weights at once, which would let the distillation move mu and the teacher;
         equation 4 defines mu by the labels alone, so the teacher is detached unless `detach_teacher=False`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..check import InputError
from ..views import Logits, Views
from .cross_entropy import cross_entropy
from .distilling import check_scale, distillation
from .loss import Loss
from .total import Judging, Objective, check_names, check_same_examples, check_weight
from .wide import wide


class EnsembleWeights(nn.Module):
    """Shares mu = softmax(scores) of several members, all alike at first, and their mean of logits by them.

    `scores` is to be learned without weight decay, which would pull towards equal shares.

    >>> EnsembleWeights(2)(torch.tensor([[[0.0, 4.0]], [[2.0, 0.0]]]))
    tensor([[1., 2.]], grad_fn=<SumBackward1>)
    """

    def __init__(self, members: int) -> None:
        super().__init__()
        if members < 1:
            raise InputError(f"members: got {members}, expected at least 1")
        self.scores = nn.Parameter(torch.zeros(members))

    def shares(self) -> Float[Tensor, " members"]:
        """mu, which adds up to 1."""
        return self.scores.softmax(0)

    def forward(self, logits: Float[Tensor, "members n classes"]) -> Float[Tensor, "n classes"]:
        """Q_ens, in float32 or the dtype of the logits, whichever is wider."""
        if len(logits) != len(self.scores):
            raise InputError(f"logits: got those of {len(logits)} members, expected {len(self.scores)}")
        return (self.shares()[:, None, None] * wide(logits)).sum(0)


@dataclass(frozen=True, kw_only=True)
class AdaptiveEnsemble(Objective):
    """What A2-Aug adds to the cross-entropy of its views: the ensemble's, which learns mu, and distillation.

    over             the views: the same examples with the same targets
    ensemble         weight of the ensemble's cross-entropy; 0 leaves mu as it starts: the average ensemble of Table 7
    distill          weight of the divergence from the ensemble, a sum over the views; 0 is Table 8 without distillation
    normalize        and `scale`: of `distillation`; False is Table 8 without normalization
    detach_teacher   False lets the gradient of the distillation into mu and the teacher

    The paper's loss is `CrossEntropy(over=names, weight=len(names)) + AdaptiveEnsemble(over=names)`. It learns, so it
    judges as a layer: `module()`. Parts: both terms, and mu of each view, which only the log sees; mu may well end at
    one view, the one whose images are easiest. The ensemble at test is `norm.Mixture(model, mu, combine="logits")`.
    """

    over: tuple[str, ...]
    ensemble: float = 1.0
    distill: float = 1.0
    normalize: bool = True
    scale: float | None = 1.0
    detach_teacher: bool = True

    def __post_init__(self) -> None:
        check_names("over", self.over, at_least=1)
        check_weight(self.ensemble, "ensemble")
        check_weight(self.distill, "distill")
        check_scale(self.normalize, self.scale)

    def judge(self, logits: Logits, views: Views, weights: EnsembleWeights) -> Loss:
        """The objective with what it has learned so far."""
        check_same_examples(views, self.over)
        targets = _common_targets(views, self.over)
        members = wide(logits.stack(self.over))
        ensemble = weights(members.detach())
        teacher = ensemble.detach() if self.detach_teacher else weights(members)
        apart = distillation(members, teacher, normalize=self.normalize, scale=self.scale)
        names = ", ".join(self.over)
        terms = [
            Loss.of(f"ensemble({names})", cross_entropy(ensemble, targets).mean(), self.ensemble),
            Loss.of(f"distillation({names})", apart.mean(-1).sum(), self.distill),
        ]
        shares = weights.shares().unbind()
        return Loss.joined(terms).watching({f"mu({name})": mu for name, mu in zip(self.over, shares, strict=True)})

    def __call__(self, logits: Logits, views: Views) -> Loss:
        raise InputError("AdaptiveEnsemble learns: make objective.module() once, train its parameters, and call that")

    def module(self) -> Judging:
        return Judging(self.judge, [EnsembleWeights(len(self.over))])


def _common_targets(views: Views, names: tuple[str, ...]) -> Tensor:
    first = views[names[0]].targets
    for name in names[1:]:
        other = views[name].targets
        if other is not first and not (other.shape == first.shape and torch.equal(other, first)):
            raise InputError(f"{names[0]} and {name} have different targets; mix examples before they become views")
    return first
