"""What every recipe keeps to, whoever adds it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from elinvar import config, data
from elinvar.check import InputError
from elinvar.citations import BEHIND, SOURCES, behind, cite
from elinvar.precision import Compute, Precision
from elinvar.recipe import Cosine, Model, Recipe, Sgd
from elinvar.recipes import RECIPES, recipe
from elinvar.rng import Seeds
from elinvar.train import Step, build_model

every_recipe = pytest.mark.parametrize("name", RECIPES)


@every_recipe
def test_a_recipe_is_its_yaml(name: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(config.dump(recipe(name)))
    assert config.load(file) == recipe(name)


@every_recipe
def test_an_override_changes_its_leaf_alone(name: str) -> None:
    made = recipe(name)
    assert config.override(made, ["train.epochs=7"]) == replace(made, train=replace(made.train, epochs=7))


@every_recipe
def test_a_recipe_trains(name: str) -> None:
    small = replace(recipe(name), model=Model(name="wrn-10-1"))
    digits = data.load("digits")
    compute = Compute.choose(torch.device("cpu"), Precision.FLOAT32)
    model = build_model(small, digits, Seeds(0))
    optimizer = small.train.optimizer.build(model)
    step = Step(model, small.train, optimizer, Seeds(0), compute)
    batch = next(iter(digits.train.batches(torch.arange(64), 64)))
    losses = [step(batch, epoch=0, number=number).loss for number in range(8)]
    assert losses[-1] < losses[0]


@every_recipe
def test_a_recipe_says_where_it_comes_from(name: str) -> None:
    module = __import__(RECIPES[name].__module__, fromlist=["x"])
    for word in ("Run ", "Cost ", "Expected ", "Measured ", "Differs "):
        assert f"\n{word}" in (module.__doc__ or ""), f"the header of {name}'s file lacks {word}"
    assert RECIPES[name].__doc__
    keys = list(behind(recipe(name)))
    assert set(keys) <= set(SOURCES)
    assert all(key in cite(recipe(name)) for key in keys)


def test_citations_name_real_classes() -> None:
    import elinvar.attacks
    import elinvar.augment
    import elinvar.mixing
    import elinvar.norm
    import elinvar.objectives
    import elinvar.recipe

    homes = (elinvar.attacks, elinvar.augment, elinvar.mixing, elinvar.norm, elinvar.objectives, elinvar.recipe)
    assert not [name for name in BEHIND if not any(hasattr(home, name) for home in homes)]


def test_every_method_of_mixing_names_its_work() -> None:
    from elinvar.mixing import METHODS

    assert all(method.__name__ in BEHIND for method in METHODS.values())


def test_citations_follow_the_parts() -> None:
    assert "hendrycks2020augmix" in list(behind(recipe("augmix")))
    assert "hendrycks2020augmix" not in list(behind(recipe("standard")))
    assert "he2016deep" in list(behind(config.override(recipe("standard"), ["model.name=resnet-20"])))
    assert "summers2021understanding" in list(behind(recipe("vh_mixup")))
    assert {"cubuk2020randaugment", "devries2017cutout"} < set(behind(recipe("randaugment")))


def test_any_leaf_can_be_overridden_with_its_type() -> None:
    changed = config.override(
        recipe("augmix"),
        ["train.epochs=3", "train.optimizer.lr=0.2", "model.options={dropout: 0.3}", "train.ema=0.99",
         "train.precision=FLOAT32", "train.norm.sharing=elinvar.norm.PerView"],
    )  # fmt: skip
    assert changed.train.epochs == 3
    assert isinstance(changed.train.optimizer, Sgd)
    assert changed.train.optimizer.lr == 0.2
    assert changed.train.optimizer.momentum == 0.9
    assert changed.model.options == {"dropout": 0.3}
    assert changed.train.precision is Precision.FLOAT32
    assert changed.train.views == recipe("augmix").train.views


@pytest.mark.parametrize(
    ("assignment", "text"),
    [
        ("train.epochs", "PATH=VALUE"),
        ("train.epochs=many", "train.epochs"),
        ("train.epoch=3", "train.epoch"),
        ("train.epochs=0", "above 0"),
        ("train.objective=elinvar.augment.Flip", "objective"),
        ("train.optimizer.momentum=1.5", "momentum"),
        ("train.accumulate=1000", "accumulate"),
        ("infer.branch=aux", "train.norm"),
        ("train.views=[{name: clean, branch: aux}]", "train.norm"),
        ("train.optimizer.momentum=0", "nesterov"),
        ("train.schedule.warmup_epochs=-1", "cosine"),
        ("name=../up", "directories"),
    ],
)
def test_a_bad_override_is_one_clear_line(assignment: str, text: str) -> None:
    with pytest.raises(InputError, match=text) as caught:
        config.override(recipe("standard"), [assignment])
    assert "\n" not in str(caught.value)


HOSTILE = {
    "another module as a class": "train: {objective: {class_path: harmful.Objective}}",
    "a class of ours that is none": "train: {objective: {class_path: elinvar.train.manifest.subprocess.Popen}}",
    "an import path for a class": "train: {objective: harmful.Objective}",
    "in a list": "train: {objective: {class_path: elinvar.objectives.CrossEntropy}, shared: [harmful.Flip]}",
    "text that is YAML": "train: {objective: '{class_path: harmful.Objective}'}",
    "a dotted key": "train.objective.class_path: harmful.Objective",
    "a dotted key inside": "train: {norm.sharing: harmful.Sharing}",
    "a model by path": "model: {name: harmful.net}",
    "a model by path with a colon": "model: {name: 'harmful:net'}",
    "a model in text": "model: '{name: harmful.net}'",
    "a model by a dotted key": "model.name: harmful.net",
    "a model in a file": "model: inner.yaml",
    "a model as a class": "model: {class_path: elinvar.recipe.Model, init_args: {name: harmful.net}}",
    "a class among options": "model: {name: wrn-10-1, options: {dropout: {class_path: harmful.Value}}}",
    "a class in the text of options": "model: {name: wrn-10-1, options: {dropout: '{class_path: harmful.Value}'}}",
    "YAML that constructs": "!!python/object/apply:os.system ['touch harm']",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_strangers_recipe_runs_nothing(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`harmful` is there to be imported, and says so if it is."""
    marker = tmp_path / "ran"
    (tmp_path / "harmful.py").write_text(f"open({str(marker)!r}, 'w')")
    (tmp_path / "inner.yaml").write_text("name: harmful.net")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "recipe.yaml"
    whole = "train: {objective: {class_path: elinvar.objectives.cross_entropy.CrossEntropy}}\n"
    file.write_text(f"name: x\n{'' if 'train' in text else whole}{text}\n")
    with pytest.raises(InputError, match=r"--trust|not a readable recipe") as caught:
        config.load(file)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize("text", ["just a string", "{name: x", "name: x", "name: ../up\ntrain: {}", ""])
