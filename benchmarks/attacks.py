"""What an attack costs beside the forwards and backwards that it cannot do without, and what leaving early saves.

    python benchmarks/attacks.py [--data cifar10:DIR --eps 8] [--net wrn-16-2] [--batch 64] [--steps 10] [--rounds 5]

Everything takes turns on the same images, in another order each round. Bare: as many forwards and gradients with
respect to the images as the attack has steps, of a network whose weights ask for no gradients. The network was trained
for a moment, without defence; images are the first ones of the test set. How much leaving early saves depends on how
many can be fooled: the strokes of digits stand out so much that it takes 16 of 255 levels, where 8 are usual. On one
thread the clock is the thread's own, which does not run while others have the core. Ratios: of the lowest times, and
the median over rounds of the ratio within a round.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elinvar import attacks, data, models
from elinvar.rng import streams
from elinvar.train.manifest import processor
from elinvar.views import unit

BARE = "bare passes"


def bare(model: nn.Module, images: Tensor, targets: Tensor, steps: int) -> None:
    """Forwards and gradients of the images, and nothing else."""
    for _ in range(steps):
        leaf = images.clone().requires_grad_()
        torch.autograd.grad(F.cross_entropy(model(leaf), targets), leaf)


def torchattacks() -> ModuleType | None:
    try:
        import torchattacks as peer
    except ImportError:
        return None
    found: ModuleType = peer
    return found


def trained(net: str, of: data.DataSet, epochs: int, examples: int) -> nn.Module:
    """A network that knows some of its training images, without any defence."""
    model: nn.Module = models.build(net, classes=len(of.classes), mean=(0.5,) * 3, std=(0.25,) * 3, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    for epoch in range(epochs):
        order = torch.randperm(len(of.train), generator=torch.Generator().manual_seed(epoch))[:examples]
        for batch in of.train.batches(order[: len(order) // 64 * 64], 64):
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(model(batch.images), batch.targets))
            optimizer.step()
    return model.eval()


def in_turns(rows: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each, round by round; a first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(rounds + 1):
        names = list(rows)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = clock()
            rows[name]()
            if turn:
                times[name].append(clock() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="wrn-16-2")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--eps", type=float, default=16, help="of 255; a step is a quarter of it")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--epochs", type=int, default=10, help="of training")
    parser.add_argument("--examples", type=int, default=1297, help="of an epoch")
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    peer = torchattacks()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", *(["torchattacks"] if peer else [])))
    print(f"{processor()}, {settings.threads} threads; Python {platform.python_version()}, {versions}")

    source = data.load(settings.data)
    model = trained(settings.net, source, settings.epochs, settings.examples)
    frozen = trained(settings.net, source, 0, 0).requires_grad_(False)
    frozen.load_state_dict(model.state_dict())
    (batch,) = source.test.batches(torch.arange(settings.batch), settings.batch)
    images, targets, keys, steps = unit(batch.images), batch.targets, streams(0, batch.index), settings.steps

    eps, step = settings.eps / 255, settings.eps / 255 / 4
    whole, early = f"PGD-{steps}, linf", f"PGD-{steps}, linf, early stop"
    pgd = attacks.pgd_attack(eps=eps, step=step, steps=steps)
    stopping = attacks.pgd_attack(eps=eps, step=step, steps=steps, early_stop=True)
    rows: dict[str, Callable[[], object]] = {
        BARE: lambda: bare(frozen, images, targets, steps),
        whole: lambda: pgd(model, images, targets, keys=keys),
        f"PGD-{steps}, l2": lambda: attacks.pgd(
            model, images, targets, eps=16 * eps, steps=steps, norm="l2", keys=keys
        ),
        early: lambda: stopping(model, images, targets, keys=keys),
        "FGSM": lambda: attacks.fgsm(model, images, targets, eps=eps, keys=keys),
        "one bare pass": lambda: bare(frozen, images, targets, 1),
    }
    if peer is not None:
        rows[f"torchattacks PGD-{steps}"] = lambda: peer.PGD(model, eps=eps, alpha=step, steps=steps)(images, targets)
    times = in_turns(rows, settings.rounds, time.thread_time if settings.threads == 1 else time.perf_counter)

    def ratio(name: str, to: str) -> str:
        rounds = [a / b for a, b in zip(times[name], times[to], strict=True)]
        return f"{min(times[name]) / min(times[to]):.3f} | {statistics.median(rounds):.3f}"

    natural, attacked = (
        (model(points).argmax(1) == targets).float().mean() for points in (images, pgd(model, images, targets))
    )
    print(
        f"{settings.net}, {len(images)} images of {source.name}, n = {settings.rounds}; "
        f"right: {natural:.0%}, under PGD at {settings.eps:g}/255 {attacked:.0%}\n"
    )
    print("| | ms, lowest | to | ratio of lowest | median ratio |\n|---|---|---|---|---|")
    against = {early: whole, "FGSM": "one bare pass"}
    for name, found in times.items():
        to = against.get(name, BARE)
        print(f"| {name} | {1000 * min(found):.1f} | {to} | {ratio(name, to)} |")
    if peer is not None:
        to = f"torchattacks PGD-{steps}"
        print(f"| {whole} | {1000 * min(times[whole]):.1f} | {to} | {ratio(whole, to)} |")


if __name__ == "__main__":
    main()
