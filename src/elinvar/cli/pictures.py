"""Which images a picture is made of."""

import numpy as np
import torch
from PIL import Image

from ..check import InputError
from ..data import Split, load
from ..infer.judge import SEVERITIES, corrupt
from ..report import SampleSheet, sample_grid
from ..shift import CORRUPTIONS
from ..views import Batch

PHOTOS = "photos"
# Squares of scikit-learn's two photographs: which one, the left upper corner, the side.
CUTS = ((0, 8, 22, 404), (1, 148, 60, 320), (0, 60, 20, 250), (1, 0, 0, 427))


def photos(count: int, size: int) -> Batch:
    """Squares of the two photographs inside scikit-learn, by danielbuechele and vultilion, CC BY 2.0."""
    from sklearn.datasets import load_sample_images

    if not 1 <= count <= len(CUTS):
        raise InputError(f"--images: got {count}, expected 1 to {len(CUTS)} photographs; --data names larger data")
    whole = [Image.fromarray(photo) for photo in load_sample_images().images]
    cuts = []
    for which, left, top, side in CUTS[:count]:
        box = (left, top, left + side, top + side)
        cuts.append(np.asarray(whole[which].resize((size, size), Image.Resampling.LANCZOS, box)))
    images = torch.from_numpy(np.stack(cuts)).permute(0, 3, 1, 2).contiguous()
    return Batch(images, torch.arange(count), torch.arange(count))


def pictured(spec: str, count: int, size: int) -> Batch:
    """Photographs of a size, or examples of the data set `spec` as they are."""
    return photos(count, size) if spec == PHOTOS else examples(load(spec).test, count)


def examples(split: Split, count: int) -> Batch:
    """The first image of each of the first `count` classes."""
    first = [int((split.targets == number).nonzero()[0]) for number in torch.unique(split.targets)[:count]]
    if not first or count < 1:
        raise InputError(f"--images: got {count}, expected 1 or more")
    return next(iter(split.batches(torch.tensor(first), len(first))))


def sample_sheet(split: Split, count: int = 5) -> SampleSheet:
    """A few images under every corruption at every severity."""
    batch = examples(split, count)
    corrupted = {
        name: torch.stack([corrupt(batch, name, severity).images for severity in SEVERITIES]) for name in CORRUPTIONS
    }
    return sample_grid(batch.images, corrupted)
