"""Mixing inside a training step."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from elinvar import config, data
from elinvar.check import InputError
from elinvar.context import Context
from elinvar.mixing import Choice, Mix, Mixup, MixView, VHMixup
from elinvar.precision import Compute, Precision
from elinvar.recipe import Model, Recipe, ViewSpec
from elinvar.recipes import recipe
from elinvar.rng import Seeds, Source
from elinvar.train import Step, build_model
from elinvar.views import View

from .conftest import noise


def mixed(step: MixView) -> Recipe:
    base = recipe("standard")
    views = (ViewSpec(name="clean", transforms=(step,)),)
    return replace(base, name="mixed", model=Model(name="wrn-10-1"), train=replace(base.train, views=views))


class Net(nn.Module):
    classes = 5


def context(model: nn.Module, epoch: int = 3) -> Context:
    return Context(Seeds(7), epoch, model, model)


def view(count: int = 12) -> View:
    return View("clean", noise(count, 3, 8, 8), torch.arange(count) % 5, torch.arange(count) + 100)


def test_draws_follow_seed_epoch_view_and_example() -> None:
    step = MixView(VHMixup())
    made = step(view(), context(Net()), "clean", 0)
    assert made.name == "clean"
    assert made.index.equal(view().index)
    stream = context(Net()).streams(Source.MIX, view().index, "clean", 0)
    images, targets = Mix("vh_mixup", classes=5)(view().images, view().targets, keys=stream)
    assert made.images.equal(images)
    assert made.targets.equal(targets)
    for other in (step(view(), context(Net(), 4), "clean", 0), step(view(), context(Net()), "clean", 1)):
        assert not other.images.equal(made.images)


def test_disjoint_pairs_keep_the_index_of_their_first_example() -> None:
    made = MixView(Mixup(), pairing="disjoint")(view(), context(Net()))
    assert len(made.images) == len(made.targets) == 6
    assert made.index.equal(view().index[:6])


def test_the_number_of_classes_must_be_known() -> None:
    with pytest.raises(InputError, match="the model does not say how many classes there are"):
        MixView(Mixup())(view(), context(nn.Identity()))
    soft = replace(view(), targets=torch.full((12, 5), 0.2))
    assert MixView(Mixup())(soft, context(nn.Identity())).targets.shape == (12, 5)


@pytest.mark.parametrize(
    "step", [MixView(VHMixup(0.4)), MixView(Choice(("mixup", "cutmix")), probability=0.5)], ids=["method", "choice"]
)
def test_a_recipe_with_a_mix_is_its_yaml_and_trains(step: MixView, tmp_path: Path) -> None:
    small = mixed(step)
    file = tmp_path / "recipe.yaml"
    file.write_text(config.dump(small))
    assert config.load(file) == small
    digits = data.load("digits")
    compute = Compute.choose(torch.device("cpu"), Precision.FLOAT32)
    model = build_model(small, digits, Seeds(0))
    train = Step(model, small.train, small.train.optimizer.build(model), Seeds(0), compute)
    batch = next(iter(digits.train.batches(torch.arange(64), 64)))
    losses = [train(batch, epoch=0, number=number).loss for number in range(8)]
    assert losses[-1] < losses[0]
