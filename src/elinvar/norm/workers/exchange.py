"""Rows moved between workers and back, with gradients that travel the other way."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import torch
import torch.distributed as dist
from jaxtyping import Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from .group import ProcessGroup


@dataclass(frozen=True, eq=False)
class Move:
    """Where the rows of all workers go.

    leave   this worker's rows in the order in which it sends them: first those for worker 0
    counts  counts[s][r] rows go from worker s to worker r; a single worker keeps all of them
    arrive  for each row that this worker then holds, its place among those received: first those of worker 0
    """

    leave: Int64[Tensor, " before"]
    counts: tuple[tuple[int, ...], ...]
    arrive: Int64[Tensor, " after"]
    group: ProcessGroup | None

    def back(self) -> "Move":
        """The reverse."""
        return Move(self.arrive.argsort(), tuple(zip(*self.counts, strict=True)), self.leave.argsort(), self.group)


def carried(x: Tensor, move: Move) -> Tensor:
    """The rows that this worker holds after `move`, bit for bit; gradients go back the way that the rows came."""
    return cast(Tensor, _Exchange.apply(x, move))  # type: ignore[no-untyped-call]


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, move: Move) -> Tensor:
        ctx.move = move
        return _moved(x, move)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _moved(gradient, ctx.move.back()), None


def gathered(numbers: Sequence[int], group: ProcessGroup, device: torch.device) -> list[list[int]]:
    """`numbers` of every worker; all must give as many."""
    own = torch.tensor(list(numbers), dtype=torch.int64, device=device)
    everyone = own.new_empty(group.size(), len(own))
    dist.all_gather(list(everyone.unbind()), own, group=group)
    result: list[list[int]] = everyone.tolist()
    return result


def _moved(x: Tensor, move: Move) -> Tensor:
    rows = x[move.leave]
    if move.group is not None:
        flat = rows.reshape(len(rows), prod(rows.shape[1:])).contiguous()
        received = flat.new_empty(len(move.arrive), flat.shape[1])
        # Bytes, because not every back end carries every number format.
        _send(received.view(torch.uint8), flat.view(torch.uint8), move.counts, move.group)
        rows = received.view(len(received), *rows.shape[1:])
    return rows[move.arrive].contiguous(memory_format=_layout(x))


def _layout(x: Tensor) -> torch.memory_format:
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim)
    return last if last and not x.is_contiguous() and x.is_contiguous(memory_format=last) else torch.contiguous_format


def _send(received: Tensor, flat: Tensor, counts: tuple[tuple[int, ...], ...], group: ProcessGroup) -> None:
    """Fill `received` with the rows that the workers have for this one."""
    rank = group.rank()
    try:
        dist.all_to_all_single(received, flat, [row[rank] for row in counts], list(counts[rank]), group=group)
    except RuntimeError as error:
        if "does not support" not in str(error):
            raise
        _gather_all(received, flat, counts, group)


def _gather_all(received: Tensor, flat: Tensor, counts: tuple[tuple[int, ...], ...], group: ProcessGroup) -> None:
    """As `_send`, by sending everything to everybody."""
    rank = group.rank()
    padded = flat.new_zeros(max(map(sum, counts)), flat.shape[1])
    padded[: len(flat)] = flat
    everything = padded.new_empty(group.size(), *padded.shape)
    dist.all_gather(list(everything.unbind()), padded, group=group)
    starts = [sum(row[:rank]) for row in counts]
    parts = [part[start : start + row[rank]] for part, start, row in zip(everything, starts, counts, strict=True)]
    torch.cat(parts, out=received)
