"""Images to learn: digits in noise, which every installation has, or the images of a data set."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from ..augment import Compose, Flip, PadCrop
from ..check import InputError
from ..data import Split, epoch_order, load
from ..data.digits import digits
from ..models import build
from ..norm import NormPolicy
from ..rng import Seeds, Source, streams
from .experiment import Job
from .nets import built
from .training import Pair, Sgd

Change = Callable[[Tensor, Tensor, int], Tensor]
"""(images, their places in the training set, key of the draw) -> images as training sees them"""


@dataclass(frozen=True, eq=False)
class Task:
    """A classification task on one device.

    images    of the training set, before they are changed; vectors in tasks without images
    targets   of the training set
    still     training images as test images are: not augmented
    test      images and targets
    make      builds a network
    seeds     of the network and every draw
    """

    images: Shaped[Tensor, "n *shape"]
    targets: Int64[Tensor, " n"]
    still: Shaped[Tensor, "n *shape"]
    test: Pair
    make: Callable[[], nn.Module]
    change: Change
    seeds: Seeds

    def model(self, policy: NormPolicy) -> nn.Module:
        """A fresh network; the same weights whatever the policy."""
        return built(self.make, policy, self.seeds, self.images.device)

    def ordered(self, orders: Iterable[Int64[Tensor, " _"]], batch: int) -> Iterator[Pair]:
        """The full batches of one order of the training set after the other, each time with new changes."""
        for epoch, order in enumerate(orders):
            for number, index in enumerate(torch.split(order.to(self.images.device), batch)):
                if len(index) == batch:
                    key = self.seeds.key(Source.AUGMENT, epoch, number)
                    yield self.change(self.images[index], index, key), self.targets[index]

    def feed(self, batch: int) -> Iterator[Pair]:
        """Endless shuffled epochs in full batches."""
        return self.ordered((epoch_order(len(self.images), self.seeds, epoch) for epoch in count()), batch)

    def population(self, examples: int, batch: int) -> list[Tensor]:
        """Changed training images to measure statistics on: at most so many, in random batches."""
        index = epoch_order(len(self.images), self.seeds, -1)[:examples].to(self.images.device)
        images = self.change(self.images[index], index, self.seeds.key(Source.AUGMENT, "population"))
        return list(torch.split(images, batch))

    def judged(self, batch: int, *, train: bool = False) -> list[Pair]:
        """Test images, or the still training images, in shuffled batches of that size (the last one may be smaller)."""
        images, targets = (self.still, self.targets) if train else self.test
        index = epoch_order(len(images), self.seeds, -2).to(images.device)
        return list(zip(torch.split(images[index], batch), torch.split(targets[index], batch), strict=True))


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a task is learned: `Sgd` in epochs instead of steps, and in which batches."""

    epochs: int
    batch: int
    lr: float
    weight_decay: float = 0.0
    warmup: int = 0

    def sgd(self, task: Task) -> Sgd:
        """The schedule in steps; raises `InputError` for batches larger than the training set."""
        per = self.steps(task, 1)
        return Sgd(
            lr=self.lr, steps=self.epochs * per, weight_decay=self.weight_decay, warmup=self.warmup * per
        )  # fmt: skip

    def steps(self, task: Task, epochs: int) -> int:
        """Steps of so many epochs."""
        if self.batch > len(task.images):
            raise InputError(f"batches of {self.batch} cannot be made of {len(task.images)} images: take more images")
        return epochs * (len(task.images) // self.batch)


RESNET = Course(epochs=100, batch=1024, lr=0.8, weight_decay=1e-4, warmup=5)
"""of the small residual networks on CIFAR; the papers' own is for ImageNet: 100 epochs, learning rate by batch size"""


def _everything(split: Split) -> Pair:
    batch = next(split.batches(torch.arange(len(split)), len(split)))
    return batch.images, batch.targets


def noisy_digits(job: Job, make: Callable[[], nn.Module], *, noise: float = 1.0) -> Task:
    """8x8 digits, one channel, standardized, in Gaussian noise of that standard deviation.

    Training images get new noise whenever they are seen; that of still and test images is fixed. Small networks make 5
    to 30 % errors on them after seconds.
    """
    found, seeds = digits(size=8), Seeds(job.seed)

    def plain(images: Tensor) -> Float[Tensor, "n 1 8 8"]:
        return ((images[:, :1].float() / 255 - found.mean[0]) / found.std[0]).to(job.device)

    def noised(images: Tensor, index: Tensor, key: int) -> Tensor:
        drawn = torch.randn(images.shape, generator=torch.Generator().manual_seed(key >> 1))
        return images + noise * drawn.to(images.device)

    (train, targets), (test, answers) = _everything(found.train), _everything(found.test)
    still, judged = (noised(plain(images), targets, seeds.key(Source.CORRUPT, name)) for images, name in (
        (train, "still"), (test, "test")
    ))  # fmt: skip
    answers = answers.to(job.device)
    return Task(plain(train), targets.to(job.device), still, (judged, answers), make, noised, seeds)


def of_data(job: Job, network: str) -> Task:
    """The data set of a job, held in memory as a whole, with flips and crops, for a network of `elinvar list model`."""
    assert job.data is not None, "an experiment checks this before it runs"
    found, seeds = load(job.data), Seeds(job.seed)
    changes = Compose((Flip(), PadCrop(4)))
    (train, targets), (test, answers) = (
        tuple(tensor.to(job.device) for tensor in _everything(split)) for split in (found.train, found.test)
    )

    def make() -> nn.Module:
        return build(
            network, classes=len(found.classes), mean=found.mean, std=found.std, in_channels=found.train.shape[0]
        )

    def change(images: Tensor, index: Tensor, key: int) -> Tensor:
        return changes(images, keys=streams(key, index.cpu()))

    return Task(train, targets, train, (test, answers), make, change, seeds)
