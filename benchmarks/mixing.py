"""How fast mixing a batch of 128 is, with draws for each example, against others in the same run.

    python benchmarks/mixing.py [--repeats 7] [--seconds 1] [--sizes 32 224]

All contenders mix the same float32 batch by turns, `repeats` times for about `seconds` each; the median counts. What a
training step would call is timed: draws, pairs, blend, soft targets. torchvision draws one lambda or box for the whole
batch; timm and kornia draw for each example, as we do. timm mixes in place, as it is used: its batch is a copy that it
spoils. Ours is timed with `keys=None`, as its peers draw. The spread is that of the rates, highest minus lowest, over
their median.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version

import torch
from _peers import torchvision_augmix
from torch import Tensor

from elinvar.mixing import METHODS, Mix
from elinvar.train.manifest import processor

BATCH, CLASSES = 128, 10
# Images/s on two cores at 32 x 32 and 224 x 224; methods without a row of their own: half of that.
TARGETS = {"mixup": {32: 400_000, 224: 2_870}, "cutmix": {32: 400_000, 224: 2_870}}

Step = Callable[[Tensor, Tensor], object]


@dataclass
class Contender:
    """`step` mixes one batch; `rates` are images per second, one for each turn."""

    name: str
    step: Step
    threads: int
    rates: list[float] = field(default_factory=list)
    count: int = 0

    def turn(self, images: Tensor, targets: Tensor, seconds: float) -> None:
        """One measurement; the first finds out how many batches fill the time."""
        torch.set_num_threads(self.threads)
        if not self.count:
            for _ in range(3):
                self.step(images, targets)  # compiles, fills caches
            start = time.perf_counter()
            self.step(images, targets)
            self.count = max(1, round(seconds / (time.perf_counter() - start)))
        start = time.perf_counter()
        for _ in range(self.count):
            self.step(images, targets)
        self.rates.append(self.count * len(images) / (time.perf_counter() - start))


def ours(threads: int) -> Iterator[Contender]:
    for name in METHODS:
        yield Contender(f"elinvar {name}, {threads} thread{'s' * (threads > 1)}", Mix(name, classes=CLASSES), threads)


def torchvision_peers(threads: int) -> Iterator[Contender]:
    torchvision_augmix()  # makes the import work
    try:
        from torchvision.transforms import v2
    except ImportError:
        return
    release = version("torchvision")
    for name, transform in (("MixUp", v2.MixUp(num_classes=CLASSES)), ("CutMix", v2.CutMix(num_classes=CLASSES))):
        yield Contender(f"torchvision {release} v2.{name}, one draw for the batch", transform, threads)


def timm_peers(threads: int) -> Iterator[Contender]:
    try:
        from timm.data import Mixup
    except ImportError:
        return
    for name, alphas in (("mixup", (1.0, 0.0)), ("cutmix", (0.0, 1.0))):
        for mode, how in (("elem", "each example draws"), ("batch", "one draw for the batch")):
            mix = Mixup(*alphas, mode=mode, num_classes=CLASSES, label_smoothing=0.0)

            def step(images: Tensor, targets: Tensor, mix: Mixup = mix) -> object:
                # timm makes its targets on a GPU if not told otherwise; in place, on a copy of the batch.
                from timm.data.mixup import mixup_target

                copy = images.clone()
                if mix.mode == "elem":
                    lam = mix._mix_elem(copy)
                    lam = lam.view(-1, 1) if isinstance(lam, Tensor) else lam
                else:
                    lam = mix._mix_batch(copy)
                return copy, mixup_target(targets, CLASSES, lam, 0.0)

            yield Contender(f"timm {version('timm')} {name}, {how}", step, threads)


def kornia_peers(threads: int) -> Iterator[Contender]:
    try:
        from kornia.augmentation import RandomCutMixV2, RandomMixUpV2
    except ImportError:
        return
    for name, layer in (
        ("MixUp", RandomMixUpV2(p=1.0, data_keys=["input", "class"])),
        ("CutMix", RandomCutMixV2(p=1.0, data_keys=["input", "class"], use_correct_lambda=True)),
    ):
        yield Contender(f"kornia {version('kornia')} {name}, each example draws", layer, threads)


def copying(threads: int) -> Contender:
    """What the memory allows: read two batches, write one into memory that is kept."""
    kept: list[Tensor] = []

    def step(images: Tensor, targets: Tensor) -> None:
        if not kept or kept[0].shape != images.shape:
            kept[:] = [torch.empty_like(images), images.flip(0)]
        torch.lerp(images, kept[1], 0.3, out=kept[0])

    return Contender("torch.lerp of two batches into a kept one", step, threads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 224])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    settings = parser.parse_args()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numba", "numpy"))
    print(f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}")
    threads = settings.threads
    for size in settings.sizes:
        images, targets = torch.rand(BATCH, 3, size, size), torch.arange(BATCH) % CLASSES
        rows = [*ours(threads), *torchvision_peers(threads), *timm_peers(threads), *kornia_peers(threads)]
        rows.append(copying(threads))
        for turn in range(settings.repeats + 1):
            for row in rows:
                row.turn(images, targets, settings.seconds)
                if not turn:
                    row.rates.clear()
        rates = {row.name: statistics.median(row.rates) for row in rows}
        first = next(iter(rates.values()))
        print(f"\n{size} x {size}, batches of {BATCH}, {threads} threads, n = {settings.repeats}\n")
        print("| | images/s | best | mixup / it | of target | spread |\n|---|---|---|---|---|---|")
        for place, row in enumerate(rows):
            rate = rates[row.name]
            spread = (max(row.rates) - min(row.rates)) / rate
            goal = (
                TARGETS.get(list(METHODS)[place], {s: n / 2 for s, n in TARGETS["mixup"].items()}).get(size)
                if (place < len(METHODS))
                else None
            )
            share = f"{rate / goal:.2f}" if goal else ""
            print(f"| {row.name} | {rate:,.0f} | {max(row.rates):,.0f} | {first / rate:.1f} | {share} | {spread:.2f} |")


if __name__ == "__main__":
    main()
