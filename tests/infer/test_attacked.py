"""The suite of attacks: each attack once, kept by itself under all that determines it, on the model that predicts."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elinvar import attacks, data, models, norm
from elinvar.check import InputError
from elinvar.infer import AttackPlan, Evaluation, Observer, Predictor, record
from elinvar.infer.attacked import in_levels
from elinvar.infer.identity import FEW
from elinvar.precision import Compute, Precision
from elinvar.recipe import Infer
from elinvar.rng import Seeds, Source, streams
from elinvar.views import unit

CPU = Compute.choose(torch.device("cpu"), Precision.FLOAT32)
SMALL = data.subset(data.load("digits", size=8), train=10, test=60)
PLAN = AttackPlan(images=30, thorough=4)
SUITES = ["clean", "attacks"]
GRADIENTS = 1 + 1 + 5 + 10 + 20  # of each image: its slope, FGSM, PGD-5, -10 and -20
LOOKS = 1 + 4  # as it is, and after each of these attacks


class Counting(nn.Module):
    """A linear model that counts images, with and without a graph."""

    def __init__(self, seed: int = 0, scale: float = 1.0) -> None:
        super().__init__()
        self._gradients = self._looks = 0  # hidden: what a model counts is none of its settings
        self.scale = scale
        made = torch.randn(10, 192, generator=torch.manual_seed(seed))
        self.weight = nn.Parameter(made, requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        if images.requires_grad:
            self._gradients += len(images)
        else:
            self._looks += len(images)
        return self.scale * (unit(images).flatten(1) @ self.weight.T)


def judged(folder: Path, model: nn.Module, *, compute: Compute = CPU, **how: Any) -> Evaluation:
    how = {"suites": SUITES, "attacks": PLAN, "data": SMALL, "infer": Infer(), **how}
    predictor = Predictor(model, how.pop("infer"), compute)
    return record(predictor, how.pop("data"), folder, name="test", **how)


def found(evaluation: Evaluation) -> dict[str, Any]:
    assert evaluation.attacks is not None
    return asdict(evaluation.attacks)


def test_what_is_found_is_what_attacks_find_by_hand(tmp_path: Path) -> None:
    model = Counting()
    told = judged(tmp_path, model).attacks
    assert told is not None
    places = PLAN.places(SMALL.test, 30)
    batch = next(iter(SMALL.test.batches(places, 30)))
    keys = streams(Seeds(0).key(Source.ATTACK), places)
    assert list(told.results) == ["natural", "FGSM", "PGD-5", "PGD-10", "PGD-20", "PGD-1000", "SPSA"]
    standing = model(unit(batch.images)).argmax(1) == batch.targets
    for name, trial in PLAN.trials.items():
        n = 30 if trial.images is None else 4
        images = trial.attack(model, unit(batch.images[:n]), batch.targets[:n], keys=keys[:n])
        right = model(images).argmax(1) == batch.targets[:n]
        assert told.results[name].n == n
        assert told.results[name].accuracy == pytest.approx(100 * right.double().mean().item())
        assert told.results[name].logits == attacks.Distribution.of(model(images))
        standing[:n] &= right
    assert told.worst == 100 * standing.double().mean().item()
    assert told.subset == "30 of 60 test images, classes in proportion"
    assert told.settings == "linf, eps 8/255, PGD by steps of 2/255 from one random start"


def test_it_is_written_and_read_again(tmp_path: Path) -> None:
    made = judged(tmp_path, Counting())
    assert Evaluation.read(tmp_path / "evaluation.json") == made
    broken = json.loads((tmp_path / "evaluation.json").read_text())
    del broken["attacks"]["results"]["FGSM"]["logits"]
    (tmp_path / "evaluation.json").write_text(json.dumps(broken))
    with pytest.raises(InputError, match="not an evaluation"):
        Evaluation.read(tmp_path / "evaluation.json")


def test_a_second_call_computes_nothing(tmp_path: Path) -> None:
    model = Counting()
    first = judged(tmp_path, model)
    model._gradients = model._looks = 0
    assert judged(tmp_path, model) == first
    assert (model._gradients, model._looks) == (0, FEW)
    again = judged(tmp_path, model, fresh=True)
    assert again == first
    assert model._gradients > 0


class Stop(Observer):
    """Interrupts after the set of that name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def done(self, name: str) -> None:
        if name == self.name:
            raise KeyboardInterrupt


