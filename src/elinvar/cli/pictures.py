"""Which images a picture is made of."""

import torch

from ..data import Split
from ..infer.judge import SEVERITIES, corrupt
from ..report import SampleSheet, sample_grid
from ..shift import CORRUPTIONS
from ..views import Batch


def examples(split: Split, count: int) -> Batch:
    """The first image of each of the first `count` classes."""
    first = [int((split.targets == number).nonzero()[0]) for number in torch.unique(split.targets)[:count]]
    return next(iter(split.batches(torch.tensor(first), len(first))))


def sample_sheet(split: Split, count: int = 5) -> SampleSheet:
    """A few images under every corruption at every severity."""
    batch = examples(split, count)
    corrupted = {
        name: torch.stack([corrupt(batch, name, severity).images for severity in SEVERITIES]) for name in CORRUPTIONS
    }
    return sample_grid(batch.images, corrupted)
