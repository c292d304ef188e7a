"""What a Fourier heatmap costs beyond its forwards: WRN-16-1, both timed by turns in one run.

    python benchmarks/fourier.py [--images 1000] [--vectors 8] [--repeats 5] [--model wrn-16-1] [--norm 4]

A heatmap of 1,024 frequencies of 32 x 32 pixels needs 514 basis images, each with one forward of every image. Timed is
a part of it, the central frequencies that need `vectors` images or a few more, against as many bare forwards of the
same clean batches; the cost of a basis image does not depend on its frequency. The ratio of the best times counts, as
other work on the machine disturbs them least. Weights are random: they do not matter here. Peer: the same loop as
unofficial code for these heatmaps goes about it, a data loader whose transform adds the basis image to one image after
the other, at a tenth of the images.
"""

import argparse
import platform
import time
from collections.abc import Callable

import torch
from torch import Tensor

from elinvar import __version__, models
from elinvar.precision import Compute, Precision
from elinvar.shift import fourier_heatmap, fourier_images
from elinvar.train.manifest import processor

BATCH = 100


def best(works: list[Callable[[], object]], repeats: int) -> list[float]:
    """The shortest time of each, taking turns, after one warm-up."""
    times = [float("inf")] * len(works)
    for repeat in range(repeats + 1):
        for place, work in enumerate(works):
            start = time.perf_counter()
            work()
            if repeat:
                times[place] = min(times[place], time.perf_counter() - start)
    return times


class Shifted(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images to which one wave is added when they are asked for."""

    def __init__(self, images: Tensor, wave: Tensor, norm: float) -> None:
        self.images, self.wave, self.norm = images, wave, norm

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        signs = torch.randint(0, 2, (3, 1, 1)) * 2 - 1
        return (self.images[place] + self.norm * signs * self.wave).clamp(0, 1), 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--vectors", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", default="wrn-16-1")
    parser.add_argument("--norm", type=float, default=4.0)
    parser.add_argument("--precision", default="float32", choices=[*Precision])
    settings = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    compute = Compute.choose(device, Precision(settings.precision))
    model = compute.place(models.build(settings.model, classes=10, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0)).eval()
    run = compute.forward(model)
    draws = torch.Generator().manual_seed(0)
    images = torch.rand(settings.images, 3, 32, 32, generator=draws).to(device)
    targets = torch.zeros(settings.images, dtype=torch.int64, device=device)
    radius = next(r for r in range(16) if ((2 * r + 1) ** 2 + 1) // 2 >= settings.vectors)
    vectors = ((2 * radius + 1) ** 2 + 1) // 2

    inside: list[float] = []

    def timed(batch: Tensor) -> Tensor:
        start = time.perf_counter()
        scores = run(batch)
        inside[-1] += time.perf_counter() - start
        return scores

    def ours() -> None:
        inside.append(0.0)
        fourier_heatmap(timed, images, targets, norm=settings.norm, radius=radius, batch_size=BATCH)

    def bare() -> None:
        with torch.no_grad():
            for _ in range(vectors):
                for batch in torch.split(images, BATCH):
                    run(batch)
        if device.type == "cuda":
            torch.cuda.synchronize()

    tenth = images[: max(1, settings.images // 10)].cpu()
    waves = fourier_images(torch.tensor([[k, k] for k in range(vectors)]) % 16, 32)

    def peer() -> None:
        with torch.no_grad():
            for wave in waves:
                for batch, _ in torch.utils.data.DataLoader(Shifted(tenth, wave, settings.norm), batch_size=BATCH):
                    run(batch.to(device)).argmax(1).cpu()

    print(f"{settings.images} images, {vectors} of 514 basis images, {settings.model}, {compute.dtype}, {device}; ")
    print(
        f"best of {settings.repeats}; {platform.machine()}, {processor()}, {torch.get_num_threads()} threads; ", end=""
    )
    print(f"elinvar {__version__}, torch {torch.__version__}\n")
    heatmap, forwards, loader = best([ours, bare, peer], settings.repeats)
    own = min(inside[1:])
    loader *= settings.images / len(tenth)
    print("| | s for these | s for 1,024 frequencies | / bare forwards |")
    print("|---|---|---|---|")
    for name, seconds in (("heatmap", heatmap), ("bare forwards", forwards), ("data loader (extrapolated)", loader)):
        print(f"| {name} | {seconds:.2f} | {seconds * 514 / vectors:.0f} | {seconds / forwards:.3f} |")
    if device.type == "cpu":
        print(f"\nthe heatmap over the forwards inside of it: {heatmap / own:.3f} (other work slows both alike)")
    print(f"\ntarget: 1.05; {'reached' if heatmap <= 1.05 * forwards else 'missed'}")


if __name__ == "__main__":
    main()
