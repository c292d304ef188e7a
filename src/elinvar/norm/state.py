"""What a normalization layer holds: a policy, a bank for each branch, and the moments that it proposes."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..check import InputError
from ..routing import Routed, Routing, Trace
from .affine import Affine
from .memory import Average, Bank, Ema, Frozen
from .moments import Moments, of_groups, over_channels, pool
from .partition import Partition
from .policies import batch_norm
from .policy import NormPolicy

Tables = tuple[Tensor, Tensor]  # of a line for each group of rows


class Remembering(Routed, Bank):
    """The state of a normalization layer, and how it changes.

    A training forward outside of `route` is remembered at once. Inside, it proposes its moments, and `commit` moves
    the memory once, by the pooled moments of all proposals. A forward that runs inside backward (activation
    checkpointing) repeats one that was already seen, and is never remembered again.
    """

    def __init__(self, channels: int, policy: NormPolicy | None = None, *, eps: float = 1e-5) -> None:
        super().__init__()
        if channels < 1:
            raise InputError(f"channels: got {channels}, expected at least 1")
        policy = policy or batch_norm()
        groups = policy.sharing.channel_groups
        if groups is not None and channels % groups:
            raise InputError(f"{channels} channels cannot be cut into {groups} channel groups of one size")
        self.policy = replace(policy, memory=policy.memory.for_layer(0.1))
        self.num_features = channels
        self.eps = eps
        self.kind: type[nn.Module] = nn.BatchNorm2d  # what `restore` makes of it
        separate, remembers = self.policy.affine is Affine.SEPARATE, self.policy.memory.remembers
        self.hold(channels, affine=self.policy.affine is not Affine.NONE, remembers=remembers)
        others = {name: Bank() for name in self.policy.branches[1:]}
        for bank in others.values():
            bank.hold(channels, affine=separate, remembers=remembers)
        self.branches: Any = nn.ModuleDict(others) if others else {}
        self.unrouted = Routing((self.policy.branches[0],))  # what a forward outside of `route` gets
        self._proposals: list[tuple[str, Moments]] = []

    @property
    def momentum(self) -> float | None:
        """What torch calls `momentum`: the weight of a new batch, None for an average over all."""
        memory = self.policy.memory
        return None if isinstance(memory, Average) else getattr(memory, "momentum", 0.1)

    @momentum.setter
    def momentum(self, value: float | None) -> None:
        memory = Average() if value is None else Ema(value)
        frozen = self.policy.memory
        kept = replace(frozen, before=memory) if isinstance(frozen, Frozen) else memory
        self.policy = replace(self.policy, memory=kept)

    @property
    def width(self) -> int:
        """Neighbouring channels that share statistics."""
        groups = self.policy.sharing.channel_groups
        return 1 if groups is None else self.num_features // groups

    def bank(self, branch: str) -> Bank:
        """What holds the memory of `branch`: the layer itself for the first one."""
        return self if branch == self.policy.branches[0] else self.branches[branch]

    def affine_of(self, branch: str) -> tuple[Tensor | None, Tensor | None]:
        """Gamma and beta of `branch`."""
        owner: Any = self.bank(branch) if self.policy.affine is Affine.SEPARATE else self
        return owner.weight, owner.bias

    def memory_table(self, partition: Partition, dtype: torch.dtype) -> Tables:
        """Mean and variance that the branch of each group remembers."""
        banks: list[Any] = [self.bank(branch) for branch in _once_if_equal(partition.branches)]
        means, variances = [bank.running_mean for bank in banks], [bank.running_var for bank in banks]
        mean, variance = self.by_width((_lines(means, dtype), _lines(variances, dtype)))
        if len(mean) == len(partition.rows):
            return mean, variance
        shape = len(partition.rows), self.num_features
        return mean.expand(shape), variance.expand(shape)

    def affine_lines(self, partition: Partition) -> Tables | None:
        """Gamma and beta: (C,) for all groups, or a line for each branch that has groups; None: there are none."""
        if self.policy.affine is Affine.SHARED:
            return self.weight, self.bias  # type: ignore[return-value]
        if self.policy.affine is Affine.NONE:
            return None
        gamma, beta = zip(*(self.affine_of(branch) for branch in dict.fromkeys(partition.branches)), strict=True)
        return torch.stack(gamma), torch.stack(beta)

    def affine_table(self, partition: Partition, like: Tensor) -> Tables:
        """Gamma and beta of each group, of the kind of `like`; 1 and 0 where there are none."""
        shape = len(partition.rows), self.num_features
        affine = self.affine_lines(partition)
        if affine is None:
            return torch.ones_like(like).expand(shape), torch.zeros_like(like).expand(shape)
        gamma, beta = (table.to(like.dtype) for table in affine)
        if gamma.ndim == 1:
            return gamma.expand(shape), beta.expand(shape)
        present = list(dict.fromkeys(partition.branches))
        lines = [present.index(branch) for branch in partition.branches]
        return gamma[lines], beta[lines]

    def by_width(self, moments: Tables) -> Tables:
        """Moments of each channel, taken together over the channels that share statistics."""
        return moments if self.width == 1 else over_channels(*moments, self.width)

    def at_once(self) -> bool:
        """Whether what a training forward sees is remembered without a commit."""
        return self.session is None or self.session.trace is Trace.COMMIT

    def remembers(self) -> bool:
        """Whether this forward leaves anything behind."""
        if not self.training or not self.policy.memory.remembers:
            return False
        if not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1:
            return False  # inside backward: activation checkpointing's second forward
        return self.session is None or self.session.trace is not Trace.NOTHING

    def saw(self, branches: tuple[str, ...], moments: Tables, counts: Sequence[int]) -> None:
        """Remember or propose the moments of each branch's groups together."""
        if not self.remembers():
            return
        mean, variance = (table.detach() for table in moments)
        seen = []
        for name in dict.fromkeys(branches):
            of = slice(branches.index(name), branches.index(name) + branches.count(name))
            if sum(counts[of]):
                seen.append((name, of_groups(mean[of], variance[of], counts[of])))
        self.propose(seen)

    def propose(self, seen: list[tuple[str, Moments]]) -> None:
        """Keep moments aside until `commit`, or remember them where there will be none."""
        if self.at_once():
            self._remember(seen)
        else:
            self._proposals += seen

    def take(self) -> list[tuple[str, Moments]]:
        """Hand over the proposals, by branch, and forget them."""
        proposals, self._proposals = self._proposals, []
        return proposals

    def commit(self) -> None:
        """Move each branch's memory by the pooled moments of its proposals, once."""
        self._remember(self.take())

    def discard(self) -> None:
        """Forget the proposals."""
        self.take()

    def _remember(self, proposals: list[tuple[str, Moments]]) -> None:
        for branch in self.policy.branches:
            seen = [moments for name, moments in proposals if name == branch]
            if seen:
                self.policy.memory.commit(self.bank(branch), pool(seen))

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
        usual = replace(batch_norm(), memory=Ema(0.1))
        said = (f.name for f in fields(usual) if getattr(self.policy, f.name) != getattr(usual, f.name))
        return ", ".join([str(self.num_features), *(f"{name}={getattr(self.policy, name)}" for name in said)])


def _lines(tensors: list[Tensor], dtype: torch.dtype) -> Tensor:
    # Always a copy by `stack`: a compiled graph recomputes views and clones in its backward, from buffers that this
    # very forward has moved on.
    return torch.stack(tensors).to(dtype)


def _once_if_equal(branches: tuple[str, ...]) -> tuple[str, ...]:
    return branches[:1] if len(set(branches)) == 1 else branches