def test_an_interrupted_evaluation_goes_on_with_the_next_attack(tmp_path: Path) -> None:
    plan = replace(PLAN, thorough=0)
    with pytest.raises(KeyboardInterrupt):
        judged(tmp_path, Counting(), attacks=plan, observer=Stop("PGD-10"))
    assert not (tmp_path / "evaluation.json").exists()
    kept = {path.name for path in (tmp_path / "evaluation").iterdir()}
    done = ("natural", "FGSM", "PGD-5", "PGD-10")
    assert kept == {"few.safetensors", *(f"attack-{name}.safetensors" for name in done)}
    rest = Counting()
    continued = judged(tmp_path, rest, attacks=plan)
    assert (rest._gradients, rest._looks) == (30 * 20, FEW + 30)
    assert continued == judged(tmp_path / "whole", Counting(), attacks=plan)


@pytest.mark.parametrize(
    ("change", "gradients"),
    [
        ({}, 0),
        ({"attacks": replace(PLAN, thorough=0, eps=4 / 255, step=2 / 255)}, 1 + 5 + 10 + 20),
        ({"attacks": replace(PLAN, thorough=0, step=1 / 255)}, 5 + 10 + 20),
        ({"attacks": replace(PLAN, thorough=0, norm="l2")}, 1 + 5 + 10 + 20),
        ({"attacks": replace(PLAN, thorough=0, images=20)}, GRADIENTS),
        ({"compute": replace(CPU, memory_format=torch.channels_last)}, GRADIENTS),
        ({"model": 1}, GRADIENTS),
    ],
    ids=["the same", "eps", "step", "norm", "images", "how it is computed", "weights"],
)
def test_what_is_attacked_again(change: dict[str, Any], gradients: int, tmp_path: Path) -> None:
    plan = replace(PLAN, thorough=0)
    judged(tmp_path, Counting(), attacks=plan)
    model = Counting(seed=change.pop("model", 0))
    how = {"attacks": plan, **change}
    judged(tmp_path, model, **how)
    assert model._gradients == gradients * (how["attacks"].images)


def test_other_test_images_are_attacked_anew(tmp_path: Path) -> None:
    plan, other = replace(PLAN, thorough=0), data.subset(data.load("digits", size=8), train=10, test=50)
    judged(tmp_path, Counting(), attacks=plan)
    model = Counting()
    judged(tmp_path, model, attacks=plan, data=other)
    assert model._gradients == 30 * GRADIENTS


def test_progress_is_told_within_an_attack(tmp_path: Path) -> None:
    class Watch(Observer):
        def __init__(self) -> None:
            self.sets, self.names, self.seen = 0, list[str](), list[tuple[str, int, int]]()

        def begin(self, sets: int) -> None:
            self.sets = sets

        def within(self, name: str, done: int, of: int) -> None:
            self.seen.append((name, done, of))

        def done(self, name: str) -> None:
            self.names.append(name)

    first, second = Watch(), Watch()
    judged(tmp_path, Counting(), observer=first)
    judged(tmp_path, Counting(), observer=second)
    assert first.sets == len(first.names) == 1 + 7
    assert second.names == first.names
    assert [step for step in first.seen if step[0] == "PGD-20"] == [("PGD-20", number, 20) for number in range(20)]
    assert second.seen == []


def test_attacks_run_in_float32_whatever_the_model_predicts_in(tmp_path: Path) -> None:
    """Natural logits of the suite are float32's, bit for bit; the clean ones are not."""
    made = models.build("wrn-10-1", classes=10, mean=SMALL.mean, std=SMALL.std, seed=0)
    half = Compute(torch.device("cpu"), torch.bfloat16, torch.contiguous_format)
    plan = AttackPlan(images=10)
    single = judged(tmp_path / "a", made, attacks=plan)
    rounded = judged(tmp_path / "b", made, attacks=plan, compute=half)
    assert found(rounded) == found(single)
    assert rounded.clean != single.clean


def split_model() -> nn.Module:
    made = norm.convert(models.build("wrn-10-1", classes=10, mean=SMALL.mean, std=SMALL.std, seed=0), norm.split())
    with torch.no_grad():
        for layer in made.modules():
            if isinstance(layer, norm.Norm):
                layer.get_submodule("branches.aux").get_buffer("running_mean").add_(0.1)
    return made


