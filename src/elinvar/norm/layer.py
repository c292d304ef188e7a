"""The normalization layer: normalizes by policy and routing, and proposes what it saw."""

from dataclasses import replace
from itertools import chain, pairwise
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..check import InputError
from ..routing import Routed, Routing, Trace
from .affine import Affine
from .blocks import Block, normalize_blocks, statistics_dtype
from .memory import Average, Bank, Ema
from .moments import Moments, pool
from .policy import NormPolicy, batch_norm
from .sharing import Group


class Norm(Routed, Bank):
    """Batch normalization of (N, C, ...) inputs by a policy.

        y = (x - mean) / sqrt(var + eps) * gamma + beta

    In training, mean and (biased) variance are those of the rows that `policy.sharing` groups together. At test they
    are what `policy.inference` says. By default it equals `nn.BatchNorm1d`, `2d` and `3d`, bit for bit: outputs,
    gradients, memory and checkpoint keys. Statistics are computed in float32 or better, and kept so unless the layer
    itself was cast lower.

    A training forward outside of `route` is remembered at once. Inside, it proposes its moments, and `commit` moves
    the memory once, by the pooled moments of all proposals. A forward that runs inside backward (activation
    checkpointing) repeats one that was already seen, and is never remembered again.

    Raises `InputError` (a `ValueError`) for a routing whose sizes do not add up to the batch, or that names a branch
    unknown to a policy with branches, and, as torch does, for a training group with one value per channel.
    """

    def __init__(self, channels: int, policy: NormPolicy | None = None, *, eps: float = 1e-5) -> None:
        super().__init__()
        if channels < 1:
            raise InputError(f"channels: got {channels}, expected at least 1")
        policy = policy or batch_norm()
        self.policy = replace(policy, memory=policy.memory.for_layer(0.1))
        self.num_features = channels
        self.eps = eps
        self.kind: type[nn.Module] = nn.BatchNorm2d  # what `restore` makes of it
        separate, remembers = self.policy.affine is Affine.SEPARATE, self.policy.memory.remembers
        self.hold(channels, affine=self.policy.affine is not Affine.NONE, remembers=remembers)
        self.branches = nn.ModuleDict()
        for name in self.policy.branches[1:]:
            branch = Bank()
            branch.hold(channels, affine=separate, remembers=remembers)
            self.branches[name] = branch
        self._proposals: list[tuple[str, Moments]] = []

    @property
    def momentum(self) -> float | None:
        """What torch calls `momentum`: the weight of a new batch, None for an average over all."""
        memory = self.policy.memory
        return memory.momentum if isinstance(memory, Ema) else None if isinstance(memory, Average) else 0.1

    def bank(self, branch: str) -> Bank:
        """What holds the memory of `branch`: the layer itself for the first one."""
        return self if branch == self.policy.branches[0] else self.branches[branch]  # type: ignore[return-value]

    def affine_of(self, branch: str) -> tuple[Tensor | None, Tensor | None]:
        """Gamma and beta of `branch`."""
        owner: Any = self.bank(branch) if self.policy.affine is Affine.SEPARATE else self
        return owner.weight, owner.bias

    def _groups(self, rows: int) -> tuple[Group, ...]:
        main = self.policy.branches[0]
        routing = self.session.routing if self.session else Routing((main,))
        groups = self.policy.sharing.groups(routing.spans(rows), main)
        for group in groups:
            if group.branch not in self.policy.branches:
                raise InputError(
                    f"the routing names the branch {group.branch!r}, this layer has {self.policy.branches}; "
                    "convert the model with norm.split(branches=...) that lists it"
                )
        return groups

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *spatial"]:
        if x.ndim < 2 or x.shape[1] != self.num_features:
            raise InputError(
                f"got an input of shape {tuple(x.shape)}, this layer expects (N, {self.num_features}, ...)"
            )
        groups = self._groups(len(x))
        own = self.training or not self.policy.inference.needs_memory
        if len(groups) == 1:
            return self._fused(x, groups[0].branch, own=own)
        spans = [span for group in groups for span in group.spans]
        in_order = all(before.stop == after.start for before, after in pairwise(spans))
        if in_order:
            return self._grouped(x, groups, own=own)
        order = torch.tensor(list(chain.from_iterable(range(s.start, s.stop) for s in spans)), device=x.device)
        return self._grouped(x[order], groups, own=own)[order.argsort()]

    def _fused(self, x: Tensor, branch: str, *, own: bool) -> Tensor:
        """All rows at once, by torch's own function."""
        bank, (weight, bias) = self.bank(branch), self.affine_of(branch)
        if not own:
            return F.batch_norm(x, bank.running_mean, bank.running_var, weight, bias, False, 0.0, self.eps)
        if x.numel() == self.num_features:
            raise _one_value(f"an input of shape {tuple(x.shape)}")
        if bank.num_batches_tracked is None:
            return F.batch_norm(x, None, None, weight, bias, True, 0.0, self.eps)
        remembers = self._remembers()
        if remembers and (self.session is None or self.session.trace is Trace.COMMIT):
            bank.num_batches_tracked.add_(1)
            momentum = self.policy.memory.weight(bank)
            return F.batch_norm(x, bank.running_mean, bank.running_var, weight, bias, True, momentum, self.eps)
        # Momentum 1 replaces both by what this batch shows. A read-only forward gets them too: activation
        # checkpointing counts the tensors that a forward saves, and wants as many the second time.
        mean = x.new_zeros(self.num_features, dtype=statistics_dtype(x, weight))
        variance = torch.ones_like(mean)
        out = F.batch_norm(x, mean, variance, weight, bias, True, 1.0, self.eps)
        if remembers:
            self._proposals.append((branch, Moments(x.numel() // self.num_features, mean, variance)))
        return out

    def _grouped(self, x: Tensor, groups: tuple[Group, ...], *, own: bool) -> Tensor:
        """Groups that follow each other, each by its own statistics or its own bank."""
        sizes = [sum(span.stop - span.start for span in group.spans) for group in groups]
        if not own:
            parts = zip(torch.split(x, sizes), groups, strict=True)
            return torch.cat([self._fused(part, group.branch, own=False) for part, group in parts])
        blocks = [Block(size, *self.affine_of(group.branch)) for size, group in zip(sizes, groups, strict=True)]
        if min(sizes) * x[0, 0].numel() < 2:
            raise _one_value(f"groups of {sizes} rows")
        out, moments = normalize_blocks(x, blocks, eps=self.eps)
        if self._remembers():
            seen = [(group.branch, part) for group, part in zip(groups, moments, strict=True)]
            if self.session is None or self.session.trace is Trace.COMMIT:
                self._remember(seen)
            else:
                self._proposals += seen
        return out

    def _remembers(self) -> bool:
        if not self.training or not self.policy.memory.remembers:
            return False
        if not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1:
            return False  # inside backward: activation checkpointing's second forward
        return self.session is None or self.session.trace is not Trace.NOTHING

    def commit(self) -> None:
        """Move each branch's memory by the pooled moments of its proposals, once."""
        self._remember(self._proposals)
        self._proposals.clear()

    def _remember(self, proposals: list[tuple[str, Moments]]) -> None:
        for branch in self.policy.branches:
            seen = [moments for name, moments in proposals if name == branch]
            if seen:
                self.policy.memory.commit(self.bank(branch), pool(seen))

    def discard(self) -> None:
        """Forget the proposals."""
        self._proposals.clear()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if self.num_batches_tracked is not None:  # files older than torch 0.4.1 do not hold it
            state_dict.setdefault(f"{prefix}num_batches_tracked", torch.zeros_like(self.num_batches_tracked))
        # A branch that the checkpoint does not know, as in a plain BatchNorm's, starts from the first one.
        for name, branch in self.branches.items():
            for key in branch.state_dict():
                if prefix + key in state_dict:
                    state_dict.setdefault(f"{prefix}branches.{name}.{key}", state_dict[prefix + key])
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        p = self.policy
        return f"{self.num_features}, {p.sharing}, {p.memory}, {p.inference}, affine={p.affine}, branches={p.branches}"


def _one_value(what: str) -> InputError:
    return InputError(
        f"Expected more than 1 value per channel when training, got {what}; "
        "choose a batch size, and parts to accumulate, that leave no batch of one example"
    )


def commit(model: nn.Module) -> None:
    """Move the memory of every normalization layer by what the recorded forwards of this step proposed."""
    for module in model.modules():
        if isinstance(module, Norm):
            module.commit()


def discard(model: nn.Module) -> None:
    """Drop all proposals: after a step that failed."""
    for module in model.modules():
        if isinstance(module, Norm):
            module.discard()
