"""Training with AugMix and Jensen-Shannon, end to end: images per second of ours and of a loop built like the authors'.

    python benchmarks/training.py --model wrn-40-2 --steps 5

The peer has the structure of google-research/augmix, cifar.py, written anew: a data set that makes three views of an
image with Pillow and numpy, a `DataLoader` with two workers, float32 NCHW, one concatenated forward, KL terms against a
clamped mixture, SGD with Nesterov. Ours is `Step` on the stored data set. Both train the same network on the same
images, in turns; the peer's first batch, which starts its workers, is not counted.
"""

import argparse
import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from _peers import reference
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from elinvar import data, norm
from elinvar.config import override
from elinvar.precision import Compute
from elinvar.recipes import recipe
from elinvar.rng import Seeds
from elinvar.train import Step, build_model
from elinvar.train.manifest import hardware

PEER = "authors' loop"
MEAN, SD = np.float32([0.4914, 0.4822, 0.4465]), np.float32([0.2470, 0.2435, 0.2616])


class ThreeViews(Dataset[tuple[Tensor, Tensor, Tensor, int]]):
    """Clean and two augmented versions of an image, standardized, after a flip and a crop of its own."""

    def __init__(self, split: data.ArraySplit, repeats: int) -> None:
        self.images = split.images.permute(0, 2, 3, 1).numpy()
        self.targets = split.targets
        self.repeats = repeats

    def __len__(self) -> int:
        return len(self.images) * self.repeats

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor, Tensor, int]:
        place %= len(self.images)
        image = self.images[place]
        if np.random.rand() < 0.5:  # noqa: NPY002
            image = image[:, ::-1]
        top, left = np.random.randint(0, 9, 2)  # noqa: NPY002
        image = np.ascontiguousarray(np.pad(image, ((4, 4), (4, 4), (0, 0)))[top : top + 32, left : left + 32])
        views = [(image.astype(np.float32) / 255 - MEAN) / SD, reference(image), reference(image)]
        clean, one, two = (torch.from_numpy(np.ascontiguousarray(view.transpose(2, 0, 1))) for view in views)
        return clean, one, two, int(self.targets[place])


def peer(model: torch.nn.Module, split: data.ArraySplit, batch: int, steps: int) -> Iterator[float]:
    """Seconds of each step of the authors' loop."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    repeats = -(-batch * (steps + 3) // len(split))
    loader = iter(DataLoader(ThreeViews(split, repeats), batch, shuffle=True, num_workers=2, drop_last=True))
    next(loader)
    for _ in range(steps):
        began = time.perf_counter()
        *views, targets = next(loader)
        optimizer.zero_grad()
        logits = torch.split(model(torch.cat(views)), batch)
        loss = F.cross_entropy(logits[0], targets)
        shares = [F.softmax(part, 1) for part in logits]
        mixture = torch.clamp(sum(shares[1:], shares[0]) / 3, 1e-7, 1).log()
        loss = loss + 12 * sum(F.kl_div(mixture, share, reduction="batchmean") for share in shares) / 3
        loss.backward()
        optimizer.step()
        loss.item()
        yield time.perf_counter() - began


def ours(step: Step, split: data.ArraySplit, batch: int, steps: int) -> Iterator[float]:
    """Seconds of each of our steps, from the stored images on."""
    order = torch.arange(batch * (steps + 1)) % len(split)
    batches = split.batches(order, batch)
    step(next(batches), epoch=0, number=0)
    for number in range(steps):
        began = time.perf_counter()
        step(next(batches), epoch=0, number=number + 1)
        yield time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="wrn-40-2")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()

    chosen = override(recipe("augmix"), [f"model.name={options.model}"])
    images, seeds, cpu = data.load(options.data), Seeds(0), torch.device("cpu")
    compute = Compute.choose(cpu)
    model = compute.place(build_model(chosen, images, seeds))
    step = Step(model, chosen.train, chosen.train.optimizer.build(model), seeds, compute)
    # The peer standardizes in its loader, so its network is ours without the input layer.
    other = norm.restore(build_model(chosen, images, seeds)).get_submodule("network")
    assert isinstance(images.train, data.ArraySplit)
    times: dict[str, list[float]] = {PEER: [], "elinvar": []}
    for _ in range(options.rounds):
        times[PEER] += peer(other, images.train, options.batch, options.steps)
        times["elinvar"] += ours(step, images.train, options.batch, options.steps)
    print(hardware(), f"torch {torch.__version__}", f"{options.model}, batch {options.batch}, {images.name}")
    rates = {}
    for name, values in times.items():
        middle = statistics.median(values)
        rates[name] = options.batch / middle
        spread = (max(values) - min(values)) / middle
        line = f"{name:<14}{rates[name]:9.1f} images/s   {1000 * middle:8.0f} ms/step"
        print(f"{line}   spread {spread:.2f}   n={len(values)}")
    print(f"ratio {rates['elinvar'] / rates[PEER]:.2f}")


if __name__ == "__main__":
    main()
