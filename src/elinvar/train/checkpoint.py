"""Checkpoints: a folder that appears complete or not at all, and that runs no code when it is read.

    checkpoint/step-00000420/weights.safetensors    the model
                             ema.safetensors        the averaged model, if there is one
                             objective.safetensors  what the objective has learned, if anything
                             optimizer.pt           torch.load(weights_only=True)
                             progress.json          where in the run this is

The newest folder counts; older ones are removed after it stands. A killed write leaves a hidden temporary folder,
which the next one sweeps away.
"""

import copy
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from ..check import InputError
from ..files import new_directory
from .weights import read_safetensors, read_torch


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    step        steps done in the whole run
    epoch       epochs done
    in_epoch    steps done of the epoch that is under way
    log_bytes   length of metrics.jsonl at this moment
    sums        sums of loss and parts over the examples of the epoch under way
    ema_steps   updates of the averaged weights
    """

    step: int = 0
    epoch: int = 0
    in_epoch: int = 0
    log_bytes: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    ema_steps: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """What a run continues from."""

    weights: Mapping[str, Tensor]
    optimizer: dict[str, Any]
    progress: Progress
    ema: Mapping[str, Tensor] | None = None
    objective: Mapping[str, Tensor] = field(default_factory=dict)


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write `checkpoint` as the newest one below `folder`; raises `InputError` if the disk refuses."""
    target = folder / f"step-{checkpoint.progress.step:08d}"
    if target.exists():
        return target
    for leftover in folder.glob(".step-*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    with new_directory(target) as place:
        save_tensors(place / "weights.safetensors", checkpoint.weights)
        if checkpoint.ema is not None:
            save_tensors(place / "ema.safetensors", checkpoint.ema)
        if checkpoint.objective:
            save_tensors(place / "objective.safetensors", checkpoint.objective)
        try:
            torch.save(checkpoint.optimizer, place / "optimizer.pt")
        except RuntimeError as error:  # how torch reports a disk that is full
            raise OSError(str(error)) from error
        (place / "progress.json").write_text(json.dumps(asdict(checkpoint.progress)), encoding="utf-8")
    for old in complete(folder)[:-1]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file; raises `OSError` if the disk refuses."""
    # safetensors wants each tensor plain and by itself; layouts come back when they are copied into the model.
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    try:
        save_file(plain, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def complete(folder: Path) -> list[Path]:
    """The checkpoints below `folder`, oldest first."""
    return sorted(folder.glob("step-*"))


def read(folder: Path) -> Checkpoint | None:
    """The newest checkpoint below `folder`, or None; raises `InputError` for files that are damaged or unsafe."""
    found = complete(folder)
    if not found:
        return None
    place = found[-1]
    optimizer = read_torch(place / "optimizer.pt")
    averaged = place / "ema.safetensors"
    ema = read_safetensors(averaged) if averaged.exists() else None
    learned = place / "objective.safetensors"
    objective = read_safetensors(learned) if learned.exists() else {}
    weights = read_safetensors(place / "weights.safetensors")
    return Checkpoint(weights, optimizer, progress(folder), ema, objective)


def progress(folder: Path) -> Progress:
    """Where the newest checkpoint below `folder` stands, the beginning where there is none.

    Raises `InputError` for a file that is damaged.
    """
    found = complete(folder)
    if not found:
        return Progress()
    path = found[-1] / "progress.json"
    try:
        return Progress(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}); remove this checkpoint") from error


def read_judged(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor] | None] | None:
    """The newest weights below `folder`, and the averaged ones if there are any; None without a checkpoint."""
    found = complete(folder)
    if not found:
        return None
    averaged = found[-1] / "ema.safetensors"
    average = read_safetensors(averaged) if averaged.exists() else None
    return read_safetensors(found[-1] / "weights.safetensors"), average


def load_into(model: nn.Module, state: Mapping[str, Tensor], *, source: Path | str) -> None:
    """Copy `state` into `model`, all of it or nothing; plain BatchNorm states also fit models with several branches.

    Raises `InputError` that names the first differences of another architecture.
    """
    trial = copy.deepcopy(model)
    try:
        missing, extra = trial.load_state_dict(dict(state), strict=False)
        faults = [f"it lacks {missing[0]} and {len(missing) - 1} more"] if missing else []
        faults += [f"the model does not know its {extra[0]} and {len(extra) - 1} more"] if extra else []
    except RuntimeError as error:  # shapes
        faults = [" ".join(str(error).split())[:300]]
    if faults:
        raise InputError(f"{source}: weights of another architecture ({'; '.join(faults)})")
    model.load_state_dict(trial.state_dict())