def test_the_branch_or_the_mix_that_predicts_is_attacked(tmp_path: Path) -> None:
    model, plan = split_model(), AttackPlan(images=10)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    rules = {
        "main": Infer(), "aux": Infer(branch="aux"), "mix": Infer(mix={"main": 0.5, "aux": 0.5}),
        "all of aux": Infer(mix={"aux": 1.0}),
    }  # fmt: skip
    told = {name: found(judged(tmp_path / name, model, infer=rule, attacks=plan)) for name, rule in rules.items()}
    assert told["all of aux"] == told["aux"]
    assert len({told[name]["results"]["PGD-20"]["logits"]["mean"] for name in ("main", "aux", "mix")}) == 3
    batch = next(iter(SMALL.test.batches(plan.places(SMALL.test, 10), 10)))
    for name in ("main", "aux", "mix"):
        logits = Predictor(model, rules[name], CPU)(batch.images)
        assert told[name]["results"]["natural"]["logits"]["mean"] == pytest.approx(logits.double().mean().item())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_huge_logits_are_reported_as_masked(tmp_path: Path) -> None:
    """Times 1e4, in float32, the cross-entropy of every image that is right by far is flat."""
    plan = AttackPlan(images=60, thorough=20, eps=32 / 255)
    quiet = trained(tmp_path / "quiet", 1.0, replace(plan, thorough=0))
    loud = trained(tmp_path / "loud", 1e4, plan)
    assert quiet.attacks is not None
    assert loud.attacks is not None
    accuracy = {name: of.accuracy for name, of in loud.attacks.results.items()}
    assert accuracy["PGD-20"] > accuracy["SPSA"] + 20
    assert loud.attacks.flat > 50
    signs = ("exactly zero", "SPSA, which uses no gradients")
    assert all(any(sign in text for text in loud.attacks.warnings) for sign in signs)
    assert quiet.attacks.flat == 0
    assert quiet.attacks.warnings == []


def trained(folder: Path, scale: float, plan: AttackPlan) -> Evaluation:
    """A linear model of digits that knows them, its logits times `scale`."""
    digits = data.load("digits", size=8)
    model = Counting(scale=scale)
    batch = next(iter(digits.train.batches(torch.arange(1000), 1000)))
    x, y = unit(batch.images).flatten(1).double(), nn.functional.one_hot(batch.targets, 10).double()
    model.weight.data = torch.linalg.solve(x.T @ x + 3.0 * torch.eye(192).double(), x.T @ (20 * y)).T.float()
    return judged(folder, model, attacks=plan)


def test_more_steps_leave_no_more_standing(tmp_path: Path) -> None:
    told = trained(tmp_path, 1.0, AttackPlan(images=None)).attacks
    assert told is not None
    accuracy = {name: of.accuracy for name, of in told.results.items()}
    assert accuracy["natural"] > 60
    assert accuracy["PGD-20"] <= accuracy["PGD-5"] + 1
    assert accuracy["PGD-20"] < accuracy["FGSM"] + 1 < accuracy["natural"]
    assert told.worst <= min(accuracy.values())


def test_classes_are_in_proportion_however_many_images() -> None:
    split = data.ArraySplit(torch.zeros(4000, 3, 8, 8, dtype=torch.uint8), torch.arange(4000) % 10)
    plan = AttackPlan()
    assert plan.count(split) == 1000
    for count in (100, 1000):
        assert (torch.bincount(split.targets[plan.places(split, count)]) == count / 10).all()
    assert torch.equal(plan.places(split, 1000)[:100], plan.places(split, 100))
    assert plan.count(SMALL.test) == 60
    assert AttackPlan(images=None).count(split) == 4000


def test_sizes_are_told_in_levels_where_they_are_some() -> None:
    assert [in_levels(size) for size in (8 / 255, 0.03, 128 / 255, 0.0)] == ["8/255", "0.03", "128/255", "0"]
    assert AttackPlan(norm="l2").settings == "l2, eps 128/255, PGD by steps of 32/255 from one random start"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: AttackPlan(norm="l1"), "unknown norm"),
        (lambda: AttackPlan(eps=8.0), "for 8 levels of 255 say 8/255"),
        (lambda: AttackPlan(eps=-0.1), "eps"),
        (lambda: AttackPlan(eps=float("nan")), "eps"),
        (lambda: AttackPlan(step=-0.1), "step"),
        (lambda: AttackPlan(images=0), "images: got 0"),
        (lambda: AttackPlan(thorough=-1), "thorough: got -1"),
    ],
)
def test_bad_plans_are_refused(make: Callable[[], AttackPlan], text: str) -> None:
    with pytest.raises(InputError, match=text):
        make()


def test_a_model_without_gradients_is_refused_at_once(tmp_path: Path) -> None:
    class Rounding(Counting):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images.detach())

    with pytest.raises(InputError, match="no gradient with respect to the images"):
        judged(tmp_path, Rounding())
