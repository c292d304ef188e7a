"""Perturbations and frequencies: each frame and each changed image goes through the model once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from elinvar import data, metrics, shift
from elinvar.check import InputError
from elinvar.data import read_perturbed
from elinvar.infer import Evaluation, GeneratedFrames, Predictor, PublishedFrames, record
from elinvar.infer.sequences import NAMES
from elinvar.infer.spectrum import IMAGES, places
from elinvar.precision import Compute, Precision
from elinvar.recipe import Infer
from elinvar.rng import Seeds, Source, streams

CPU = Compute.choose(torch.device("cpu"), Precision.FLOAT32)
SMALL = data.subset(data.load("digits", size=8), train=10, test=20)
FRAMES = sum(shift.PERTURBATIONS[name].length(8, 8) for name in shift.PERTURBATIONS) + 31  # and spatter


class Counting(nn.Module):
    """A linear model of uint8 or unit images that counts them."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.images = 0
        self.weight = nn.Parameter(torch.randn(classes, 192, generator=torch.manual_seed(0)), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        self.images += len(images)
        unit = images / 255 if images.dtype == torch.uint8 else images
        return unit.flatten(1) @ self.weight.T


def judged(folder: Path, model: Counting, **how: Any) -> Evaluation:
    return record(Predictor(model, Infer(), CPU), SMALL, folder, name="test", **how)


def test_sequences_are_followed_and_kept(tmp_path: Path) -> None:
    model = Counting()
    found = judged(tmp_path, model, suites=["clean", "perturbations"])
    assert model.images == 20 * (2 + FRAMES)
    assert found.stability is not None
    assert Evaluation.read(tmp_path / "evaluation.json") == found
    judged(tmp_path, model, suites=["clean", "perturbations"])
    assert model.images == 20 * (3 + FRAMES), "a few images are predicted anew; what was kept is not predicted again"

    images = next(iter(SMALL.test.batches(torch.arange(20), 20))).images
    for name, noise in (("tilt", False), ("shot_noise", True)):
        keys = streams(Seeds(0).key(Source.CORRUPT, "perturbation", name), torch.arange(20))
        frames = shift.perturb(images, name, keys=keys)
        logits = model(frames.flatten(0, 1)).view(20, -1, 10)
        assert found.stability.flips[name] == pytest.approx(100 * metrics.flip_probability(logits, noise=noise))
        assert found.stability.top5[name] == pytest.approx(metrics.top5_distance(logits, noise=noise))
    ten = [found.stability.flips[name] for name in shift.PERTURBATIONS]
    assert found.stability.mean["flip_probability"] == pytest.approx(sum(ten) / 10)
    swapped = sum(ten) - found.stability.flips["snow"] + found.stability.flips["spatter"]
    assert found.stability.mean["flip_probability_spatter"] == pytest.approx(swapped / 10)
    assert "10 perturbations of the benchmark" in found.stability.subset
    assert "flip_rate" not in found.stability.mean


def test_sequences_from_files_are_those_that_were_stored(tmp_path: Path) -> None:
    made = GeneratedFrames(SMALL.test)
    batch = next(iter(SMALL.test.batches(torch.arange(20), 20)))
    (tmp_path / "P").mkdir()
    for name in NAMES:
        frames = torch.stack(list(made.frames(name, batch)), 1)
        np.save(tmp_path / "P" / f"{name}.npy", frames.permute(0, 1, 3, 4, 2).numpy())
    files = PublishedFrames(read_perturbed(tmp_path / "P", classes=SMALL.classes, clean=SMALL.test))
    suites = ["clean", "perturbations"]
    ours = judged(tmp_path / "a", Counting(), suites=suites).stability
    theirs = judged(tmp_path / "b", Counting(), suites=suites, sequences=files).stability
    assert ours is not None
    assert theirs is not None
    assert theirs.flips == ours.flips
    assert theirs.top5 == ours.top5
    assert theirs.generator == "sequences from files in P"
    (tmp_path / "P" / "tilt.npy").unlink()
    files = PublishedFrames(read_perturbed(tmp_path / "P", classes=SMALL.classes, clean=SMALL.test))
    with pytest.raises(InputError, match="tilt missing"):
        judged(tmp_path / "c", Counting(), suites=suites, sequences=files)


def test_frequencies_are_measured_once_and_kept(tmp_path: Path) -> None:
    model = Counting()
    found = judged(tmp_path, model, suites=["clean", "fourier"])
    pairs, bandwidths = (64 + 4) // 2, 5  # 1, 3, 5, 7 and 8 pixels
    assert model.images == 20 * (2 + pairs + bandwidths)
    assert found.spectrum is not None
    judged(tmp_path, model, suites=["clean", "fourier"])
    assert model.images == 20 * (3 + pairs + bandwidths)
    assert Evaluation.read(tmp_path / "evaluation.json") == found
    batch = next(iter(SMALL.test.batches(torch.arange(20), 20)))
    heatmap = shift.fourier_heatmap(model, batch.images, batch.targets, norm=4.0)
    assert torch.equal(shift.FourierHeatmap.from_dict(found.spectrum.heatmap).error, heatmap.error)
    assert found.spectrum.mean == pytest.approx(100 * heatmap.mean())
    curve = shift.LowPassCurve.from_dict(found.spectrum.low_pass)
    assert curve.bandwidths == (1, 3, 5, 7, 8)
    assert 1 - curve.accuracy[-1] == pytest.approx(found.clean.error / 100)
    assert found.spectrum.subset == "20 of 20 test images, l2 norm 4 in each channel"


def test_frequencies_look_at_the_same_images_in_proportion() -> None:
    split = data.ArraySplit(torch.zeros(4000, 3, 8, 8, dtype=torch.uint8), torch.arange(4000) % 10)
    chosen = places(split)
    assert len(chosen) == IMAGES == len(set(chosen.tolist()))
    assert (torch.bincount(split.targets[chosen]) == 100).all()
    assert torch.equal(chosen, places(split))


def test_images_that_cannot_be_perturbed_are_refused_at_once(tmp_path: Path) -> None:
    model = Counting()
    tiny = data.ArraySplit(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(InputError, match="cannot be perturbed"):
        GeneratedFrames(tiny).check(NAMES)
    assert model.images == 0


def test_a_thousand_classes_are_normalized_by_alexnet(tmp_path: Path) -> None:
    model = Counting(1000)
    found = judged(tmp_path, model, suites=["clean", "corruptions", "perturbations"])
    assert found.shift is not None
    assert found.stability is not None
    shares = {name: [error / 100 for error in errors] for name, errors in found.shift.errors.items()}
    assert found.shift.mean["mce"] == float(metrics.mean_corruption_error(shares, normalizers=metrics.ALEXNET))
    relative = metrics.relative_mean_corruption_error(shares, found.clean.error / 100)
    assert found.shift.mean["relative_mce"] == float(relative)
    flips = {name: flip / 100 for name, flip in found.stability.flips.items()}
    assert found.stability.mean["flip_rate"] == float(metrics.mean_flip_rate(flips))
    ten = judged(tmp_path, Counting(10), suites=["clean", "corruptions"])
    assert ten.shift is not None
    assert "mce" not in ten.shift.mean
