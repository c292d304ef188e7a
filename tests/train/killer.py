"""Train a small run to the end while it is killed again and again; a program of its own, for `test_resume.py`.

    python killer.py OUT KILLS SEED

The parent imports everything but runs no tensor operation, so that each forked child starts with clean threads. A
child that is to be killed dies by SIGKILL after a random part of the time that an undisturbed run takes. A checkpoint
is written after every step, so that many kills fall into the writing of one.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from elinvar import data
from elinvar.precision import Compute, Precision
from elinvar.recipe import Model, Recipe
from elinvar.recipes import augmix
from elinvar.rng import Seeds
from elinvar.train import Run, fit


def small() -> Recipe:
    """Everything that carries state: momentum, averaged weights, dropout, two augmented views, accumulation."""
    recipe = augmix(epochs=2)
    train = replace(recipe.train, batch_size=64, ema=0.9, accumulate=2, precision=Precision.FLOAT32)
    return replace(recipe, model=Model(name="wrn-10-1", options={"dropout": 0.2}), train=train)


def train(out: Path) -> None:
    """The run, from where it stands to the end."""
    digits = data.subset(data.load("digits"), train=320, test=50)
    compute = Compute.choose(torch.device("cpu"), Precision.FLOAT32)
    fit(small(), digits, Run(out), seeds=Seeds(3), compute=compute, checkpoint_seconds=0.0)


def child(work: Callable[[], None], *, kill_after: float | None) -> tuple[bool, float]:
    """Run `work` in a fork; returns whether it finished, and after how long."""
    began = time.monotonic()
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException as error:
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit(f"the run failed by itself with status {os.WEXITSTATUS(status)}")
    return os.WIFEXITED(status), time.monotonic() - began


def main(out: Path, kills: int, seed: int) -> None:
    """An undisturbed run in OUT/whole, then runs in OUT/killed-N that are killed until `kills` have hit."""
    child(lambda: train(out / "warm"), kill_after=None)  # compiles, so that the time of the next one is typical
    _, typical = child(lambda: train(out / "whole"), kill_after=None)
    draw, hits, number = random.Random(seed), 0, 0
    while hits < kills:
        place = out / f"killed-{number}"
        for _ in range(5):
            finished, _ = child(lambda place=place: train(place), kill_after=draw.uniform(0.0, typical))  # type: ignore[misc]
            hits += not finished
        child(lambda place=place: train(place), kill_after=None)  # type: ignore[misc]
        number += 1
    sys.stdout.write(f"{hits}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
