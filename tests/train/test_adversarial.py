"""Adversarial training in the step: the attack is a view, and nothing but its images comes of it."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from elinvar import attacks, config, norm
from elinvar.attacks import Adversarial, Attack, Linf, Steepest, pgd_attack
from elinvar.attacks.still import Mode
from elinvar.check import InputError
from elinvar.context import Context, Transform
from elinvar.mixing import MixView, VHMixup
from elinvar.norm import NormPolicy
from elinvar.objectives import CrossEntropy, SmoothTargets
from elinvar.precision import Compute, Precision
from elinvar.recipe import Recipe, Sgd, Steps, Train, ViewSpec
from elinvar.rng import Seeds, Source
from elinvar.train import Step
from elinvar.views import Batch, View, Views

CPU = Compute.choose(torch.device("cpu"), Precision.FLOAT32)
PGD = pgd_attack(eps=0.1, step=0.03, steps=3)
MODES = pytest.mark.parametrize("mode", ["eval", "batch"])


class Net(nn.Module):
    classes = 4

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(dropout))
        self.head = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.last = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.head(self.body(x)))
        return out


def net(policy: NormPolicy | None = None, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return norm.convert(Net(dropout), policy or norm.batch_norm()).train()


def batch(n: int = 12, *, whole: bool = False) -> Batch:
    draw = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (n, 3, 8, 8), dtype=torch.uint8, generator=draw)
    return Batch(images if whole else images / 255, torch.arange(n) % 4, torch.arange(n) + 100)


def step(model: nn.Module, train: Train) -> Step:
    return Step(model, train, Sgd(lr=0.1).build(model), Seeds(1), CPU)


def context(model: nn.Module, *, epoch: int = 0, number: int = 0, seed: int = 1) -> Context:
    return Context(Seeds(seed), epoch, model, CPU.forward(model), number)


def training(*views: ViewSpec, over: tuple[str, ...] = ("adversarial",)) -> Train:
    return Train(objective=CrossEntropy(over=over), views=views)


def only(transform: Transform, *, branch: str = "main", of: str | None = None) -> ViewSpec:
    return ViewSpec(name="adversarial", transforms=(transform,), branch=branch, of=of)


def same(a: nn.Module, b: nn.Module) -> None:
    one, two = a.state_dict(), b.state_dict()
    assert one.keys() == two.keys()
    assert not [key for key in one if not torch.equal(one[key], two[key])]


@dataclass(frozen=True)
class Known(Transform):
    """Images that were attacked before."""

    images: Tensor

    def __call__(self, view: View, context: Context, *path: int | str) -> View:
        return view.with_images(self.images)


@MODES
@pytest.mark.parametrize("policy", [norm.batch_norm(), norm.per_view(), norm.split()], ids=["joint", "views", "split"])
def test_a_step_with_an_attack_is_a_step_on_its_images(policy: NormPolicy, mode: Mode) -> None:
    """Bit for bit: weights, what layers remember, and the draws of dropout."""
    branch = policy.branches[-1]
    clean, attacked = ViewSpec(name="clean"), only(Adversarial(attack=PGD, mode=mode), branch=branch)
    train = replace(training(clean, attacked, over=("clean", "adversarial")), norm=policy)
    model, other, data = net(policy, dropout=0.5), net(policy, dropout=0.5), batch()
    images = train.prepare(data, context(model))["adversarial"].images
    same(model, other)
    assert model.training
    assert all(weight.grad is None for weight in model.parameters())
    step(model, train)(data, epoch=0, number=0)
    step(other, replace(train, views=(clean, only(Known(images), branch=branch))))(data, epoch=0, number=0)
    same(model, other)


def test_the_mode_says_what_the_model_is_normalized_by() -> None:
    model, data = net(), batch()
    step(model, training(ViewSpec(name="clean"), over=("clean",)))(data, epoch=0, number=0)
    keys = context(model).streams(Source.ATTACK, data.index, "adversarial", 0)
    made = {}
    for mode in ("eval", "batch"):
        view = only(Adversarial(attack=PGD, mode=mode))
        made[mode] = training(view).prepare(data, context(model))["adversarial"].images
    model.eval()
    by_hand = attacks.pgd(model, data.images, data.targets, eps=0.1, step=0.03, steps=3, keys=keys)
    assert torch.equal(made["eval"], by_hand)
    assert not torch.equal(made["batch"], by_hand)
    assert float((made["batch"] - data.images).abs().max()) <= 0.1


def test_draws_belong_to_the_example() -> None:
    """Of a batch in any order, cut anywhere; other in another epoch, with another seed and in another view."""
    start = Adversarial(attack=replace(PGD, steps=0))
    model, data = net(), batch()
    turned = Batch(data.images.flip(0)[:5], data.targets.flip(0)[:5], data.index.flip(0)[:5])

    def images(data: Batch, **settings: int) -> Tensor:
        return training(only(start)).prepare(data, context(model, **settings))["adversarial"].images

    assert torch.equal(images(data).flip(0)[:5], images(turned))
    assert torch.equal(images(data), images(data, number=7))
    assert not torch.equal(images(data), images(data, epoch=1))
    assert not torch.equal(images(data), images(data, seed=2))
    other = replace(only(start), name="other")
    both = training(only(start), other).prepare(data, context(model))
    assert not torch.equal(both["adversarial"].images, both["other"].images)


def test_bytes_are_attacked_as_fractions() -> None:
    model = net()
    train = training(ViewSpec(name="clean"), only(Adversarial(attack=PGD), of="clean"))
    views = [train.prepare(batch(whole=whole), context(model)) for whole in (False, True)]
    assert views[1]["clean"].images.dtype == torch.uint8
    assert torch.equal(views[0]["adversarial"].images, views[1]["adversarial"].images)
    assert views[1].images().dtype == torch.float32


def trained(train: Train, steps: int = 6) -> tuple[nn.Module, Views]:
    """A model some steps on, whose branches remember different things, and the views that it would see next."""
    model = net(train.norm)
    for number in range(steps):
        step(model, train)(batch(), epoch=0, number=number)
    return model, train.prepare(batch(), context(model, number=steps))


def test_a_branch_of_its_own() -> None:
    """Clean images move the main branch alone, attacked ones the other; the attack goes through theirs, or as told."""
    policy = norm.split(("main", "aux"))
    views = (ViewSpec(name="clean"), only(Adversarial(attack=PGD), branch="aux"))
    train = replace(training(*views, over=("clean", "adversarial")), norm=policy)
    model, seen = trained(train)
    told = replace(train, views=(views[0], only(Adversarial(attack=PGD, branch="aux"), branch="main")))
    other = replace(train, views=(views[0], only(Adversarial(attack=PGD, branch="main"), branch="aux")))
    there = told.prepare(batch(), context(model, number=6))["adversarial"]
    assert torch.equal(there.images, seen["adversarial"].images)
    assert (there.branch, seen["adversarial"].branch) == ("main", "aux")
    assert not torch.equal(other.prepare(batch(), context(model, number=6))["adversarial"].images, there.images)

    def moved(*views: ViewSpec) -> set[str]:
        """Memories that one step on these views changes."""
        objective = CrossEntropy(over=tuple(view.name for view in views))
        stepped, _ = trained(replace(train, views=views, objective=objective), steps=1)
        return {key for key, value in stepped.state_dict().items() if "running_mean" in key and value.any()}

    main, aux = (
        {"body.1.running_mean", "head.1.running_mean"},
        {f"{at}.1.branches.aux.running_mean" for at in ("body", "head")},
    )
    assert moved(views[0]) == main
    assert moved(views[1]) == aux
    assert moved(*views) == main | aux


def test_all_examples_can_be_attacked_and_it_hardens() -> None:
    """After some steps the attacked loss is lower than that of a model that saw clean images alone."""
    strong = Adversarial(attack=PGD)
    plain, _ = trained(training(ViewSpec(name="clean"), over=("clean",)), steps=40)
    hard, _ = trained(training(only(strong)), steps=40)

    def attacked_loss(model: nn.Module) -> float:
        data = batch()
        model.eval()
        images = attacks.pgd(model, data.images, data.targets, eps=0.1, step=0.03, steps=10, keys=data.index)
        with torch.no_grad():
            return float(nn.functional.cross_entropy(model(images), data.targets))

    assert attacked_loss(hard) < attacked_loss(plain)


def test_eps_warms_up() -> None:
    by_epoch, by_step = Adversarial(attack=PGD, warmup_epochs=4), Adversarial(attack=PGD, warmup_steps=10)
    sizes = [by_epoch.at(epoch, 1000).threat.eps for epoch in range(6)]
    assert sizes == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])
    attack = by_step.at(3, 4)
    assert (attack.threat, attack.rule) == (Linf(0.05), Steepest(step=0.015))
    assert by_step.at(0, 9) == by_step.at(9, 9999) == PGD
    assert Adversarial(attack=PGD).at(0, 0) == PGD


def test_the_step_says_how_far_a_warm_up_is() -> None:
    model, data = net(), batch()
    seen = list[Tensor]()
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    for number in (0, 4, 9):
        step(model, training(only(Adversarial(attack=PGD, warmup_steps=10))))(data, epoch=0, number=number)
    for rows, eps in zip(seen[3::4], (0.01, 0.05, 0.1), strict=True):  # after three looks, the recorded forward
        far = float((rows - data.images).abs().max())
        assert 0.99 * eps < far <= eps


def test_a_view_of_a_view_has_its_pixels_and_targets() -> None:
    mixed = ViewSpec(name="clean", transforms=(MixView(VHMixup()), SmoothTargets(s=0.1)))
    none = pgd_attack(eps=0.0)
    views = training(mixed, only(Adversarial(attack=none), of="clean")).prepare(batch(), context(net()))
    assert torch.equal(views["clean"].images, views["adversarial"].images)
    assert torch.equal(views["clean"].targets, views["adversarial"].targets)
    assert views["clean"].targets.shape == (12, 4)
    assert float(views["clean"].targets.min()) >= 0.1 / 3 - 1e-6
    again = replace(mixed, name="adversarial")
    assert not torch.equal(training(mixed, again).prepare(batch(), context(net()))["adversarial"].targets,
                           views["clean"].targets)  # fmt: skip


def test_smoothed_targets_are_those_of_the_objective() -> None:
    data = batch()
    model, other = net(), net()
    smooth = ViewSpec(name="clean", transforms=(SmoothTargets(s=0.2),))
    a = step(model, training(smooth, over=("clean",)))(data, epoch=0, number=0)
    plain = replace(training(ViewSpec(name="clean")), objective=CrossEntropy(smoothing=0.2))
    b = step(other, plain)(data, epoch=0, number=0)
    assert a.loss == b.loss
    same(model, other)


def recipe(view: ViewSpec, *, branches: tuple[str, ...] = ("main",)) -> Recipe:
    return Recipe(
        name="x",
        train=replace(
            training(ViewSpec(name="clean"), view), norm=norm.split(branches) if branches[1:] else NormPolicy()
        ),
    )


@pytest.mark.parametrize(
    "attack",
    [PGD, pgd_attack(norm="l2", eps=0.5, restarts=2, loss="margin"), attacks.spsa_attack(steps=2)],
    ids=["linf", "l2", "spsa"],
)
def test_an_attack_is_its_yaml(attack: Attack, tmp_path: Path) -> None:
    view = only(Adversarial(attack=attack, mode="batch", branch="aux", warmup_steps=3), of="clean")
    made = replace(recipe(only(Adversarial(), branch="aux"), branches=("main", "aux")))
    made = replace(made, train=replace(made.train, views=(ViewSpec(name="clean"), view), schedule=Steps(at=(-1, 0.5))))
    (tmp_path / "recipe.yaml").write_text(config.dump(made))
    assert config.load(tmp_path / "recipe.yaml") == made


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="adversarial: made of the view 'clear', expected one before it"):
        recipe(only(Adversarial(), of="clear"))
    with pytest.raises(InputError, match="made of the view 'adversarial'"):
        recipe(only(Adversarial(), of="adversarial"))
    with pytest.raises(InputError, match="normalized by the branch 'aux'"):
        recipe(only(Adversarial(branch="aux")))
    with pytest.raises(InputError, match="one of the two"):
        Adversarial(warmup_epochs=1, warmup_steps=1)
    with pytest.raises(InputError, match="one of the two"):
        Adversarial(warmup_steps=-1)
    with pytest.raises(InputError, match="a recipe cannot hold"):
        Adversarial(attack=replace(PGD, loss=attacks.margin))
    with pytest.raises(InputError, match="unknown convention"):
        SmoothTargets(convention="all")
    with pytest.raises(InputError, match="s: got 2"):
        SmoothTargets(s=2.0)
    with pytest.raises(InputError, match="does not say how many classes"):
        view = View("clean", batch().images, batch().targets, batch().index)
        SmoothTargets()(view, Context(Seeds(0), 0, nn.Identity(), nn.Identity()))
    with pytest.raises(InputError, match="steps: got by 0"):
        Steps(at=(1,), by=0)


def test_steps_drop_where_they_say() -> None:
    schedule = Steps(at=(100, 150), warmup_epochs=5)
    rates = [schedule.factor(epoch * 10, 2000, 10) for epoch in (0, 4, 5, 99, 100, 149, 150, 199)]
    assert rates == pytest.approx([0.02, 0.82, 1, 1, 0.1, 0.1, 0.01, 0.01])
    assert schedule.factor(49, 2000, 10) == 1
    last = Steps(at=(-1,), warmup_epochs=1, warmup=0.1)
    assert [last.factor(number, 1010, 10) for number in (0, 9, 10, 999, 1000, 1009)] == pytest.approx(
        [0.1, 0.1, 1, 1, 0.1, 0.1]
    )
