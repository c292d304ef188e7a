"""A few alphas from whose logits those of all others follow, by weights that are fitted on some examples.

As a function of alpha, the logits of a network stay close to a space of few dimensions: each candidate's are a fixed
combination of those at two to four of them, the nodes, to about a hundredth.

Source   the empirical interpolation method: Barrault, Maday, Nguyen and Patera 2004. There the weights meet chosen
         values exactly; here they are least squares over all logits of some examples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor


@dataclass(frozen=True)
class Skeleton:
    """Logits of candidate j are about sum_k weights[j, k] logits(nodes[k]).

    nodes    candidates that are computed, the first one always among them
    weights  a node's own line is that node alone
    reach    root mean square of what is missing in a logit, by candidate
    """

    nodes: tuple[int, ...]
    weights: Float[Tensor, "candidates nodes"]
    reach: tuple[float, ...]

    def guess(self, candidate: int, logits: Float[Tensor, "nodes ..."]) -> Tensor:
        """The logits of a candidate, from those at the nodes."""
        guess: Tensor = torch.tensordot(self.weights[candidate].to(logits), logits, 1)
        return guess


def spread(logits: Float[Tensor, "*rows classes"]) -> Float64[Tensor, "*rows classes"]:
    """What of logits matters: without their mean over the classes, which a softmax ignores."""
    wide = logits.double()
    return wide - wide.mean(-1, keepdim=True)


def skeletons(logits: Float[Tensor, "candidates *rows classes"], wanted: Sequence[int]) -> Iterator[Skeleton]:
    """Skeletons of 1, 2, ... nodes: each adds the candidate of `wanted` that the one before missed most.

    The last one has all of `wanted` as nodes, beside the first candidate.
    """
    flat = spread(logits).flatten(1)
    nodes = [0]
    while True:
        found = torch.linalg.lstsq(flat[nodes].T, flat.T).solution.T
        found[nodes] = torch.eye(len(nodes), dtype=found.dtype)
        missing = (flat - found @ flat[nodes]).square().mean(1).sqrt()
        yield Skeleton(tuple(nodes), found.float(), tuple(missing.tolist()))
        left = [place for place in wanted if place not in nodes]
        if not left:
            return
        nodes.append(max(left, key=lambda place: float(missing[place])))
