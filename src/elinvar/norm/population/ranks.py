"""Workers that measure together: each its own shard, all the same result."""

from contextlib import suppress
from typing import Any, TypeVar

import torch.distributed as dist

T = TypeVar("T")


class RankError(RuntimeError):
    """Another worker failed, so that there is nothing to agree on."""


class Ranks:
    """The workers of torch's default process group, or this process alone."""

    def __init__(self, alone: bool) -> None:
        together = not alone and dist.is_available() and dist.is_initialized()
        self.size = dist.get_world_size() if together else 1
        self.rank = dist.get_rank() if together else 0

    def share(self, examples: int | None) -> int | None:
        """How many of `examples` this worker brings."""
        return None if examples is None else examples // self.size + (self.rank < examples % self.size)

    def gather(self, thing: T) -> list[T]:
        """What every worker brings, in the order of ranks. Raises `RankError` if one of them failed."""
        return self._exchange(None, thing)

    def fail(self, error: Exception) -> None:
        """Join the gathering that the other workers wait in, to tell them that there will be no more."""
        if not isinstance(error, RankError):
            with suppress(RankError):
                self._exchange(f"{type(error).__name__}: {error}", None)

    def _exchange(self, error: str | None, thing: Any) -> list[Any]:
        if self.size == 1:
            return [thing]
        everything: list[Any] = [None] * self.size
        dist.all_gather_object(everything, (error, thing))
        for rank, (failed, _) in enumerate(everything):
            if failed is not None:
                raise RankError(f"the worker of rank {rank} failed, nothing was written: {failed}")
        return [thing for _, thing in everything]
