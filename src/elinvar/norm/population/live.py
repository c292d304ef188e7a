"""How much memory a paused forward keeps: the tensors that were made since it began and are still referred to."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveSet(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, `bytes()` says what operations have made so far and is still alive; parameters and buffers do not count.

    Results that share a storage count once.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        own = (tensor for some in (model.parameters(), model.buffers()) for tensor in some)
        self._own = {tensor.untyped_storage()._cdata for tensor in own}
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and leaf.layout is torch.strided:
                storage = leaf.untyped_storage()
                if storage._cdata not in self._own:
                    self._made[storage._cdata] = StorageWeakRef(storage), storage.nbytes()  # type: ignore[no-untyped-call]
        return out

    def bytes(self) -> int:
        self._made = {key: made for key, made in self._made.items() if not made[0].expired()}  # type: ignore[no-untyped-call]
        return sum(size for _, size in self._made.values())


def free_memory(device: torch.device) -> int:
    """Bytes that could be allocated on `device` now: what the system calls available, within a container's limit."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    bounds = [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")] if hasattr(os, "sysconf") else [4 << 30]
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            bounds = [1024 * int(line.split()[1])]  # more than what is idle: caches can be dropped
    group = "/sys/fs/cgroup/memory."
    if (limit := _text(group + "max").strip()).isdigit():
        bounds.append(int(limit) - int(_text(group + "current")))
    return min(bounds)


def _text(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""
