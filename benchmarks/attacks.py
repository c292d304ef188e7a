"""What an attack costs beside the forwards and backwards that it cannot do without.

    python benchmarks/attacks.py [--net resnet-18] [--batch 128] [--steps 10] [--repeats 7]

Everything takes turns on the same images, `repeats` times; ratios are to the bare passes, lowest time to lowest time.
On one thread the clock is the thread's own, which does not run while others have the core. Bare: as many forwards and
gradients with respect to the images as the attack has steps, of a network whose weights ask for no gradients. The early
stop is measured on a network that was trained for a moment and has no defence.
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

EPS, STEP = 8 / 255, 2 / 255


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


def trained(net: str, split: data.Split, epochs: int) -> nn.Module:
    """A network that knows its training images, without any defence."""
    model: nn.Module = models.build(net, classes=10, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    for epoch in range(epochs):
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(epoch))
        for batch in split.batches(order[: len(split) // 64 * 64], 64):
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(model(batch.images), batch.targets))
            optimizer.step()
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="resnet-18")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--epochs", type=int, default=10, help="of training before the early stop is measured")
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    peer = torchattacks()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", *(["torchattacks"] if peer else [])))
    print(f"{processor()}, {settings.threads} threads; Python {platform.python_version()}, {versions}")

    digits = data.load("digits")
    model = trained(settings.net, digits.train, settings.epochs)
    batch = next(iter(digits.test.batches(torch.arange(settings.batch), settings.batch)))
    images, targets = batch.images / 255, batch.targets
    frozen = trained(settings.net, digits.train, 0).requires_grad_(False)
    frozen.load_state_dict(model.state_dict())
    keys, steps = streams(0, batch.index), settings.steps

    rows: dict[str, Callable[[], object]] = {
        f"bare, {steps}": lambda: bare(frozen, images, targets, steps),
        f"PGD-{steps}, linf": lambda: attacks.pgd(model, images, targets, eps=EPS, step=STEP, steps=steps, keys=keys),
        f"PGD-{steps}, l2": lambda: attacks.pgd(model, images, targets, eps=0.5, steps=steps, norm="l2", keys=keys),
        f"PGD-{steps}, linf, early stop": lambda: attacks.pgd(
            model, images, targets, eps=EPS, step=STEP, steps=steps, keys=keys, early_stop=True
        ),
        "FGSM (ratio to one pass)": lambda: attacks.fgsm(model, images, targets, eps=EPS, keys=keys),
    }
    if peer is not None:
        rows[f"torchattacks PGD-{steps}"] = lambda: peer.PGD(model, eps=EPS, alpha=STEP, steps=steps)(images, targets)
    clock = time.thread_time if settings.threads == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(settings.repeats + 1):
        for name, run in rows.items():
            start = clock()
            run()
            if turn:
                times[name].append(clock() - start)
    reference = times[f"bare, {steps}"]
    wrong = (model(images).argmax(1) != targets).float().mean()
    print(f"{settings.net}, batch {settings.batch}, n = {settings.repeats}; misclassified as they are: {wrong:.1%}\n")
    print("| | ms, lowest | median | / bare |\n|---|---|---|---|")
    for name, found in times.items():
        passes = steps if name.startswith("FGSM") else 1
        ratio = passes * min(found) / min(reference)
        print(f"| {name} | {1000 * min(found):.1f} | {1000 * statistics.median(found):.1f} | {ratio:.3f} |")


if __name__ == "__main__":
    main()
