"""A run is a directory.

    recipe.yaml           complete and re-runnable
    manifest.json         versions, hardware, commit, seeds, data
    metrics.jsonl         one line for each epoch
    checkpoint/           the newest state, whole (see checkpoint.py)
    evaluation.json, predictions.safetensors, report.html      what 'elinvar evaluate' found

One process at a time owns it. The same command again continues an interrupted run and leaves a finished one alone; a
different recipe, seed, data set or way to compute (device, precision, threads) for the same directory is refused: the
second half of a run would not be what it was without the interruption.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import config
from ..check import InputError
from ..data.matching import difference
from ..files import make_directory, replacing, to_json, write_text
from ..recipe import Recipe

CLASSES = "classes"  # names, in the section data of the manifest
PATIENCE = 8.0  # seconds
IDENTITY = ("seeds", "data", "compute")  # what of the manifest must not change between two halves of a run


class Run:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe_file = path / "recipe.yaml"
        self.manifest_file = path / "manifest.json"
        self.metrics_file = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoint"
        self.evaluation_file = path / "evaluation.json"
        self.report_file = path / "report.html"

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Hold the run's lock; raises `InputError` if another process has it. The system frees it when we die."""
        make_directory(self.path)
        try:
            handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}; choose another --out") from error
        try:
            self._lock(handle)
            yield
        finally:
            os.close(handle)

    def _lock(self, handle: int) -> None:
        # Loader processes of a run that was killed hold its lock until they notice, which takes them some seconds.
        patience = time.monotonic() + PATIENCE
        while True:
            try:
                return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > patience:
                    raise InputError(
                        f"{self.path}: another process is working on this run; wait for it, or stop it"
                    ) from error
                time.sleep(0.2)
            except OSError as error:
                raise InputError(f"{self.path}: cannot be locked ({error.strerror}); choose another --out") from error

    def adopt(self, recipe: Recipe, manifest: Mapping[str, Any]) -> None:
        """Make this directory the home of a run, or check that it already is.

        Raises `InputError` if it holds a run of another recipe, seed or data set.
        """
        text = config.dump(recipe)
        if not self.recipe_file.exists():
            if any(path != self.manifest_file for path in self.path.glob("[!.]*")):
                raise InputError(f"{self.path}: not empty and not a run; choose another --out")
            write_text(self.manifest_file, json.dumps(dict(manifest), indent=2) + "\n")
            write_text(self.recipe_file, text)  # last: it is what makes the directory a run
            return
        if self.recipe_file.read_text(encoding="utf-8") != text:
            raise InputError(f"{self.path}: holds a run of another recipe (see recipe.yaml); choose another --out")
        before = self.manifest()
        for key in IDENTITY:
            if fault := _differing(before.get(key), json.loads(json.dumps(manifest[key]))):
                raise InputError(f"{self.path}: holds a run with other {key} ({fault}); choose another --out")

    def manifest(self) -> dict[str, Any]:
        """The manifest; raises `InputError` if the directory is no run or the file is damaged."""
        if not self.path.is_dir() or not self.recipe_file.exists():
            raise InputError(f"{self.path}: no run here (a run has a recipe.yaml); train one with 'elinvar train'")
        try:
            content = json.loads(self.manifest_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.manifest_file}: cannot be read ({error})") from error
        if not isinstance(content, dict):
            raise InputError(f"{self.manifest_file}: expected a JSON object, got {type(content).__name__}")
        return content

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of the log, one for each finished epoch."""
        if not self.metrics_file.exists():
            return []
        try:
            return [json.loads(line) for line in self.metrics_file.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise InputError(f"{self.metrics_file}: damaged ({error}); continue the run to mend it") from error

    def log(self, row: Mapping[str, Any]) -> int:
        """Append a line to the log; returns the file's new length."""
        try:
            with self.metrics_file.open("a", encoding="utf-8") as file:
                file.write(to_json(dict(row)) + "\n")
                file.flush()
                return os.fstat(file.fileno()).st_size
        except OSError as error:
            raise InputError(f"cannot write {self.metrics_file}: {error.strerror}; free space") from error

    def cut_log(self, length: int) -> None:
        """Drop what was logged after the checkpoint that the run continues from."""
        content = self.metrics_file.read_bytes() if self.metrics_file.exists() else b""
        if len(content) > length:
            with replacing(self.metrics_file) as temporary:
                temporary.write_bytes(content[:length])


def _differing(before: Any, now: Any) -> str | None:
    """How a section of a manifest differs, None if not; manifests once had no names of classes."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return None if before == now else f"{before}, not {now}"
    now = {key: value for key, value in now.items() if key in before or key != CLASSES}
    if before == now:
        return None
    ours, theirs = now.get(CLASSES), before.get(CLASSES)
    both = isinstance(ours, list) and isinstance(theirs, list)
    classes = difference(ours, theirs, "the run") if both and ours and theirs else None
    short = [{key: value for key, value in section.items() if key != CLASSES} for section in (before, now)]
    return f"{short[0]}, not {short[1]}" + (f"; classes: {classes}" if classes else "")
