"""A run that is killed and continued ends with the same bits as one that was left alone."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

KILLS = 20


def what_counts(run: Path) -> dict[str, Any]:
    """Bytes of the final weights, and the log without its clock."""
    (checkpoint,) = (run / "checkpoint").iterdir()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    weights = {path.name: path.read_bytes() for path in sorted(checkpoint.glob("*.safetensors"))}
    return {**weights, "log": [{k: v for k, v in row.items() if k != "seconds"} for row in rows]}


def test_twenty_kills_change_no_bit(tmp_path: Path) -> None:
    killer = Path(__file__).with_name("killer.py")
    command = [sys.executable, str(killer), str(tmp_path), str(KILLS), "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= KILLS
    whole = what_counts(tmp_path / "whole")
    assert sorted(whole) == ["ema.safetensors", "log", "weights.safetensors"]
    assert len(whole["log"]) == 2
    for run in tmp_path.glob("killed-*"):
        assert what_counts(run) == whole
        hidden = [path.name for path in run.rglob(".*") if path.name != ".lock"]
        assert not hidden, f"left behind: {hidden}"
