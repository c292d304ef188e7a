"""Weak Augment is Algorithm 1 of its paper: two copies of a batch, two BatchNorms, the mean of two losses."""

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from elinvar import data
from elinvar.precision import Compute, Precision
from elinvar.recipe import Model
from elinvar.recipes import recipe, weak_augment
from elinvar.rng import Seeds
from elinvar.train import Run, checkpoint, fit
from elinvar.views import Logits, View, Views


def test_its_views_draw_by_themselves_and_only_one_is_strong() -> None:
    train = weak_augment().train
    weak, strong = train.views
    assert not train.shared
    assert strong.transforms[1:] == weak.transforms
    assert (weak.branch, strong.branch) == train.norm.branches == ("main", "aux")
    assert weak_augment().infer.branch == "main"


def test_its_loss_is_the_mean_over_both_copies() -> None:
    z, targets = torch.randn(2, 6, 10, generator=torch.Generator().manual_seed(0)), torch.arange(6)
    names, images = ("weak", "strong"), torch.zeros(6, 3, 8, 8)
    views = Views([View(name, images, targets, targets) for name in names])
    made = weak_augment().train.objective(Logits(dict(zip(names, z, strict=True))), views).total
    torch.testing.assert_close(made, F.cross_entropy(z.flatten(0, 1), targets.repeat(2)))


def test_each_copy_moves_the_memory_of_its_own_branch(tmp_path: Path) -> None:
    few = data.subset(data.load("digits"), train=128, test=32)
    made = recipe("weak_augment")
    made = replace(made, model=Model(name="wrn-10-1"), train=replace(made.train, epochs=1, batch_size=64))
    compute = Compute.choose(torch.device("cpu"), Precision.FLOAT32)
    fit(made, few, Run(tmp_path), seeds=Seeds(0), compute=compute)
    found = checkpoint.read(tmp_path / "checkpoint")
    assert found is not None
    main = [name for name in found.weights if name.endswith("running_mean") and "branches" not in name]
    assert main
    for name in main:
        aux = found.weights[name.replace("running_mean", "branches.aux.running_mean")]
        assert found.weights[name].any()
        assert aux.any()
        assert not aux.equal(found.weights[name])
