"""Recipes of mixing and of searched policies: what they change beside `standard`, and that runs of them resume."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from elinvar import config, data
from elinvar.context import Context
from elinvar.mixing import MixView, VHMixup
from elinvar.precision import Compute, Precision
from elinvar.recipe import Model, Recipe, Sgd
from elinvar.recipes import autoaugment, cutmix, mixup, randaugment, recipe, standard, vh_mixup
from elinvar.rng import Seeds
from elinvar.train import Observer, Run, Step, build_model, fit
from elinvar.train.checkpoint import read
from elinvar.views import Batch, View
from interrupted import Stop

Make = Callable[..., Recipe]
MIXED: tuple[Make, ...] = (mixup, cutmix, vh_mixup)
CPU = Compute.choose(torch.device("cpu"), Precision.FLOAT32)
DIGITS = data.subset(data.load("digits"), train=150, test=50)


class Net(nn.Module):
    classes = 10


def prepared(which: Recipe, images: torch.Tensor) -> View:
    count = len(images)
    batch = Batch(images, torch.arange(count) % 10, torch.arange(count))
    return which.train.prepare(batch, Context(Seeds(1), 0, Net(), nn.Identity()))["clean"]


def noise(count: int) -> torch.Tensor:
    """No value is one of the color that Cutout leaves."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(130, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("make", MIXED)
def test_a_mix_changes_views_and_weight_decay_alone(make: Make) -> None:
    base, made = standard(epochs=7), make(epochs=7)
    assert made.train.optimizer == Sgd(weight_decay=1e-4)
    (view,) = made.train.views
    assert (view.name, view.branch, len(view.transforms)) == ("clean", "main", 1)
    back = replace(made.train, views=base.train.views, optimizer=base.train.optimizer)
    assert replace(made, name="standard", train=back) == base


def test_arguments_reach_the_method() -> None:
    made = vh_mixup(alpha=0.3, probability=0.5, weight_decay=5e-4)
    assert made.train.views[0].transforms == (MixView(VHMixup(0.3), 0.5),)
    assert made.train.optimizer == Sgd(weight_decay=5e-4)
    assert randaugment(n=2, m=9).train.shared[0] != randaugment().train.shared[0]
    assert autoaugment(overlap_free=True).train.shared[0] != autoaugment().train.shared[0]
    assert len(randaugment(cutout=0).train.shared) == 3


@pytest.mark.parametrize("make", MIXED)
def test_targets_are_soft(make: Make) -> None:
    """A tenth has a partner of its own class, and half of CutMix' examples have none: of 400, 180 +- 10 are mixed.

    Outside of 6 standard deviations once in 5e8 keys.
    """
    targets = prepared(make(), noise(400)).targets
    assert targets.shape == (400, 10)
    torch.testing.assert_close(targets.sum(1), torch.ones(400))
    mixed = int((targets.amax(1) < 1).sum())
    assert 120 <= mixed <= 240 if make is cutmix else mixed >= 320


def test_the_loss_is_cross_entropy_with_the_soft_targets() -> None:
    small = replace(recipe("vh_mixup"), model=Model(name="wrn-10-1"))
    model = build_model(small, DIGITS, Seeds(0))
    batch = next(iter(DIGITS.train.batches(torch.arange(64), 64)))
    seen = list[View]()
    prepare = type(small.train).prepare

    class Watched(type(small.train)):  # type: ignore[misc]
        def prepare(self, batch: Batch, context: Context) -> object:
            views = prepare(self, batch, context)
            seen.append(views["clean"])
            return views

    train = Watched(**{name: getattr(small.train, name) for name in small.train.__dataclass_fields__})
    logits = list[torch.Tensor]()
    model.register_forward_hook(lambda _, __, output: logits.append(output.detach()))
    report = Step(model, train, train.optimizer.build(model), Seeds(0), CPU)(batch, epoch=0, number=0)
    z, t = logits[0].double().numpy(), seen[0].targets.double().numpy()
    surprise = np.log(np.exp(z).sum(1, keepdims=True)) - z
    assert report.loss == pytest.approx((t * surprise).sum(1).mean(), rel=1e-5)
    assert (t.max(1) < 1).mean() > 0.5


@pytest.mark.parametrize("make", [randaugment, autoaugment])
def test_a_square_is_taken_out_last(make: Make) -> None:
    """At least 8 x 8 of each image have the mean color exactly, at most 16 x 16, and they fill a rectangle."""
    images = prepared(make(), noise(64)).images
    gone = (images == torch.tensor([125, 123, 114], dtype=torch.uint8).view(3, 1, 1)).all(1)
    for one in gone:
        rows, columns = one.any(1).nonzero().flatten(), one.any(0).nonzero().flatten()
        height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        assert 8 <= height <= 16
        assert 8 <= width <= 16
        assert int(one.sum()) == height * width


def test_policies_come_before_flips_and_crops() -> None:
    for which in (randaugment(), autoaugment()):
        names = [type(step).__name__ for step in which.train.shared]
        assert names[1:] == ["Flip", "PadCrop", "Cutout"]
        assert names[0].lower() == which.name
        assert which.train.views == standard().train.views


@pytest.mark.parametrize("make", [vh_mixup, cutmix, randaugment])
def test_an_interrupted_run_ends_with_the_same_bits(make: Make, tmp_path: Path) -> None:
    made = make(epochs=2)
    made = replace(
        made, model=Model(name="wrn-10-1"), train=replace(made.train, batch_size=64, accumulate=2, evaluate_every=2)
    )

    def train(out: str, watch: Observer | None = None) -> bool:
        run = Run(tmp_path / out)
        return fit(made, DIGITS, run, seeds=Seeds(0), compute=CPU, observer=watch, checkpoint_seconds=0.0)

    def weights(out: str) -> dict[str, torch.Tensor]:
        found = read(Run(tmp_path / out).checkpoints)
        assert found is not None
        return dict(found.weights)

    train("whole")
    for after in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            train("cut", Stop(after))
    train("cut")
    whole, cut = weights("whole"), weights("cut")
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


def test_a_recipe_file_names_a_mix_to_who_imported_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(config.dump(recipe("vh_mixup")))
    code = "from pathlib import Path; from elinvar import config; print(config.load(Path('recipe.yaml')).name)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "vh_mixup"
