"""Tuning: the whole curve at a fraction of its cost, exact where it says so, and never a change for the worse."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elinvar import norm
from elinvar.check import InputError
from elinvar.norm.tuning import search
from elinvar.norm.tuning.losses import LOSSES
from elinvar.norm.tuning.rules import GRID, GRID_BY_EXAMPLE, between
from elinvar.norm.tuning.skeleton import skeletons
from elinvar.norm.tuning.tally import Tally
from elinvar.precision import Compute
from elinvar.views import Batch

Batches = list[tuple[Tensor, Tensor]]


def stripes(count: int, seed: int, together: int) -> tuple[Tensor, Tensor]:
    """Waves in one of four directions, in noise; `together` neighbours share a brightness."""
    draw = torch.Generator().manual_seed(seed)
    targets = torch.randint(4, (count,), generator=draw)
    i, j = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    waves = torch.stack([torch.cos(1.6 * phase) for phase in (i, j, i + j, i - j)])
    brightness = 2 * torch.randn(count // together, generator=draw).repeat_interleave(together)
    images = 0.6 * waves[targets] + 0.8 * torch.randn(count, 8, 8, generator=draw) + brightness[:, None, None]
    return images[:, None], targets


def network(kind: type[nn.Module] = nn.BatchNorm2d) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, bias=False),
        kind(12),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 4),
    )


@pytest.fixture(scope="module")
def trained() -> dict[str, Tensor]:
    """A network of torch's, trained on batches that are not independent draws: each has a brightness of its own."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    images, targets = stripes(64 * 150, seed=1, together=64)
    for x, y in zip(torch.split(images, 64), torch.split(targets, 64), strict=True):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.state_dict()


@pytest.fixture
def model(trained: dict[str, Tensor]) -> nn.Sequential:
    made = network()
    made.load_state_dict(trained)
    return made.eval()


def held_out(count: int = 2000, size: int = 100, seed: int = 2) -> Batches:
    images, targets = stripes(count, seed, together=1)
    return list(zip(torch.split(images, size), torch.split(targets, size), strict=True))


