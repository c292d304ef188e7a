"""Processes that compile one function for different types at the same moment."""

import subprocess
import sys
from pathlib import Path

MODULE = """
from elinvar.jit import kernel


@kernel
def half(x):
    return x / 2
"""
# Between looking which file is free and writing it there is time enough for another process.
COMPILE = """
import sys, time
from numba.core.caching import IndexDataCacheFile

load = IndexDataCacheFile._load_index
def slow(self):
    found = load(self)
    time.sleep(0.5)
    return found
IndexDataCacheFile._load_index = slow

from shared import half
half(eval(sys.argv[1]))
"""
LOAD = """
from shared import half
assert half(3.0) == 1.5 and half(3) == 1.5, (half(3.0), half(3))
assert sum(half.stats.cache_hits.values()) == 2, half.stats
"""


def test_each_finds_its_own_code_again(tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text(MODULE)

    def start(code: str, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )

    for process in [start(COMPILE, value) for value in ("3.0", "3", "(1 + 0j)", "True")]:
        _, said = process.communicate()
        assert process.returncode == 0, said
    assert len(list(tmp_path.rglob("*.nbc"))) == 4
    process = start(LOAD)
    _, said = process.communicate()
    assert process.returncode == 0, said
