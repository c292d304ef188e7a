"""The manifest of a run: with what it was made, so that a number is never alone."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ..precision import Compute
from ..rng import Seeds

PACKAGES = ("elinvar", "torch", "numpy", "numba", "scipy", "pillow", "scikit-learn")


def processor() -> str:
    """What the processor calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of the source tree that elinvar runs from, with a + if it was changed; None for an installed one."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "-C", str(here), "status", "--porcelain", "--", str(here)],
            capture_output=True, text=True, check=True, timeout=10,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def hardware() -> dict[str, Any]:
    """Processor, threads and accelerator."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"processor": processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": gpu}


def manifest(seeds: Seeds, compute: Compute, data: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """Everything about a run that its recipe does not say."""
    return {
        "command": " ".join(["elinvar", *sys.argv[1:]]),
        "seeds": {"base": seeds.base, **seeds.overrides},
        "data": data,
        "model": model,
        "compute": {
            "device": str(compute.device),
            "dtype": str(compute.dtype).removeprefix("torch."),
            "memory_format": str(compute.memory_format).removeprefix("torch."),
        },
        "hardware": hardware(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "commit": commit(),
    }
