"""Run scenarios in clusters of gloo processes: the tests of this folder start it as a program.

    python cluster.py SCENARIOS FOLDER WORLD...

SCENARIOS is a Python file whose `SCENARIOS` lists pairs of a function (rank, world) -> result and the world sizes that
it is made for. One process imports torch and forks the workers of each world size in turn. What worker r of w finds
goes to FOLDER/w.r.pt. When a worker hangs or dies, all are ended, and the program fails.
"""

import os
import runpy
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

LIMIT = 150.0  # seconds for all scenarios of one world size


def work(scenarios: Sequence[Callable[[int, int], Any]], folder: Path, rank: int, world: int) -> None:
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet.{world}",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=60),
    )
    results = {}
    for function in scenarios:
        torch.manual_seed(1000 * rank)  # workers whose global generators agree would hide a mistake
        results[function.__name__] = function(rank, world)
    torch.save(results, folder / f"{world}.{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def fork(scenarios: Sequence[Callable[[int, int], Any]], folder: Path, rank: int, world: int) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(scenarios, folder, rank, world)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def run(scenarios: Sequence[Callable[[int, int], Any]], folder: Path, world: int) -> None:
    left = {fork(scenarios, folder, rank, world) for rank in range(world)}
    until = time.monotonic() + LIMIT
    try:
        while left:
            for child in tuple(left):
                done, status = os.waitpid(child, os.WNOHANG)
                if done:
                    left.remove(child)
                    if status:
                        raise SystemExit(f"a worker of {world} failed")
            if time.monotonic() > until:
                raise SystemExit(f"{len(left)} of {world} workers hang")
            time.sleep(0.01)
    finally:
        for child in left:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def main(source: str, folder: str, *worlds: str) -> None:
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    __import__("conftest")  # array shapes are checked in the workers too
    scenarios = runpy.run_path(source)["SCENARIOS"]
    for world in map(int, worlds):
        run([function for function, sizes in scenarios if world in sizes], Path(folder), world)


if __name__ == "__main__":
    main(*sys.argv[1:])
