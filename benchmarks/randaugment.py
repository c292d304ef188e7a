"""How fast RandAugment(2, 9) is, against others in the same run.

    python benchmarks/randaugment.py [--cifar10 DIR] [--repeats 7] [--seconds 1] [--operations]

All contenders work on the same images by turns, `repeats` times for about `seconds` each; the median counts. Ours takes
whole batches, uint8 to uint8; the others take one image at a call, in this process or in a DataLoader with two workers.
Everything that an image needs is timed, the draw too. The others run with their own defaults: torchvision fetches the
nearest pixel where ours blends four; timm leaves every second operation out, unless told p1 as in the second row;
albumentations has no RandAugment, so it gets the same fourteen operations at the same magnitude. The spread is that of
the rates, highest minus lowest, over their median.

`--operations` prints what one image costs us on one thread instead: the draw, and each operation alone.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from _peers import Peer, torchvision_augmix
from augmix import BATCH, Contender, alone, cifar10, compare, loaded, photos
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from elinvar.augment import RandAugment, apply
from elinvar.augment.randaugment import OP_LISTS
from elinvar.rng import streams
from elinvar.train.manifest import processor

N, M = 2, 9


def torchvision_peer() -> tuple[str, Peer] | None:
    """torchvision's transform on Pillow images; None if it is not installed."""
    torchvision_augmix()  # makes torchvision importable where its own operators were built for another device
    try:
        from torchvision.transforms.v2 import RandAugment as Theirs
    except ImportError:
        return None
    transform = Theirs(N, M)
    return f"torchvision {version('torchvision')} v2, Pillow", lambda image: np.array(transform(Image.fromarray(image)))


def timm_peer(config: str) -> tuple[str, Peer] | None:
    """timm's transform; None if it is not installed."""
    torchvision_augmix()  # timm imports torchvision
    try:
        from timm.data.auto_augment import rand_augment_transform
    except ImportError:
        return None
    transform = rand_augment_transform(config, {})
    return f"timm {version('timm')} {config}", lambda image: np.array(transform(Image.fromarray(image)))


def albumentations_peer() -> tuple[str, Peer] | None:
    """Two of fourteen operations of albumentations at magnitude 9 of 30; None if it is not installed."""
    try:
        import albumentations as A
    except ImportError:
        return None
    part = 0.9 * M / 30
    some = A.SomeOf(
        [
            A.NoOp(p=1),
            A.AutoContrast(p=1),
            A.Equalize(p=1),
            A.Posterize(num_bits=7, p=1),
            A.Solarize(threshold_range=(0.7, 0.7), p=1),
            A.Rotate(limit=(9, 9), p=1),
            A.Affine(shear={"x": (5.1, 5.1), "y": (0, 0)}, p=1),
            A.Affine(shear={"x": (0, 0), "y": (5.1, 5.1)}, p=1),
            A.Affine(translate_percent={"x": (0.136, 0.136), "y": (0, 0)}, p=1),
            A.Affine(translate_percent={"x": (0, 0), "y": (0.136, 0.136)}, p=1),
            A.HueSaturationValue(hue_shift_limit=0, sat_shift_limit=(27, 27), val_shift_limit=0, p=1),
            A.RandomBrightnessContrast(brightness_limit=(part, part), contrast_limit=0, p=1),
            A.RandomBrightnessContrast(brightness_limit=0, contrast_limit=(part, part), p=1),
            A.Sharpen(alpha=(part, part), lightness=(1, 1), p=1),
        ],
        n=N,
        replace=True,
        p=1,
    )
    transform = A.Compose([some])
    return f"albumentations {version('albumentations')}", lambda image: transform(image=image)["image"]


def ours(images: Tensor, threads: int) -> Contender:
    augmentation, keys = RandAugment(N, M), streams(0, torch.arange(len(images)))

    def run(count: int) -> None:
        torch.set_num_threads(threads)
        for epoch in range(max(1, count // len(images))):
            augmentation(images, keys=keys + epoch)

    return Contender(f"elinvar RandAugment, {threads} thread{'s' * (threads > 1)}", run, len(images))


def contenders(images: Tensor, batch: int) -> list[Contender]:
    arrays: Sequence[NDArray[np.uint8]] = [image.permute(1, 2, 0).contiguous().numpy() for image in images]
    peers = [
        torchvision_peer(),
        timm_peer(f"rand-m{M}-n{N}"),
        timm_peer(f"rand-m{M}-n{N}-p1"),
        albumentations_peer(),
    ]
    found = [peer for peer in peers if peer is not None]
    threads = sorted({1, os.cpu_count() or 1})
    return [
        *(ours(images, n) for n in reversed(threads)),
        *(alone(name, peer, arrays) for name, peer in found),
        *(loaded(name, peer, arrays, batch // 4) for name, peer in found),
    ]


def fastest(work: Callable[[], object], repeats: int) -> float:
    """Seconds of processor time that the fastest call takes."""
    work()
    best = float("inf")
    for _ in range(repeats):
        start = time.thread_time()
        work()
        best = min(best, time.thread_time() - start)
    return best


def operations(images: Tensor, repeats: int) -> None:
    """Microseconds for each image, on one thread."""
    torch.set_num_threads(1)
    size, keys = images.shape[2], streams(0, torch.arange(len(images)))
    cost = 1e6 / len(images)
    whole = RandAugment(N, M)
    work: dict[str, Callable[[], object]] = {
        f"RandAugment({N}, {M})": lambda: whole(images, keys=keys),
        "its draw": lambda: whole.draw(keys, height=size, width=size),
    }
    for name in OP_LISTS["paper"]:
        program = RandAugment(1, M, ops=(name,)).draw(keys, height=size, width=size)
        work[f"{name} alone"] = partial(apply, images, program)
    print(f"\n{size} x {size}, batches of {len(images)}\n\n| | us for each image |\n|---|---|")
    for name, each in work.items():
        print(f"| {name} | {cost * fastest(each, repeats):.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", type=Path, metavar="DIR", help="CIFAR-10, binary version; else: photographs")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--sizes", type=int, nargs="+", default=sorted(BATCH))
    parser.add_argument("--operations", action="store_true", help="what each operation costs, without peers")
    settings = parser.parse_args()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numba", "numpy", "pillow"))
    print(f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}")
    print(f"images: {'CIFAR-10' if settings.cifar10 else 'cuts of two photographs'}")
    for size in settings.sizes:
        batch = BATCH.get(size, 64)
        images = cifar10(settings.cifar10, batch, size) if settings.cifar10 else photos(batch, size)
        if settings.operations:
            operations(images, settings.repeats)
            continue
        compare(contenders(images, batch), size, batch, settings.repeats, settings.seconds)


if __name__ == "__main__":
    main()