def test_what_is_no_recipe_is_one_clear_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"recipe\.yaml") as caught:
        config.load(file)
    assert "\n" not in str(caught.value)


def test_a_trusted_recipe_may_name_other_code(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    changed = replace(recipe("standard"), model=Model(name="some.package.net"))
    file.write_text(config.dump(changed))
    assert config.load(file, trust=True) == changed
    with pytest.raises(InputError, match="--trust"):
        config.load(file)


@pytest.mark.parametrize(("warmup", "steps"), [(0.0, 100), (1.0, 100), (20.0, 100), (0.5, 7)])
def test_the_cosine_rises_and_falls_once(warmup: float, steps: int) -> None:
    schedule = Cosine(warmup_epochs=warmup, final=0.01)
    factors = [schedule.factor(step, steps, 10) for step in range(steps)]
    rising = min(round(warmup * 10), steps)
    assert factors[:rising] == sorted(factors[:rising])
    assert factors[rising:] == sorted(factors[rising:], reverse=True)
    assert max(factors) == pytest.approx(1.0)
    assert min(factors) > 0
    if rising < steps:
        assert factors[rising] == pytest.approx(1.0)
        assert schedule.factor(steps, steps, 10) == pytest.approx(0.01)


def test_a_recipe_lists_its_parts() -> None:
    kinds = {type(part).__name__ for part in recipe("augmix").parts()}
    assert {"Recipe", "Train", "AugMix", "Flip", "NormPolicy", "Consistency", "Cosine"} <= kinds
    assert isinstance(next(recipe("augmix").parts()), Recipe)
