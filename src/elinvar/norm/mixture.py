"""Inference by a mix of branches: the average of what each of them predicts."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from ..check import InputError, unknown
from ..outputs import logits_of, warn_of_probabilities
from ..routing import Routing, Trace, route
from .layer import Norm

Weights = Mapping[str, float]
"""branch -> its share, adding up to 1"""


class Mixture(nn.Module):
    """A model whose prediction is the average over its branches, as logits: a drop-in for evaluation.

        probabilities:  log sum_k w_k softmax(z_k)          logits:  sum_k w_k z_k

    model    with branches (`norm.split`); in eval mode, and it leaves no trace
    weights  w_k >= 0 of each branch, adding up to 1; a branch of weight 0 is not computed, and one branch alone gives
             its own logits, bit for bit
    combine  "probabilities" keeps a proper average of distributions; "logits" averages before the softmax

    Each branch costs a forward. Results are float32 or wider.

    Raises `InputError` for a branch that no layer has, for weights that are no shares, and in training mode.

    Source   Merchant et al. 2020, section 6.2, for two branches with weights 1 - lambda and lambda; they speak of
             predictions, which we take as probabilities.
    """

    def __init__(self, model: nn.Module, weights: Weights, combine: str = "probabilities") -> None:
        super().__init__()
        check_combine(combine)
        check_weights(model, weights)
        self.model = model
        self.weights = {name: float(share) for name, share in weights.items() if share}
        self.combine = combine
        self._looked = False  # at what the model returns

    def forward(self, x: Shaped[Tensor, "n c *spatial"]) -> Float[Tensor, "n classes"]:
        if self.model.training:
            raise InputError("a mix of branches is for inference: call eval() first")
        logits = torch.stack([self._branch(name, x) for name in self.weights])
        return mix(logits, tuple(self.weights.values()), self.combine)

    def _branch(self, name: str, x: Tensor) -> Tensor:
        with route(self.model, Routing((name,)), Trace.NOTHING):
            output = self.model(x)
        if torch.compiler.is_compiling() or torch._C._get_tracing_state():  # a check would fix the number of rows
            return output  # type: ignore[no-any-return]
        logits = logits_of(output, len(x))
        if not self._looked and self.combine == "probabilities" and len(self.weights) > 1:
            self._looked = True
            warn_of_probabilities(logits, "the model's outputs")
        return logits

    def extra_repr(self) -> str:
        return f"{dict(self.weights)}, combine={self.combine}"


def check_weights(model: nn.Module, weights: Weights) -> None:
    """Raise `InputError` unless `weights` are shares of branches that layers of the model have."""
    known = dict.fromkeys(
        name for layer in model.modules() if isinstance(layer, Norm) for name in layer.policy.branches
    )
    for name in weights:
        if name not in known:
            raise unknown("branch", name, known)
    check_shares(weights)


def check_shares(weights: Weights) -> None:
    """Raise `InputError` unless `weights` are shares."""
    shares = list(weights.values())
    if not all(math.isfinite(share) and share >= 0.0 for share in shares) or abs(sum(shares) - 1.0) > 1e-6:
        raise InputError(f"weights of branches: got {dict(weights)}, expected shares of at least 0 that add up to 1")


def in_words(weights: Weights) -> str:
    """Shares that count, for people.

    >>> in_words({"main": 0.25, "aux": 0.75, "other": 0.0})
    '0.25 main + 0.75 aux'
    """
    return " + ".join(f"{share:.4g} {name}" for name, share in weights.items() if share)


def check_combine(combine: str) -> None:
    """Raise `InputError` unless `combine` is a way to average."""
    if combine not in ("probabilities", "logits"):
        raise unknown("way to combine branches", combine, ("probabilities", "logits"))


def mix(
    logits: Float[Tensor, "branches n classes"], weights: Sequence[float], combine: str = "probabilities"
) -> Float[Tensor, "n classes"]:
    """The average of predictions by `weights`, as logits; those of a branch alone come back as they are."""
    used = [place for place, share in enumerate(weights) if share]
    if len(used) == 1:
        return logits[used[0]]
    wide = logits[used].to(torch.promote_types(logits.dtype, torch.float32))
    shares = wide.new_tensor([weights[place] for place in used])[:, None, None]
    if combine == "logits":
        return (shares * wide).sum(0)
    return (wide.log_softmax(2) + shares.log()).logsumexp(0)


def mixes(branches: Iterable[str] = ("main", "aux"), steps: int | None = None) -> tuple[dict[str, float], ...]:
    """All mixes whose weights are multiples of 1 / steps: what `norm.tune` may choose from.

    steps   None: 10 for two branches, 4 for more

    Raises `InputError` for fewer than two branches and for no step.

    >>> mixes(("main", "aux"), 2)
    ({'main': 1.0, 'aux': 0.0}, {'main': 0.5, 'aux': 0.5}, {'main': 0.0, 'aux': 1.0})
    """
    names = tuple(branches)
    count = (10 if len(names) == 2 else 4) if steps is None else steps
    if len(set(names)) < 2 or len(set(names)) != len(names):
        raise InputError(f"mixes: got the branches {names}, expected at least two different ones")
    if count < 1:
        raise InputError(f"mixes: got {count} steps, expected at least 1")
    return tuple(dict(zip(names, (part / count for part in parts), strict=True)) for parts in _parts(len(names), count))


def _parts(places: int, total: int) -> Iterator[tuple[int, ...]]:
    for rest in product(range(total + 1), repeat=places - 1):
        if sum(rest) <= total:
            yield (total - sum(rest), *rest)
