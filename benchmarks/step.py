"""What a step costs beside its augmentations and the forwards and backwards of its model.

    python benchmarks/step.py --recipe weak_augment --precision bfloat16
    python benchmarks/step.py --recipe a2_aug --option policies=3 --model wrn-16-2

Everything takes turns, in another order each round. The whole step goes from the stored data set to updated weights.
It stands against two loops that do nothing else than they must, each with the recipe's augmentations, called one by
one, and the same optimizer's step:

one forward     the recipe's model and normalization, one forward of all views' rows, cross-entropy of their mean
plain forwards  the same network with torch's BatchNorm, one forward for each view, then one backward of all losses. A
                lower bound: it has one set of statistics where the recipe may have several

On one thread the clock is the thread's own, which does not run while others have the core. Overheads: of the lowest
times, and the median over rounds of the overhead within a round.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from elinvar import data, norm
from elinvar.augment import Augmentation
from elinvar.config import override
from elinvar.context import Context
from elinvar.precision import Compute, Precision
from elinvar.recipe import Train
from elinvar.recipes import RECIPES
from elinvar.rng import Seeds
from elinvar.routing import Routing, Trace, route
from elinvar.train import Step, build_model
from elinvar.train.manifest import hardware
from elinvar.views import Batch


def augmented(train: Train, batch: Batch, keys: dict[int, Tensor]) -> list[Tensor]:
    """The images of each view, by nothing but calls of augmentations; `keys` holds one draw's streams for each."""

    def through(images: Tensor, steps: tuple[Any, ...]) -> Tensor:
        for step in steps:
            assert isinstance(step, Augmentation), "this benchmark is for recipes whose views are augmentations"
            images = step(images, keys=keys.setdefault(id(step), batch.index * 7919 + len(keys)))
        return images

    shared = through(batch.images, train.shared)
    return [through(shared, view.transforms) for view in train.views]


def in_turns(rows: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each, round by round; two first rounds compile and allocate."""
    times: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(-2, rounds):
        names = list(rows)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            began = clock()
            rows[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn >= 0:
                times[name].append(clock() - began)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="augmix")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=INTEGER", help="of the recipe's function"
    )
    parser.add_argument("--model", default="wrn-16-2")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", default="auto", choices=list(Precision))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)

    options = {name: int(value) for name, value in (item.split("=") for item in settings.option)}
    chosen = override(RECIPES[settings.recipe](**options), [f"model.name={settings.model}"])
    train, images, seeds = chosen.train, data.load(settings.data), Seeds(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    compute = Compute.choose(device, Precision(settings.precision), train.channels_last)
    order, keys = torch.arange(settings.batch), dict[int, Tensor]()

    def load() -> Batch:
        return next(iter(images.train.batches(order, settings.batch, device=compute.device)))

    model = compute.place(build_model(chosen, images, seeds)).train()
    step = Step(model, train, train.optimizer.build(model), seeds, compute)
    context = Context(seeds, 0, model, step.forward)
    views = train.prepare(load(), context)

    same = compute.place(build_model(chosen, images, seeds)).train()
    by_same, all_rows = train.optimizer.build(same), compute.forward(same)
    plain = norm.restore(compute.place(build_model(chosen, images, seeds))).train()
    by_plain, each_view = train.optimizer.build(plain), compute.forward(plain)

    def one_forward() -> None:
        batch = load()
        by_same.zero_grad(set_to_none=True)
        logits = all_rows(torch.cat(augmented(train, batch, keys)))
        torch.autograd.backward(F.cross_entropy(logits, batch.targets.repeat(len(train.views))))
        by_same.step()

    def plain_forwards() -> None:
        batch = load()
        by_plain.zero_grad(set_to_none=True)
        losses = [F.cross_entropy(each_view(rows), batch.targets) for rows in augmented(train, batch, keys)]
        torch.autograd.backward(torch.stack(losses).mean())
        by_plain.step()

    rows: dict[str, Callable[[], object]] = {
        "whole step": lambda: step(load(), epoch=0, number=0),
        "one forward": one_forward,
        "plain forwards": plain_forwards,
        "its augmentations": lambda: augmented(train, load(), keys),
        "its preparation": lambda: train.prepare(load(), context),
    }
    clock = time.thread_time if settings.threads == 1 and device.type == "cpu" else time.perf_counter
    with route(same, Routing.of(views), Trace.COMMIT):
        times = in_turns(rows, settings.rounds, clock)

    print(f"{hardware()}, {settings.threads} threads, torch {torch.__version__}")
    shape = f"{len(train.views)} views of {settings.batch} {images.name} images"
    print(f"{chosen.name}, {settings.model}, {shape}, {compute.dtype}, n = {settings.rounds}\n")
    print("| | ms, lowest | ms, median | overhead of the whole step | median overhead |\n|---|---|---|---|---|")
    whole = times["whole step"]
    for name, found in times.items():
        shown = "| |"
        if name in ("one forward", "plain forwards"):
            rounds = [a / b - 1 for a, b in zip(whole, found, strict=True)]
            shown = f"| {min(whole) / min(found) - 1:+.1%} | {statistics.median(rounds):+.1%}"
        print(f"| {name} | {1000 * min(found):.1f} | {1000 * statistics.median(found):.1f} {shown} |")


if __name__ == "__main__":
    main()
