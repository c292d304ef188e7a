"""A block of layers that sees a random mix of all workers' rows."""

import torch
from torch import Tensor, nn

from ...check import InputError
from ...rng import Seeds, Source, check_seed
from ...routing import Routed, Routing, Session
from .group import ProcessGroup, Workers
from .shuffling import arranged, shuffle_spans, unshuffle


class Shuffled(nn.Module):
    """`block`, with rows shuffled over the workers before it in training, and brought home after it.

    Each worker then normalizes a random sample of all rows instead of its own, which may belong together (regions of
    one image, frames of one clip) and would leak through their common statistics. Rows move twice, however many layers
    the block has.

    block    one tensor with the rows first -> one tensor with as many rows; each row's result may depend on others only
             through normalization
    seed     of the permutations; it must be the same on all workers
    group    the workers; None: the default group. By itself a process runs the block as it is
    workers  instead of a group: cut this process's own rows into so many virtual workers, and run the block on one
             after the other. So one machine shows what many would do

    The permutation is a function of `seed` and of the number of shuffles so far, the buffer `shuffles`: it is resumed
    with a checkpoint and draws from no generator. Under `route`, every span (view) is shuffled within itself, and the
    block's layers are told how many rows of it they get. Outside of a step, virtual workers are remembered one after
    the other.

    All workers must run it, and its backward, equally often, also with no rows. In eval mode it is the block. The
    block's keys in a checkpoint start with `block.`.

    Raises `InputError` if the block gives anything but a tensor with as many rows, in a `norm.VirtualBatch`, and in
    activation checkpointing, whose second forward would shuffle differently: checkpoint layers of the block instead.

    Source   Wu and Johnson 2021, section 6.1, figure 9.
    """

    shuffles: Tensor

    def __init__(
        self, block: nn.Module, *, seed: int = 0, group: ProcessGroup | None = None, workers: int | None = None
    ) -> None:
        super().__init__()
        if workers is not None and group is not None:
            raise InputError("give either a process group, or `workers` for virtual ones in this process, not both")
        if workers is not None and workers < 1:
            raise InputError(f"workers: got {workers}, expected at least 1")
        self.block = block
        self.seed, self.workers, self.virtual = check_seed(seed), Workers(group), workers
        self.place = Routed()  # `route` tells it how this worker's own batch is made
        self.register_buffer("shuffles", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        sizes = self._sizes(len(x))
        peers = None if self.virtual is not None else self.workers.peers()
        if not self.training or (self.virtual is None and peers is None):
            return self._run(x, sizes)
        if self.place.session is not None and self.place.session.routing.reference:
            raise InputError("a reference batch would be shuffled too: use either norm.VirtualBatch or norm.Shuffled")
        if torch._C._current_graph_task_id() != -1:
            raise InputError(
                "activation checkpointing runs a shuffled block again, with another shuffle; checkpoint layers inside "
                "of the block, not the block as a whole"
            )
        key = Seeds(self.seed).key(Source.SHUFFLE, "workers", int(self.shuffles))
        self.shuffles.add_(1)
        if self.virtual is not None:
            return self._by_pieces(x, sizes, key, self.virtual)
        mixed, shuffled = shuffle_spans(x, sizes, key=key, group=peers)
        return unshuffle(self._run(mixed, shuffled.sizes), shuffled)

    def _by_pieces(self, x: Tensor, sizes: tuple[int, ...], key: int, workers: int) -> Tensor:
        pieces, held = arranged([sizes], workers, key)
        order = torch.cat(pieces).to(x.device)
        parts = list(zip(torch.split(x[order], [len(piece) for piece in pieces]), held, strict=True))
        results = [self._run(*part) for part in parts if len(part[0])] or [self._run(*parts[0])]
        return torch.cat(results)[order.argsort()]

    def _sizes(self, rows: int) -> tuple[int, ...]:
        session = self.place.session
        return (rows,) if session is None else tuple(stop - start for start, stop, _ in session.routing.spans(rows))

    def _run(self, x: Tensor, sizes: tuple[int, ...]) -> Tensor:
        """The block on rows of which `sizes` belong to each span."""
        session = self.place.session
        if session is not None and session.routing.sizes is not None:
            # Not taken back here: checkpointed layers run again in the backward, and `route` restores them at its end.
            here = Session(Routing(session.routing.branches, sizes), session.trace)
            for layer in self.block.modules():
                if isinstance(layer, Routed):
                    layer.session = here
        y = self.block(x)
        if not isinstance(y, Tensor) or y.ndim == 0 or len(y) != len(x):
            got = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            raise InputError(f"a shuffled block must give one tensor with its input's {len(x)} rows, got {got}")
        return y

    def extra_repr(self) -> str:
        where = f"workers={self.virtual}" if self.virtual is not None else f"group={self.workers.group}"
        return f"seed={self.seed}, {where}"
