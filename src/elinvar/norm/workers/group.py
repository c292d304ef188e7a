"""Which workers share statistics, as plain data that survives copies and pickles of a model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch.distributed as dist

from ...check import InputError

if TYPE_CHECKING or dist.is_available():
    from torch.distributed import ProcessGroup as ProcessGroup
else:

    class ProcessGroup:
        """A torch that was built without `torch.distributed` has none."""


@dataclass(frozen=True)
class Unpickled:
    """Stands where a process group stood before a pickle, which cannot hold one."""

    workers: int


@dataclass(frozen=True)
class Workers:
    """Statistics pooled over the processes of a group (SyncBatchNorm).

    group      a `torch.distributed.ProcessGroup`; None: the default one, looked up at each forward
    every      instead of a group: blocks of this many consecutive ranks, each synchronized by itself, which makes
               normalization batches of `every` workers. The groups are made at the first training forward, in which
               therefore every process of the default group must take part
    weighting  "elements": the moments of all values together, however unevenly workers are filled. "workers": equal
               weight for each worker that has values

    Without an initialized `torch.distributed`, or alone in its group, a process normalizes by itself.

    A copy of a model shares the group. A pickle does not hold it: the layer that comes out infers as before, and in a
    training forward with `torch.distributed` it raises `InputError`, until it is given a new group.

    Source   Wu and Johnson 2021, appendices A.5 and A.6. "workers" is the default of their code; they saw no difference
             in results. Ours is "elements", which torch has too.
    """

    group: Any = None  # a recipe file can hold none, and a class here would be one that its parser imports by name
    every: int | None = None
    weighting: str = "elements"

    def __post_init__(self) -> None:
        if not isinstance(self.group, ProcessGroup | Unpickled | None):
            raise InputError(
                f"group: got {self.group!r}, expected a process group that this process belongs to, as "
                "torch.distributed.new_group gives to its members"
            )
        if self.every is not None and self.group is not None:
            raise InputError("give either a process group, or `every` to cut the default group into blocks, not both")
        if self.every is not None and self.every < 1:
            raise InputError(f"every: got {self.every}, expected a number of workers of at least 1")
        if self.weighting not in ("elements", "workers"):
            raise InputError(f"weighting: got {self.weighting!r}, expected 'elements' or 'workers'")

    def peers(self) -> ProcessGroup | None:
        """The group to communicate with now; None where a process is by itself."""
        if not dist.is_available() or not dist.is_initialized():
            return None
        if isinstance(self.group, Unpickled):
            raise InputError(
                f"this layer's statistics were pooled over a group of {self.group.workers} workers, and no pickle "
                "holds a process group; assign a policy with norm.sync(group=...) before training"
            )
        group = self.group or (_world() if self.every is None else _block(self.every))
        return group if group.size() > 1 else None

    def __copy__(self) -> "Workers":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Workers":
        return self

    def __getstate__(self) -> dict[str, Any]:
        group = Unpickled(self.group.size()) if isinstance(self.group, ProcessGroup) else self.group
        return {**self.__dict__, "group": group}


# Weak, so that the blocks go when the default group is destroyed: a later one needs blocks of its own.
_blocks: WeakKeyDictionary[ProcessGroup, dict[int, ProcessGroup]] = WeakKeyDictionary()


def _world() -> ProcessGroup:
    world = dist.group.WORLD
    assert world is not None
    return world


def _block(workers: int) -> ProcessGroup:
    made = _blocks.setdefault(_world(), {})
    if workers not in made:
        if dist.get_world_size() % workers:
            raise InputError(f"{dist.get_world_size()} workers cannot be cut into blocks of {workers}")
        made[workers], _ = dist.new_subgroups(workers)  # type: ignore[no-untyped-call]
    return made[workers]
