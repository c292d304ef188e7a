"""The normalization layer: chooses statistics by policy and routing, and normalizes by them."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..check import InputError
from ..routing import Routing, Span
from .inference import ExampleWeighted, OwnBatch
from .memory import Renorm
from .moments import Moments, mixed
from .partition import Partition, each_row
from .passes.rows import Rows, by_kernel, sums_well, table_dtype
from .state import Remembering, Tables
from .workers import across

Spans = tuple[Span, ...]
_exporting = getattr(torch.compiler, "is_exporting", bool)  # torch 2.6 does not say


class Norm(Remembering):
    """Batch normalization of (N, C, ...) inputs by a policy.

        y = (x - mean) / sqrt(var + eps) * gamma + beta

    In training, mean and (biased) variance are those of the values that `policy.sharing` groups together. At test they
    are what `policy.inference` says. By default it equals `nn.BatchNorm1d`, `2d` and `3d`, bit for bit for contiguous
    inputs and at test: outputs, gradients, memory and checkpoint keys. On a CPU torch's training sums lose digits over
    other memory formats; there the default equals float64 to 1e-5. Statistics are computed in float32 or better, and
    kept so when the layer is cast lower. An empty batch gives an empty result and is not remembered.

    Raises `InputError` (a `ValueError`) for a routing whose sizes do not add up to the batch, or that names a branch
    unknown to a policy with branches, and, as torch does, for a training group with one value per statistic. Also in
    training mode under `torch.export` and `torch.onnx.export`, and under `torch.jit.trace` wherever rows at hand count.
    """

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *spatial"]:
        if x.ndim < 2 or x.shape[1] != self.num_features:
            raise InputError(
                f"got an input of shape {tuple(x.shape)}, this layer expects (N, {self.num_features}, ...)"
            )
        routing = self.session.routing if self.session else self.unrouted
        inference = self.policy.inference
        if not (inference.needs_rows if not self.training else not self.policy.memory.frozen):
            return self._by_memory(x, routing)
        _check_export(self.training)
        spans = routing.spans(x.shape[0])
        if isinstance(inference, ExampleWeighted) and not self.training:
            return self._by_example(x, spans, inference.alpha)
        if routing.reference:
            return self._with_reference(x, spans, routing.reference)
        return self._by_rows(x, spans)

    def _by_memory(self, x: Tensor, routing: Routing) -> Tensor:
        sharing, branches = self.policy.sharing, self.policy.branches
        if routing.sizes is None and self.width == 1 and (_exporting() or sums_well(x)):
            # Whose rows they are is the same for any number of them, also in a graph.
            return self._torch(x, sharing.owners(routing.spans(1), branches).branches[0], training=False)
        _check_export(training=False)
        owners = sharing.owners(routing.spans(x.shape[0]), branches)
        if len(owners.rows) == 1 and self.width == 1:
            gamma, beta = self.affine_of(owners.branches[0])
            learns = any(tensor is not None and tensor.requires_grad for tensor in (gamma, beta))
            if sums_well(x) or not (len(x) and learns and torch.is_grad_enabled() and by_kernel(x)):
                return self._torch(x, owners.branches[0], training=False)
            from .passes.fused import by_memory

            return by_memory(x, owners, self.memory_table(owners, table_dtype(x)), (gamma, beta), eps=self.eps)  # type: ignore[arg-type]
        return Rows(x, owners).affine(*self._lines(owners, self.memory_table(owners, table_dtype(x))))

    def _by_example(self, x: Tensor, spans: Spans, alpha: float) -> Tensor:
        if alpha == 1.0 and self.width * x[:1, :1].numel() == 1:
            raise _one_value(f"examples of shape {tuple(x.shape[1:])} and alpha 1", "use a smaller alpha")
        owners = self.policy.sharing.owners(spans, self.policy.branches)
        if self.policy.memory.remembers:
            memory = self.memory_table(owners, table_dtype(x))
        else:  # with alpha 1 whatever stands here has no weight
            zeros = x.new_zeros(len(owners.rows), self.num_features, dtype=table_dtype(x))
            memory = zeros, zeros
        gamma, beta = self.affine_table(owners, memory[0])
        if by_kernel(x) and not (torch.is_grad_enabled() and (x.requires_grad or gamma.requires_grad)):
            from .passes.fused import example_weighted

            wide = x.float() if x.dtype is torch.float16 else x  # which kernels do not read
            y = example_weighted(wide, owners, memory, gamma, beta, alpha=alpha, eps=self.eps, channels=self.width)
            return y.to(x.dtype)
        rows = Rows(x, each_row(owners))
        of_row = owners.on(x.device)
        own = self.by_width(rows.moments())
        return rows.affine(*self._lines(rows.partition, mixed(own, (memory[0][of_row], memory[1][of_row]), alpha)))

    def _with_reference(self, x: Tensor, spans: Spans, reference: int) -> Tensor:
        """The last rows count in the statistics; no gradient reaches or leaves them."""
        if len(self.policy.sharing.partition(spans, self.policy.branches).rows) > 1:
            raise InputError("a reference batch joins one group of rows: use WholeBatch sharing, without ghosts")
        y = self._by_rows(torch.cat([x[:-reference], x[-reference:].detach()]), spans)
        return torch.cat([y[:-reference], y[-reference:].detach()])

    def _by_rows(self, x: Tensor, spans: Spans) -> Tensor:
        sharing, inference = self.policy.sharing, self.policy.inference
        partition = sharing.partition(spans, self.policy.branches)
        pooled = self.training and sharing.workers is not None and sharing.workers.peers() is not None
        renorm = self.policy.memory if self.training and isinstance(self.policy.memory, Renorm) else None
        prior = inference.prior if isinstance(inference, OwnBatch) and not self.training else 0.0
        # As plain arithmetic: torch's way to ONNX writes this use of F.batch_norm as one that reads its memory.
        told = not self.training and _exporting()
        plain = len(partition.rows) == 1 and self.width == 1 and not (pooled or renorm or prior or told)
        if plain and (sums_well(x) or not len(x) or not by_kernel(x)):
            return self._torch(x, partition.branches[0], training=True)
        values = math.prod(x.shape[2:])
        if not pooled and values * self.width == 1 and 1 in partition.rows:
            raise _one_value(f"groups of {partition.rows} rows in an input of shape {tuple(x.shape)}")
        if by_kernel(x) and not (pooled or renorm or prior):
            from .passes import closed

            y, seen = closed.normalize(x, partition, self.affine_lines(partition), width=self.width, eps=self.eps)
            if self.remembers():
                parts = zip(partition.present, partition.rows_of_present, seen.unbind(), strict=True)
                self.propose([(name, Moments(n * values, *of.unbind())) for name, n, of in parts if n * values])
            return y
        counts = partition.counts(x)
        rows = Rows(x, partition)
        moments = rows.moments()
        if pooled:
            assert sharing.workers is not None
            mean, variance, of_all = across(*moments, counts, sharing.workers)
            moments, counts = (mean, variance), tuple(of_all.tolist())
            if any(count * self.width == 1 for count in counts):
                raise _one_value(f"groups of {counts} values on all workers together")
        own = self.by_width(moments)
        if prior:
            share = prior / (prior + own[0].new_tensor(partition.rows).unsqueeze(1))
            memory = self.memory_table(partition, own[0].dtype)
            own = tuple(share * old + (1 - share) * new for old, new in zip(memory, own, strict=True))  # type: ignore[assignment]
        lines = self._lines(partition, own, renorm)  # by the memory before this batch
        self.saw(partition.branches, moments, counts)
        return rows.affine(*lines)

    def _lines(
        self, partition: Partition, statistics: Tables, renorm: Renorm | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Center, scale and shift of each group."""
        mean, variance = statistics
        gamma, beta = self.affine_table(partition, mean)
        scale = (variance + self.eps).rsqrt()
        if renorm is None:
            return mean, scale * gamma, beta
        updates = torch.stack([self.bank(name).num_batches_tracked for name in partition.branches])  # type: ignore[misc]
        memory = self.memory_table(partition, mean.dtype)
        ratio, distance = renorm.correction((mean.detach(), variance.detach()), memory, updates, self.eps)
        return mean, scale * ratio * gamma, beta + distance * gamma

    def _torch(self, x: Tensor, branch: str, *, training: bool) -> Tensor:
        """All rows at once, by torch's own function; `training` by their own statistics, else by the memory."""
        bank, (weight, bias) = self.bank(branch), self.affine_of(branch)
        if weight is not None and bias is not None and weight.dtype in (torch.float16, torch.bfloat16):
            weight, bias = weight.float(), bias.float()  # as the kernel wants them beside a float32 memory
        if not training:
            return F.batch_norm(x, bank.running_mean, bank.running_var, weight, bias, False, 0.0, self.eps)
        if not len(x):
            return F.batch_norm(x, None, None, weight, bias, True, 0.0, self.eps)
        if x.numel() == self.num_features:
            raise _one_value(f"an input of shape {tuple(x.shape)}")
        if bank.num_batches_tracked is None:
            return F.batch_norm(x, None, None, weight, bias, True, 0.0, self.eps)
        memory, remembers = self.policy.memory, self.remembers()
        if remembers and memory.by_torch and self.at_once():
            bank.num_batches_tracked.add_(1)
            share = memory.weight(bank)
            return F.batch_norm(x, bank.running_mean, bank.running_var, weight, bias, True, share, self.eps)  # type: ignore[arg-type]
        # Momentum 1 replaces both by what this batch shows. A read-only forward gets them too: activation
        # checkpointing counts the tensors that a forward saves, and wants as many the second time.
        mean = x.new_zeros(self.num_features, dtype=table_dtype(x))
        variance = torch.ones_like(mean)
        out = F.batch_norm(x, mean, variance, weight, bias, True, 1.0, self.eps)
        if remembers:
            self.propose([(branch, Moments(x.numel() // self.num_features, mean, variance))])
        return out


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


def _check_export(training: bool) -> None:
    """Raise `InputError` while a graph is made of a forward that looks at its rows, and cannot hold that."""
    if training and _exporting():
        raise InputError(
            "exporting in training mode: the graph would normalize every input by its own batch, and drop what dropout "
            "drops; call model.eval() first"
        )
    if not torch.compiler.is_compiling() and torch._C._get_tracing_state() is not None:
        out = "call model.eval() first" if training else "use torch.export, which keeps to the size that it was given"
        raise InputError(f"tracing a layer that looks at its rows: the trace would hold their number for good; {out}")


def _one_value(what: str, remedy: str = "") -> InputError:
    remedy = remedy or "choose a batch size, and parts to accumulate, that leave no batch of one example"
    return InputError(f"Expected more than 1 value per channel when training, got {what}; {remedy}")
