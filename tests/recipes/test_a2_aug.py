"""A2-Aug is its paper's loss over policies side by side, each part of which can be off."""

from dataclasses import replace

import torch
import torch.nn.functional as F

from elinvar import data
from elinvar.augment import Cutout, Flip, PadCrop, RandAugment, sample_policies
from elinvar.citations import behind
from elinvar.norm import NormPolicy
from elinvar.precision import Compute, Precision
from elinvar.recipe import Infer, Model, Recipe
from elinvar.recipes import a2_aug
from elinvar.rng import Seeds
from elinvar.train import Step, build_model
from elinvar.views import Logits, View, Views

CPU = Compute.choose(torch.device("cpu"), Precision.FLOAT32)


def test_each_policy_has_a_branch_and_the_best_of_them_is_kept() -> None:
    made = a2_aug()
    assert [view.transforms[0] for view in made.train.views] == list(sample_policies(4, 0))
    for view in made.train.views:
        assert [type(step) for step in view.transforms] == [RandAugment, Flip, PadCrop, Cutout]
        assert view.branch == view.name
    assert made.infer.best_of == made.train.norm.branches == tuple(f"policy_{number}" for number in range(1, 5))
    assert made.train.held_out == 5000
    assert {"li2023a2aug", "cubuk2020randaugment", "merchant2020split"} <= set(behind(made))
    assert [v.transforms[0] for v in a2_aug(policies=3).train.views] == list(sample_policies(4, 0))[:3]


def test_its_loss_is_equation_5() -> None:
    """Sum of four cross-entropies, that of their mean, and four divergences from it by logits of length 1."""
    names = tuple(f"policy_{number}" for number in range(1, 5))
    z, targets = torch.randn(4, 6, 10, generator=torch.Generator().manual_seed(0)), torch.arange(6)
    views = Views([View(name, torch.zeros(6, 3, 8, 8), targets, targets) for name in names])
    logits = Logits(dict(zip(names, z, strict=True)))
    ensemble = z.mean(0)  # the shares are equal at first
    apart = [
        F.kl_div(F.normalize(one).log_softmax(1), F.normalize(ensemble).softmax(1), reduction="batchmean") for one in z
    ]
    expected = sum(F.cross_entropy(one, targets) for one in z) + F.cross_entropy(ensemble, targets) + sum(apart)
    torch.testing.assert_close(a2_aug().train.objective.module()(logits, views).total, expected)


def test_one_policy_is_ordinary_training() -> None:
    """What the ensemble adds moves no weight where it has one member."""
    digits = data.subset(data.load("digits", size=8), train=64, test=32)

    def weights(made: Recipe) -> dict[str, torch.Tensor]:
        made = replace(made, model=Model(name="wrn-10-1"))
        model = build_model(made, digits, Seeds(0))
        step = Step(model, made.train, made.train.optimizer.build(model), Seeds(0), CPU)
        step(next(iter(digits.train.batches(torch.arange(64), 64))), epoch=0, number=0)
        return model.state_dict()

    alone, plain = a2_aug(policies=1), a2_aug(policies=1, ensemble=False, distill=False)
    one, other = weights(alone), weights(plain)
    torch.testing.assert_close(one, other)  # a divergence of 0 has a gradient of rounding errors


def test_parts_can_be_off() -> None:
    together = a2_aug(separate=False)
    assert together.train.norm == NormPolicy()
    assert together.infer == Infer()
    assert {view.branch for view in together.train.views} == {"main"}
    assert a2_aug(cutout=0).train.views[0].transforms[-1] == PadCrop(4)
    names = ("policy_1", "policy_2")
    z, targets = torch.randn(2, 6, 10, generator=torch.Generator().manual_seed(0)), torch.arange(6)
    views = Views([View(name, torch.zeros(6, 3, 8, 8), targets, targets) for name in names])
    logits = Logits(dict(zip(names, z, strict=True)))
    plain = a2_aug(policies=2, ensemble=False, distill=False).train.objective.module()(logits, views).total
    torch.testing.assert_close(plain, sum(F.cross_entropy(one, targets) for one in z))
