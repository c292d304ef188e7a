"""How fast AugMix(severity 3, width 3) is, against others in the same run.

    python benchmarks/augmix.py [--cifar10 DIR] [--repeats 7] [--seconds 1]

All contenders work on the same images by turns, `repeats` times for about `seconds` each; the median counts. Ours takes
whole batches and gives float32 in [0, 1]; the others take one image at a call, in this process or in a DataLoader with
two workers. Everything that an image needs is timed: the draw, the operations, the mixture. The spread is that of the
rates, highest minus lowest, over their median.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from _peers import Peer, reference, timm_augmix, torchvision_augmix
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from elinvar import data
from elinvar.augment import AugMix
from elinvar.rng import streams
from elinvar.train.manifest import processor

BATCH = {32: 512, 224: 64}
FIRST_CALL = """
import time, torch
from elinvar.augment import AugMix
start = time.perf_counter()
AugMix()(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
print(time.perf_counter() - start)
"""


def photos(count: int, size: int) -> Tensor:
    """Cuts from the two photographs that scikit-learn carries."""
    generator = np.random.default_rng(0)
    sources = load_sample_images().images
    cuts = []
    for place in range(count):
        photo = sources[place % len(sources)]
        top, left = (generator.integers(0, side - size + 1) for side in photo.shape[:2])
        cuts.append(torch.from_numpy(photo[top : top + size, left : left + size].copy()).permute(2, 0, 1))
    return torch.stack(cuts)


def cifar10(folder: Path, count: int, size: int) -> Tensor:
    """Images of CIFAR-10, enlarged for sizes above 32."""
    train = data.load(f"cifar10:{folder}").train
    assert isinstance(train, data.ArraySplit)
    images = train.images[:count]
    if size == 32:
        return images
    larger = torch.nn.functional.interpolate(images.float(), size=(size, size), mode="bicubic")
    return larger.clamp(0, 255).round().to(torch.uint8)


@dataclass
class Contender:
    """`run(n)` augments n images; `rates` are images per second, one for each turn."""

    name: str
    run: Callable[[int], object]
    step: int
    rates: list[float] = field(default_factory=list)
    count: int = 0

    def turn(self, seconds: float) -> None:
        """One measurement; the first finds out how many images fill the time, and is dropped."""
        if not self.count:
            self.run(self.step)  # compiles, fills caches
            start = time.perf_counter()
            self.run(self.step)
            turns = seconds / (time.perf_counter() - start)
            self.count = self.step * max(1, round(turns))
        start = time.perf_counter()
        self.run(self.count)
        self.rates.append(self.count / (time.perf_counter() - start))


def ours(images: Tensor, threads: int) -> Contender:
    augmentation, keys = AugMix(), streams(0, torch.arange(len(images)))

    def run(count: int) -> None:
        torch.set_num_threads(threads)
        for epoch in range(max(1, count // len(images))):
            augmentation(images, keys=keys + epoch)

    return Contender(f"elinvar AugMix, {threads} thread{'s' * (threads > 1)}", run, len(images))


def alone(name: str, peer: Peer, images: Sequence[NDArray[np.uint8]]) -> Contender:
    def run(count: int) -> None:
        torch.set_num_threads(1)
        for n in range(count):
            peer(images[n % len(images)])

    return Contender(name, run, 16)


class Augmented(Dataset[Tensor]):
    """What a loader's workers do: augment one image, and make a tensor of it."""

    def __init__(self, peer: Peer, images: Sequence[NDArray[np.uint8]], count: int) -> None:
        self.peer, self.images, self.count = peer, images, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        return torch.as_tensor(self.peer(self.images[index % len(self.images)]))


def loaded(name: str, peer: Peer, images: Sequence[NDArray[np.uint8]], batch: int) -> Contender:
    """The same in two workers, who are kept; the time until their first batch is not counted."""
    loaders: dict[int, DataLoader[Tensor]] = {}

    def run(count: int) -> None:
        if count not in loaders:
            loaders[count] = DataLoader(
                Augmented(peer, images, count), batch, num_workers=2, persistent_workers=True, prefetch_factor=4
            )
            next(iter(loaders[count]))
        for _ in loaders[count]:
            pass

    return Contender(f"{name}, DataLoader with 2 workers", run, 4 * batch)


def contenders(images: Tensor, batch: int) -> list[Contender]:
    arrays = [image.permute(1, 2, 0).contiguous().numpy() for image in images]
    peers: list[tuple[str, Peer] | None] = [("numpy/Pillow reference", reference), torchvision_augmix(), timm_augmix()]
    found = [peer for peer in peers if peer is not None]
    threads = sorted({1, os.cpu_count() or 1})
    return [
        *(ours(images, n) for n in reversed(threads)),
        *(alone(name, peer, arrays) for name, peer in found),
        *(loaded(name, peer, arrays, batch // 4) for name, peer in found),
    ]


def first_call() -> float:
    """Seconds that the first call takes where nothing is compiled yet."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        command = [sys.executable, "-c", FIRST_CALL]
        return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def compare(rows: Sequence[Contender], size: int, batch: int, repeats: int, seconds: float) -> None:
    """Let all work by turns, the first turn for nothing, and print the table."""
    for turn in range(repeats + 1):
        for row in rows:
            row.turn(seconds)
            if not turn:
                row.rates.clear()
    first = statistics.median(rows[0].rates)
    print(f"\n{size} x {size}, batches of {batch}, n = {repeats}\n")
    print("| | images/s | best | ours / it | spread |\n|---|---|---|---|---|")
    for row in rows:
        rate = statistics.median(row.rates)
        spread = (max(row.rates) - min(row.rates)) / rate
        print(f"| {row.name} | {rate:,.0f} | {max(row.rates):,.0f} | {first / rate:.1f} | {spread:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", type=Path, metavar="DIR", help="CIFAR-10, binary version; else: photographs")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--sizes", type=int, nargs="+", default=sorted(BATCH))
    settings = parser.parse_args()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numba", "numpy", "pillow"))
    print(f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}")
    print(f"images: {'CIFAR-10' if settings.cifar10 else 'cuts of two photographs'}")
    print(f"first call, nothing compiled: {first_call():.1f} s")
    for size in settings.sizes:
        batch = BATCH.get(size, 64)
        images = cifar10(settings.cifar10, batch, size) if settings.cifar10 else photos(batch, size)
        compare(contenders(images, batch), size, batch, settings.repeats, settings.seconds)


if __name__ == "__main__":
    main()
