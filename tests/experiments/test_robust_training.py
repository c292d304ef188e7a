"""Table 3.1: its recipes are those that users run."""

from dataclasses import replace

import pytest

from elinvar.attacks import Adversarial, Linf, Steepest
from elinvar.experiments.robust_training import ALP, LRM, PAPER, PGD, REGULAR, SMALL, SMOOTHED, Plan
from elinvar.objectives import SmoothTargets
from elinvar.recipe import Recipe
from elinvar.recipes import alp, label_smoothing, lrm, pgd


def attack_of(made: Recipe) -> Adversarial:
    (found,) = [step for view in made.train.views for step in view.transforms if isinstance(step, Adversarial)]
    return found


@pytest.mark.parametrize(("method", "made"), [(PGD, pgd()), (ALP, alp()), (LRM, lrm()), (SMOOTHED, label_smoothing())])
def test_at_scale_paper_they_are_as_they_are(method: str, made: Recipe) -> None:
    found = PAPER.recipe(method)
    assert replace(found.train, evaluate_every=1) == made.train
    assert found.model == made.model


def test_regular_training_is_the_same_with_labels_that_are_sure() -> None:
    regular, smoothed = (PAPER.recipe(method).train for method in (REGULAR, SMOOTHED))
    assert [train.views[0].transforms for train in (regular, smoothed)] == [
        (SmoothTargets(s=0.0),),
        (SmoothTargets(s=0.75),),
    ]
    assert replace(regular, views=smoothed.views) == smoothed


@pytest.mark.parametrize("method", [PGD, ALP, LRM])
@pytest.mark.parametrize("plan", [SMALL, PAPER], ids=["small", "paper"])
def test_who_trains_meets_the_eps_that_judges(plan: Plan, method: str) -> None:
    """The same ball, and as far in all as ten steps of the judge."""
    met, judge = attack_of(plan.recipe(method)), plan.attacks()["PGD-10"].attack
    assert met.attack.threat == judge.threat == Linf(plan.eps)
    assert met.attack.steps == plan.steps
    assert isinstance(met.attack.rule, Steepest)
    assert met.attack.steps * met.attack.rule.step == pytest.approx(10 * judge.rule.step)
    assert met.warmup_epochs == plan.warmup


def test_the_longest_attack_stops_early_and_the_others_do_not() -> None:
    trials = SMALL.attacks()
    assert list(trials) == ["FGSM", "PGD-10", "PGD-200"]
    assert [trial.attack.early_stop for trial in trials.values()] == [False, False, True]
    assert [trial.attack.steps for trial in trials.values()] == [1, 10, 200]