def evaluated(model: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
    """Logits and targets, by an ordinary evaluation."""
    with torch.no_grad():
        return torch.cat([model(x) for x, _ in batches]), torch.cat([y for _, y in batches])


def with_alpha(trained: dict[str, Tensor], alpha: float) -> nn.Module:
    made = network()
    made.load_state_dict(trained)
    return norm.convert(made.eval(), norm.example_weighted(alpha))


def mean_loss(metric: str, logits: Tensor, targets: Tensor) -> float:
    """Written anew, in float64."""
    z = logits.double()
    if metric == "error":
        return float((z.argmax(1) != targets).double().mean())
    return float(-(z - z.logsumexp(1, keepdim=True))[torch.arange(len(z)), targets].mean())


# The curve


@pytest.mark.parametrize("metric", ["error", "negative_log_likelihood"])
def test_the_exact_curve_is_that_of_one_evaluation_for_each_alpha(
    metric: str, model: nn.Sequential, trained: dict[str, Tensor]
) -> None:
    batches = held_out(600)
    alphas = [*GRID, 0.7, 0.9, 1.0]
    tuned = norm.tune(model, batches, metric=metric, alphas=reversed(alphas), exact=True, apply=False)
    assert [point.alpha for point in tuned.curve] == alphas
    for point in tuned.curve:
        assert point.alpha is not None
        expected = mean_loss(metric, *evaluated(with_alpha(trained, point.alpha), batches))
        assert point.value == pytest.approx(expected, rel=1e-6)
        assert point.approximation == 0.0
        assert point.gain == pytest.approx(tuned.before.value - expected, rel=1e-5, abs=4e-6)  # float32 losses near 2
    assert tuned.best is min(tuned.curve, key=lambda point: point.value)
    assert 0.0 < (tuned.best.alpha or 0.0) <= 1.0 - 0.1 * (metric == "error")  # not simply the first or last one
    assert tuned.evaluations == len(tuned.curve) == len(tuned.computed)


def test_standard_errors_are_those_of_paired_examples(model: nn.Sequential, trained: dict[str, Tensor]) -> None:
    batches = held_out(600)
    point = norm.tune(model, batches, alphas=(0.3,), exact=True, apply=False).curve[1]
    wrong = [
        (logits.argmax(1) != targets).double()
        for logits, targets in (evaluated(with_alpha(trained, alpha), batches) for alpha in (0.0, 0.3))
    ]
    assert point.standard_error == pytest.approx(float(wrong[1].std()) / 600**0.5)
    assert point.gain_error == pytest.approx(float((wrong[0] - wrong[1]).std()) / 600**0.5)


@pytest.mark.parametrize("exact", [True, False])
def test_alpha_zero_is_the_stock_model(exact: bool, model: nn.Sequential) -> None:
    batches = held_out()
    expected = mean_loss("error", *evaluated(model, batches))
    tuned = norm.tune(model, batches, exact=exact, apply=False)
    assert (tuned.before.alpha, tuned.before.value) == (0.0, expected)
    assert tuned.curve[0] == tuned.before
    assert tuned.before.gain == tuned.before.gain_error == tuned.before.approximation == 0.0


def repeated(batches: Batches) -> Batches:
    """In the order of the classes: the first examples tell little about the others."""
    images, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    order = targets.argsort()
    return list(zip(torch.split(images[order], 100), torch.split(targets[order], 100), strict=True))


@pytest.mark.parametrize("metric", ["error", "negative_log_likelihood"])
@pytest.mark.parametrize("ordered", [False, True])
def test_the_quick_curve_is_the_exact_one_within_its_error(metric: str, ordered: bool, model: nn.Sequential) -> None:
    """No point is off by more than 4 standard errors of approximation, or 1e-6; keys are fixed."""
    batches = repeated(held_out(4000)) if ordered else held_out(4000)
    quick = norm.tune(model, batches, metric=metric, apply=False)
    alphas = [point.alpha for point in quick.curve if point.alpha is not None]
    slow = norm.tune(model, batches, metric=metric, alphas=alphas, exact=True, apply=False)
    assert [point.alpha for point in slow.curve] == alphas
    for mine, true in zip(quick.curve, slow.curve, strict=True):
        assert abs(mine.value - true.value) <= 4 * mine.approximation + 1e-6
        assert mine.gain_error >= 0.9 * true.gain_error - 5e-4
        assert mine.gain == pytest.approx(quick.before.value - mine.value, abs=1e-12)
        assert (mine.approximation == 0.0) == (mine.alpha in quick.computed)
    assert len(quick.computed) < len(alphas)
    assert quick.evaluations < 0.6 * slow.evaluations
    assert slow.best.value <= quick.before.value
    if not ordered:
        assert next(p for p in slow.curve if p.alpha == quick.best.alpha).value <= slow.best.value + 2e-3


def test_close_calls_are_computed(model: nn.Sequential, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them what is interpolated near the best alpha is twice as uncertain."""

    def doubt() -> float:
        tuned = norm.tune(model, held_out(4000), alphas=alphas, refine=False, apply=False)
        points = [point for point in tuned.curve if point.alpha not in tuned.computed]
        return sum(point.approximation for point in points if point.value < tuned.best.value + 0.02)

    alphas = [step / 20 for step in range(1, 15)]
    careful = doubt()
    monkeypatch.setattr(search, "CLOSE", 0.0)
    assert careful < 0.5 * doubt()


def test_few_examples_are_computed_exactly(model: nn.Sequential) -> None:
    batches = held_out(250)
    quick = norm.tune(model, batches, apply=False, refine=False)
    slow = norm.tune(model, batches, apply=False, exact=True)
    assert [point.value for point in quick.curve] == [point.value for point in slow.curve]
    assert quick.evaluations == len(GRID)


def test_it_is_one_pass_over_the_data(model: nn.Sequential) -> None:
    passes = []

    def stream() -> Iterator[tuple[Tensor, Tensor]]:
        passes.append(1)
        yield from held_out(1000)

    assert norm.tune(model, stream(), apply=False).examples == 1000
    assert passes == [1]


def test_the_curve_does_not_depend_on_how_the_data_is_cut(model: nn.Sequential) -> None:
    curves = [norm.tune(model, held_out(1500, size), apply=False).curve for size in (50, 125, 300)]
    for other in curves[1:]:
        for one, two in zip(curves[0], other, strict=True):
            assert one.value == pytest.approx(two.value, abs=1e-6)


# What is chosen


def test_a_tuned_alpha_recovers_what_dependent_batches_cost(model: nn.Sequential) -> None:
    """The memory knows the mean brightness only; an example brings its own (thesis, section 4.4.4)."""
    tuned = norm.tune(model, held_out(), alphas=(*GRID, 0.7, 0.9, 1.0))
    test = held_out(seed=3)
    error = mean_loss("error", *evaluated(model, test))
    assert tuned.before.value > 0.3
    assert error < 0.6 * tuned.before.value
    assert tuned.best.gain == pytest.approx(tuned.before.value - error, abs=0.05)
    layer = model[1]
    assert isinstance(layer, norm.Norm)
    assert layer.policy.inference == norm.ExampleWeighted(tuned.best.alpha or 0.0)


def test_neutral_is_kept_where_nothing_is_better(model: nn.Sequential) -> None:
    """Images that are all alike in brightness, as the memory expects them: torch's layers then stay torch's."""
    images, targets = stripes(1000, seed=4, together=1000)
    images = images - images.mean((1, 2, 3), keepdim=True)
    batches = list(zip(torch.split(images, 100), torch.split(targets, 100), strict=True))
    tuned = norm.tune(model, batches, metric="negative_log_likelihood", alphas=(0.8, 0.9, 1.0))
    assert tuned.best == tuned.before
    assert isinstance(model[1], nn.BatchNorm2d)


def test_a_model_starts_from_the_alpha_that_it_has(trained: dict[str, Tensor]) -> None:
    model = with_alpha(trained, 0.35)
    batches = held_out(500)
    expected = mean_loss("error", *evaluated(model, batches))
    tuned = norm.tune(model, batches, apply=False)
    assert (tuned.before.alpha, tuned.before.value) == (0.35, expected)
    assert {0.0, 0.35} <= {point.alpha for point in tuned.curve}
    assert [point.alpha for point in tuned.curve] == sorted(point.alpha or 0.0 for point in tuned.curve)


def test_layers_that_see_one_example_start_from_one(trained: dict[str, Tensor]) -> None:
    """Converted from GroupNorm: alpha 1 is what they did, and the grid lies below it."""
    made = network(lambda channels: nn.GroupNorm(4, channels))  # type: ignore[arg-type]
    made.load_state_dict({key: value for key, value in trained.items() if "running" not in key}, strict=False)
    batches = held_out(500)
    expected = mean_loss("error", *evaluated(made, batches))
    norm.convert(made.eval(), norm.example_weighted(1.0), group_norm=True)
    norm.precise(made, [x for x, _ in batches])
    tuned = norm.tune(made, batches, exact=True, apply=False)
    assert tuned.before.alpha == 1.0
    assert tuned.before.value == pytest.approx(expected)
    assert tuple(point.alpha for point in tuned.curve) == GRID_BY_EXAMPLE


def test_a_metric_of_ones_own(model: nn.Sequential, trained: dict[str, Tensor]) -> None:
    def brier(logits: Tensor, targets: Tensor) -> Tensor:
        return (logits.softmax(1) - F.one_hot(targets, 4)).square().sum(1)

    batches = held_out(600)
    tuned = norm.tune(model, batches, metric=brier, apply=False)
    logits, targets = evaluated(with_alpha(trained, 0.2), batches)
    point = next(point for point in tuned.curve if point.alpha == 0.2)
    assert tuned.metric == "brier"
    assert abs(point.value - float(brier(logits, targets).mean())) <= 4 * point.approximation + 1e-6


def test_values_halfway_to_the_neighbours_of_the_best_are_tried(model: nn.Sequential) -> None:
    grid = {point.alpha for point in norm.tune(model, held_out(1000), refine=False, apply=False).curve}
    fine = {point.alpha for point in norm.tune(model, held_out(1000), apply=False).curve}
    assert grid == set(GRID)
    assert grid < fine
    assert between([0.0, 0.01, 0.04, 0.09], 0.04) == pytest.approx([0.02, 0.06])
    assert between([0.0, 0.01, 0.04], 0.04) == pytest.approx([0.02])
    assert between([0.0, 0.01, 0.04], 0.0) == pytest.approx([0.005])
    assert between([0.0], 0.0) == []


# Mixes of branches


def branched(trained: dict[str, Tensor]) -> nn.Module:
    made = network()
    made.load_state_dict(trained)
    norm.convert(made.eval(), norm.split())
    layer = made[1]
    assert isinstance(layer, norm.Norm)
    bank = layer.bank("aux")
    assert bank.running_mean is not None
    bank.running_mean.add_(bank.running_var.sqrt())  # type: ignore[union-attr]
    return made


def test_mixes_are_what_a_mixture_gives_and_cost_one_forward_of_each_branch(trained: dict[str, Tensor]) -> None:
    model, batches = branched(trained), held_out(600)
    tuned = norm.tune(model, batches, alphas=(), mix=norm.mixes(), metric="negative_log_likelihood")
    assert len(tuned.curve) == 11
    assert tuned.evaluations == 2
    for point in tuned.curve:
        expected = mean_loss("negative_log_likelihood", *evaluated(norm.Mixture(model, point.weights).eval(), batches))
        assert point.value == pytest.approx(expected, rel=1e-5)
    assert tuned.before.weights == {"main": 1.0, "aux": 0.0}
    assert tuned.best is min(tuned.curve, key=lambda point: point.value)


def test_alpha_and_mix_are_tuned_together(trained: dict[str, Tensor]) -> None:
    model, batches = branched(trained), held_out(2000)
    mixes = ({"main": 0.5, "aux": 0.5}, {"aux": 1.0})
    tuned = norm.tune(model, batches, alphas=(0.1, 0.3, 0.5), mix=mixes, combine="logits", refine=False)
    assert len(tuned.curve) == 4 * 3
    assert tuned.before.weights == {"main": 1.0, "aux": 0.0}
    logits = evaluated(norm.Mixture(model, tuned.best.weights, "logits").eval(), batches)  # alpha was applied
    assert abs(tuned.best.value - mean_loss("error", *logits)) <= 4 * tuned.best.approximation + 1e-6
    alone = norm.tune(model, batches, alphas=(0.5,), branch="aux", apply=False, exact=True)
    assert alone.before.weights == {"aux": 1.0}


# Nothing is lost


def state_of(model: nn.Module) -> list[Any]:
    return [
        (module, type(module), module.training, getattr(module, "policy", None), getattr(module, "session", None))
        for module in model.modules()
    ]


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("failing", [True, False])
def test_everything_is_back_afterwards(
    plain: bool, failing: bool, model: nn.Sequential, trained: dict[str, Tensor]
) -> None:
    subject: nn.Module = model if plain else norm.convert(model, norm.example_weighted(0.2))
    subject.train()
    subject.get_submodule("0").eval()
    before, weights = state_of(subject), {key: value.clone() for key, value in subject.state_dict().items()}

    def stream() -> Iterator[tuple[Tensor, Tensor]]:
        yield from held_out(500)
        if failing:
            raise OSError("the disk is gone")

    if failing:
        with pytest.raises(OSError, match="gone"):
            norm.tune(subject, stream())
    else:
        norm.tune(subject, stream(), apply=False)
    assert state_of(subject) == before
    assert all(torch.equal(value, weights[key]) for key, value in subject.state_dict().items())


def test_what_was_found_can_be_applied_later(model: nn.Sequential) -> None:
    tuned = norm.tune(model, held_out(1000), apply=False)
    assert type(model[1]) is nn.BatchNorm2d
    tuned.apply()
    layer = model.get_submodule("1")
    assert isinstance(layer, norm.Norm)
    assert layer.policy.inference == norm.ExampleWeighted(tuned.best.alpha or 0.0)
    assert not layer.training
    again = norm.tune(model, held_out(1000), apply=False)
    assert again.before.alpha == tuned.best.alpha


def test_layers_that_normalize_by_the_test_batch_are_given_whole_batches(model: nn.Sequential) -> None:
    """A layer without memory joins rows; then nothing is interpolated, and batches stay as they are."""
    model.insert(0, nn.BatchNorm2d(1, track_running_stats=False))
    batches = held_out(700, size=70)
    expected = mean_loss("error", *evaluated(model.eval(), batches))
    tuned = norm.tune(model, batches, apply=False)
    assert tuned.before.value == expected
    assert tuned.evaluations == len(tuned.curve) == len(GRID)


def test_wrapped_models_and_batches_of_the_library(model: nn.Sequential) -> None:
    batches = held_out(300)
    mine = [Batch(x, y, torch.arange(len(x))) for x, y in batches]
    plain = norm.tune(model, batches, apply=False)
    wrapped = norm.tune(nn.DataParallel(model), mine, apply=False)
    assert wrapped.curve == plain.curve


def test_number_formats(model: nn.Sequential) -> None:
    compute = Compute(torch.device("cpu"), torch.bfloat16, torch.channels_last)
    low = norm.tune(model, held_out(600), compute=compute, apply=False)
    full = norm.tune(model, held_out(600), apply=False)
    assert low.before.value == pytest.approx(full.before.value, abs=0.02)
    assert low.before.value != 0


# Statistics


def test_sampled_means_are_unbiased_whatever_the_interpolation_is_worth() -> None:
    """1,000 tallies: the mean error is 0 within 4 of its standard errors, and 95 % of errors lie within 2 of theirs."""
    draw = torch.Generator().manual_seed(0)
    misses, errors = 0, []
    for _ in range(1000):
        true = torch.randn(1, 480, generator=draw, dtype=torch.float64)
        wrong = 0.5 * true + 3 + 0.3 * torch.randn(1, 480, generator=draw, dtype=torch.float64)
        tally, base = Tally(1, 1, jumps=False), torch.zeros(480, dtype=torch.float64)
        tally.add(0, wrong, base, clear=True)
        rows = torch.randperm(480, generator=draw)[:30]
        tally.sample(0, (true - wrong)[:, rows])
        found = tally.estimate(0, 0)
        errors.append(found.value - float(true.mean()))
        misses += abs(errors[-1]) > 2 * found.approximation
    off = torch.tensor(errors)
    assert abs(float(off.mean())) < 4 * float(off.std()) / 1000**0.5
    assert misses < 50 + 4 * math.sqrt(50)


def test_a_sample_without_a_jump_is_no_proof() -> None:
    """30 of 480 losses are computed, none is off: one in 31 may still be. Smooth losses leave no such doubt."""
    for jumps, expected in ((True, (1 / 31 / 30 * (1 - 30 / 480) * 29 / 27) ** 0.5), (False, 0.0)):
        tally = Tally(2, 1, jumps=jumps)
        losses = (torch.arange(480) % 4 == 0).double()[None]
        for place in range(2):
            tally.add(place, losses, losses[0], clear=True)
            tally.sample(place, torch.zeros(1, 30, dtype=torch.float64))
        assert tally.estimate(0, 0).approximation == pytest.approx(expected)
        tally.alike[:] = True  # both together: one in 61
        assert tally.estimate(0, 0).approximation == pytest.approx(expected * (31 / 61) ** 0.5)


def test_the_best_candidate_is_rarely_taken_for_beaten() -> None:
    """Of eleven candidates that differ by chance alone the first counts as beaten in less than 1 % of 2,000 draws.

    Ten comparisons at 3 standard errors would allow 1.35 % by Bonferroni; with one that is truly better, 0.3 %.
    """
    draw = torch.Generator().manual_seed(0)
    lost = lost_leader = 0
    for _ in range(2000):
        common = torch.randn(256, generator=draw, dtype=torch.float64)
        own = 0.3 * torch.randn(11, 1, 256, generator=draw, dtype=torch.float64)
        lost += not bool(search.contenders(common + own)[0, 0])
        own[0] -= 0.02  # about one standard error of a difference
        lost_leader += not bool(search.contenders(common + own)[0, 0])
    assert lost <= 20 + 3 * math.sqrt(20)
    assert lost_leader <= 6 + 3 * math.sqrt(6)


def test_clear_losers_count_as_beaten() -> None:
    draw = torch.Generator().manual_seed(0)
    losses = (
        torch.randn(3, 1, 256, generator=draw, dtype=torch.float64) * 0.1
        + torch.tensor([0.0, 0.5, 0.01])[:, None, None]
    )
    assert search.contenders(losses)[:, 0].tolist() == [True, False, True]


def test_a_skeleton_recovers_combinations_exactly() -> None:
    draw = torch.Generator().manual_seed(0)
    roots = torch.randn(3, 20, 5, generator=draw)
    mixing = torch.randn(8, 3, generator=draw)
    logits = torch.tensordot(mixing, roots, 1)
    *_, last = [skeleton for _, skeleton in zip(range(3), skeletons(logits, range(1, 8)), strict=False)]
    assert last.nodes[0] == 0
    assert max(last.reach) < 1e-5
    for place in range(8):
        torch.testing.assert_close(last.guess(place, logits[list(last.nodes)]), logits[place], atol=1e-4, rtol=1e-4)
    count = [len(skeleton.nodes) for skeleton in skeletons(logits, (2, 5))]
    assert count == [1, 2, 3]


def test_margins_say_what_can_change_a_loss() -> None:
    """Moving every logit by less than half of the margin never changes whether a prediction is right."""
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(500, 4, generator=draw)
    targets = torch.randint(4, (500,), generator=draw)
    loss = LOSSES["error"]
    assert loss.margin is not None
    margin = loss.margin(scores, targets)
    moved = scores + 0.499 * margin[:, None] * (2 * torch.rand(500, 4, generator=draw) - 1)
    assert torch.equal(loss(moved, targets), loss(scores, targets))
    pushed = scores.clone()
    right = scores.argmax(1) == targets
    pushed[torch.arange(500), targets] += torch.where(right, -1.001, 1.001) * margin
    assert not torch.equal(loss(pushed, targets), loss(scores, targets))
    assert bool((loss(pushed, targets) != loss(scores, targets)).all())


# Refusals


@pytest.mark.parametrize(
    ("batches", "settings", "text"),
    [
        ([], {}, "got no examples"),
        (torch.zeros(3, 1, 8, 8), {}, "expected an iterable"),
        ([torch.zeros(3, 1, 8, 8)], {}, r"expected \(images, targets\)"),
        ([(torch.zeros(3, 1, 8, 8), torch.zeros(2).long())], {}, "3 images but 2 targets"),
        ([(torch.zeros(3, 1, 8, 8), torch.full((3,), 4))], {}, "tells 4 classes apart"),
        ([(torch.zeros(3, 1, 8, 8), torch.zeros(3))], {}, "one class number"),
        (None, {"metric": "accuracy"}, "unknown metric"),
        (None, {"metric": lambda logits, targets: logits.mean()}, "the loss of each"),
        (None, {"alphas": (0.1, 1.5)}, r"\[0, 1\]"),
        (None, {"alphas": ()}, "nothing to tune"),
        (None, {"branch": "aux"}, "no layer has a branch"),
        (None, {"mix": ({"main": 0.5, "aux": 0.5},)}, "unknown branch"),
        ([(torch.full((3, 1, 8, 8), torch.nan), torch.zeros(3).long())], {}, "NaN"),
    ],
)
def test_bad_input_is_one_clear_line(batches: Any, settings: dict[str, Any], text: str, model: nn.Sequential) -> None:
    before = state_of(model)
    with pytest.raises(InputError, match=text) as caught:
        norm.tune(model, held_out(100) if batches is None else batches, **settings)
    assert "\n" not in str(caught.value)
    assert state_of(model) == before


def test_models_without_anything_to_tune_are_refused() -> None:
    with pytest.raises(InputError, match="nothing to tune"):
        norm.tune(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), held_out(100))
    forgetful = norm.convert(network(), norm.no_memory())
    with pytest.raises(InputError, match="GroupNorm"):
        norm.tune(forgetful, held_out(100), alphas=(0.1,))


def test_outputs_that_are_no_logits_are_refused(model: nn.Sequential) -> None:
    class Pair(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.inner(x), x

    with pytest.raises(InputError, match="returned a tuple"):
        norm.tune(Pair(model), held_out(100))
    with pytest.raises(InputError, match="expected logits"):
        norm.tune(model[:3], held_out(100))


def test_the_report_is_one_line(model: nn.Sequential) -> None:
    tuned = norm.tune(model, held_out(600), apply=False)
    assert str(tuned).count("\n") == 0
    assert f"alpha {tuned.best.alpha:.4g}" in str(tuned)
    mixed = replace(tuned.best, weights={"main": 0.25, "aux": 0.75}, alpha=None)
    assert str(mixed) == "the model's own rule, 0.25 main + 0.75 aux"


def test_a_gain_that_its_interval_does_not_support_changes_nothing(model: nn.Sequential) -> None:
    tuned = norm.tune(model, held_out(300), alphas=(0.001,), apply=False)
    best = replace(tuned.best, alpha=0.5, gain=0.006, gain_error=0.0088)  # as 0.60 ± 0.88 points
    doubtful = replace(tuned, best=best)
    assert not doubtful.supported
    assert "which its 95 % interval does not support" in str(doubtful)
    doubtful.apply()
    assert all(isinstance(layer, nn.BatchNorm2d) for layer in model.modules() if hasattr(layer, "running_mean"))
    sure = replace(tuned, best=replace(best, gain_error=0.003))
    assert sure.supported
    assert "does not support" not in str(sure)
    doubtful.apply(anyway=True)
    rules = [layer.policy.inference for layer in model.modules() if isinstance(layer, norm.Norm)]
    assert rules == [norm.ExampleWeighted(0.5)] * len(rules)
    assert rules


@pytest.mark.parametrize("exact", [True, False])
def test_other_losses_are_told_beside_the_one_that_chooses(exact: bool, model: nn.Sequential) -> None:
    """The same numbers as when they choose, but for candidates that are interpolated."""
    batches = held_out(1500)
    names = ("error", "negative_log_likelihood")
    found = norm.tune(model, batches, beside=(*names, "overconfidence"), exact=exact, refine=False, apply=False)
    for name in names:
        alone = norm.tune(model, batches, metric=name, exact=True, refine=False, apply=False)
        for point, other in zip(found.curve, alone.curve, strict=True):
            sampled = point.approximation > 0  # of far candidates one example in 16 is computed
            assert point.beside[name] == pytest.approx(other.value, rel=0.25 if sampled else 1e-9, abs=1e-9)
    assert [point.beside["error"] for point in found.curve] == [point.value for point in found.curve]
    logits, targets = evaluated(model, batches)
    confidence, predicted = logits.double().softmax(1).max(1)
    expected = float(confidence.mean() - (predicted == targets).double().mean())
    assert found.before.beside["overconfidence"] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(InputError, match="unknown loss 'eror'"):
        norm.tune(model, batches, beside=("eror",), apply=False)
