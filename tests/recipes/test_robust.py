"""Recipes of adversarial training and logit regularization: the thesis' settings, identities, and bits that resume."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from elinvar import config, data
from elinvar.attacks import Adversarial, pgd_attack
from elinvar.check import InputError
from elinvar.citations import behind
from elinvar.mixing import Mixup, MixView, VHMixup
from elinvar.objectives import CrossEntropy, SmoothTargets
from elinvar.objectives import lrm as lrm_objective
from elinvar.precision import Compute, Precision
from elinvar.recipe import Model, Recipe, Steps
from elinvar.recipes import alp, label_smoothing, logit_squeezing, lrm, pgd, recipe
from elinvar.rng import Seeds
from elinvar.train import Observer, Run, Step, build_model, fit
from elinvar.train.checkpoint import read
from interrupted import Stop

Make = Callable[..., Recipe]
EVERY: tuple[Make, ...] = (pgd, alp, lrm, label_smoothing, logit_squeezing)
CPU = Compute.choose(torch.device("cpu"), Precision.FLOAT32)
DIGITS = data.subset(data.load("digits"), train=96, test=32)


def weights_after(made: Recipe, steps: int = 2) -> dict[str, torch.Tensor]:
    made = replace(made, model=Model(name="wrn-10-1"))
    model = build_model(made, DIGITS, Seeds(0))
    step = Step(model, made.train, made.train.optimizer.build(model), Seeds(0), CPU)
    for number in range(steps):
        step(next(iter(DIGITS.train.batches(torch.arange(16), 16))), epoch=0, number=number)
    return dict(model.state_dict())


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_settings_of_the_thesis() -> None:
    for make in EVERY:
        made = make()
        assert (made.train.optimizer.lr, made.train.batch_size) == (0.1, 128)
        assert made.train.epochs == (101 if make in (pgd, alp, lrm) else 200)
    assert label_smoothing().train.schedule == Steps(at=(100, 150), warmup_epochs=5)
    assert lrm().train.schedule == Steps(at=(-1,), warmup_epochs=5)
    assert recipe("pgd").train.views[0].transforms == (Adversarial(attack=pgd_attack(eps=0.03, step=0.0078)),)
    clean, adversarial = lrm().train.views
    assert clean.transforms == (MixView(VHMixup()), SmoothTargets(s=0.1))
    assert adversarial.of == "clean"
    assert lrm().train.objective == of_the_thesis()
    svhn = lrm(data="svhn")
    assert svhn.train.views[0].transforms == (MixView(Mixup()), SmoothTargets(s=0.2))
    assert svhn.train.views[1].transforms == (Adversarial(attack=pgd_attack(eps=12 / 255, step=3 / 255)),)
    assert svhn.train.schedule == Steps(at=(80,), warmup_epochs=5, warmup=0.1)
    assert len(svhn.train.shared) == 1
    with pytest.raises(InputError, match="unknown data set"):
        pgd(data="mnist")


def of_the_thesis() -> object:
    """The objective of LRM, where views bring smoothed targets."""
    return lrm_objective(ratio=0.125, beta=1e-3, smoothing=0.0)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
@pytest.mark.parametrize("make", EVERY)
def test_a_recipe_is_its_yaml_and_its_network_is_built(make: Make, name: str, tmp_path: Path) -> None:
    made = make(data=name)
    (tmp_path / "recipe.yaml").write_text(config.dump(made))
    assert config.load(tmp_path / "recipe.yaml") == made
    model = build_model(made, DIGITS, Seeds(0)).eval()
    convolutions = sum(type(module) is torch.nn.Conv2d for module in model.modules())
    assert convolutions + 1 == (8 if name == "svhn" else 18)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_lrm_with_everything_off_is_pgd() -> None:
    off = lrm(pairing=False, squeezing=False, smoothing=False, mixing=False)
    assert replace(off, name="pgd") == pgd()


def test_weights_of_zero_change_no_bit() -> None:
    both = lrm(smoothing=False, mixing=False)
    zero = replace(both.train, objective=lrm_objective(pairing=0.0, beta=0.0, smoothing=0.0))
    plain = replace(both.train, objective=CrossEntropy(over=("adversarial",)))
    known = weights_after(replace(both, train=plain))
    assert equal(weights_after(replace(both, train=zero)), known)
    assert not equal(weights_after(both), known)
    assert equal(weights_after(alp(weight=0.0)), known)


def test_who_is_cited() -> None:
    assert "madry2018towards" in set(behind(pgd()))
    assert {"madry2018towards", "kannan2018adversarial"} < set(behind(alp()))
    assert {"summers2021understanding", "szegedy2016rethinking"} < set(behind(lrm()))


def test_an_interrupted_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    made = lrm(epochs=2, steps=2)
    made = replace(
        made, model=Model(name="wrn-10-1"), train=replace(made.train, batch_size=32, accumulate=2, evaluate_every=2)
    )

    def train(out: str, watch: Observer | None = None) -> dict[str, torch.Tensor]:
        run = Run(tmp_path / out)
        fit(made, DIGITS, run, seeds=Seeds(0), compute=CPU, observer=watch, checkpoint_seconds=0.0)
        found = read(run.checkpoints)
        assert found is not None
        return dict(found.weights)

    whole = train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("cut", Stop(2))
    assert equal(train("cut"), whole)
