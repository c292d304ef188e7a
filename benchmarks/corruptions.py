"""How long corruptions take, the 15 and the 4 for validation: elinvar and a per-image peer in the same run.

    python benchmarks/corruptions.py --cifar10 DIR        # DIR holds CIFAR-10, as for elinvar train
    python benchmarks/corruptions.py                      # digits, repeated
    python benchmarks/corruptions.py --size 224           # the same images, enlarged

The peer (`_corruption_reference.py`) works on one core and sees fewer images. ms/image is the mean over severities,
each the best of the repeats (of both alike), so that other work on the machine disturbs least; the last lines add up
the same times, of the 15 alone.
"""

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path

import _corruption_reference as peer
import numba
import numpy as np
import PIL
import scipy
import torch

from elinvar import __version__, data
from elinvar.rng import streams
from elinvar.shift import CORRUPTIONS, EXTRA, LEVELS, corrupt
from elinvar.train.manifest import processor


def seconds(work: Callable[[int], object], repeats: int) -> list[float]:
    """The best time of each severity, after one warm-up."""
    best = [float("inf")] * len(LEVELS)
    for repeat in range(repeats + 1):
        for place, severity in enumerate(LEVELS):
            start = time.perf_counter()
            work(severity)
            if repeat:
                best[place] = min(best[place], time.perf_counter() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", type=Path, help="CIFAR-10; else: digits, repeated")
    parser.add_argument("--size", type=int, default=32, help="pixels of a side")
    parser.add_argument("--images", type=int, help="by default 10,000, or 40 above 64 pixels")
    parser.add_argument("--peer-images", type=int, help="by default 100, or 4 above 64 pixels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[*CORRUPTIONS, *EXTRA], help="names of corruptions")
    settings = parser.parse_args()
    count, few_count = (10_000, 100) if settings.size <= 64 else (40, 4)
    count, few_count = settings.images or count, settings.peer_images or few_count

    test = data.load(f"cifar10:{settings.cifar10}" if settings.cifar10 else "digits").test
    assert isinstance(test, data.ArraySplit)
    images = test.images[torch.arange(count) % len(test)]
    if settings.size != images.shape[2]:
        resized = torch.nn.functional.interpolate(images.float(), size=(settings.size,) * 2, mode="bilinear")
        images = resized.round().to(torch.uint8)
    keys = streams(0, torch.arange(len(images)))
    few = images[:few_count].permute(0, 2, 3, 1).contiguous().numpy()
    threads = torch.get_num_threads()

    source = "CIFAR-10 test" if settings.cifar10 else "digits"
    print(f"{len(images)} images ({source}) of {settings.size} pixels, peer: {len(few)}; ", end="")
    print(f"best of {settings.repeats}; {platform.machine()}, {processor()}, ", end="")
    print(f"{threads} threads; elinvar {__version__}, torch {torch.__version__}, numba {numba.__version__}, ", end="")
    print(f"numpy {np.__version__}, scipy {scipy.__version__}, Pillow {PIL.__version__}\n")
    print("| corruption | ms/image | by severity | ms/image, 1 thread | peer, ms/image | peer / 1 thread |")
    print("|---|---|---|---|---|---|")
    total = alone = slow = 0.0
    for name in settings.only:

        def ours(severity: int, name: str = name) -> None:
            corrupt(images, name, severity, keys=keys)

        def theirs(severity: int, name: str = name) -> None:
            draw = np.random.default_rng(severity)
            for image in few:
                peer.corrupt(image, name, severity, draw)

        parts = seconds(ours, settings.repeats)
        torch.set_num_threads(1)
        whole, single = sum(parts), sum(seconds(ours, settings.repeats))
        torch.set_num_threads(threads)
        reference = sum(seconds(theirs, settings.repeats)) if name in peer.REFERENCE else float("nan")
        per = [1000 * t / (len(LEVELS) * len(images)) for t in (whole, single)]
        per.append(1000 * reference / (len(LEVELS) * len(few)))
        levels = " ".join(f"{1000 * part / len(images):.4f}" for part in parts)
        print(f"| {name} | {per[0]:.4f} | {levels} | {per[1]:.4f} | {per[2]:.4f} | {per[2] / per[1]:.1f} |", flush=True)
        if name in CORRUPTIONS:
            total, alone, slow = total + whole, alone + single, slow + per[2] * len(LEVELS) * len(images) / 1000
    print(f"\n15 corruptions, {len(LEVELS)} severities x {len(images)} images: ", end="")
    print(f"{total:.1f} s on {threads} threads, {alone:.1f} s on one; the peer {slow:.0f} s (extrapolated, one core)")
    made = len(LEVELS) * len(images) * sum(name in CORRUPTIONS for name in settings.only)
    print(f"{made / max(total, 1e-9):.0f} images/s on {threads} threads; the peer {made / max(slow, 1e-9):.1f}")


if __name__ == "__main__":
    main()
