"""The manifest of a run: with what it was made, so that a number is never alone."""

import os
import platform
import shlex
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


def _git(*arguments: str) -> str:
    here = str(Path(__file__).parent)
    done = subprocess.run(["git", "-C", here, *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def commit() -> str | None:
    """The commit of the source tree that elinvar runs from, with a + if it was changed; None for an installed one."""
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)  # an installed copy may lie inside another project
        return _git("rev-parse", "HEAD") + ("+" if _git("status", "--porcelain", "--", "..") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def hardware() -> dict[str, Any]:
    """Processor and accelerator."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"processor": processor(), "cores": os.cpu_count(), "gpu": gpu}


def manifest(seeds: Seeds, compute: Compute, data: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """Everything about a run that its recipe does not say."""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "seeds": {"base": seeds.base, **seeds.overrides},
        "data": data,
        "model": model,
        "compute": {
            "device": str(compute.device),
            "dtype": compute.precision,
            "memory_format": str(compute.memory_format).removeprefix("torch."),
            "threads": torch.get_num_threads() if compute.device.type == "cpu" else None,
        },
        "hardware": hardware(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "commit": commit(),
    }
