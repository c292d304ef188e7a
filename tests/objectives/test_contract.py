"""What every objective keeps to, whoever adds it: one row in a table."""

import pickle
from collections.abc import Callable
from copy import deepcopy
from dataclasses import FrozenInstanceError, fields, replace
from typing import NamedTuple

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from torch import Tensor

from elinvar import config, objectives
from elinvar.check import InputError
from elinvar.forms import check_form
from elinvar.objectives import (
    AdaptiveEnsemble,
    AdversarialLogitPairing,
    CleanLogitPairing,
    Consistency,
    CrossEntropy,
    DecoupledPairing,
    LogitSqueezing,
    Loss,
    Objective,
    WeightedSum,
    lrm,
)
from elinvar.objectives.similarity import DISTANCES
from elinvar.views import Logits, View, Views

NAMES = ("a", "b", "c")


class Row(NamedTuple):
    """An objective over the views `NAMES`.

    stops     whether its gradient deliberately stops somewhere, so that it is not that of its value
    smooths   whether it smooths labels so that one class alone has nowhere to go
    """

    objective: Objective
    stops: bool = False
    smooths: bool = False


def _decoupled(**settings: str) -> DecoupledPairing:
    return DecoupledPairing(loss=CrossEntropy(over=("b",), smoothing=0.1), over=("a", "b"), **settings)  # type: ignore[arg-type]


ROWS = {
    "cross_entropy": Row(CrossEntropy(over=NAMES)),
    "smoothed": Row(CrossEntropy(over=("a",), smoothing=0.2, weight=0.5), smooths=True),
    "uniformly smoothed": Row(CrossEntropy(over=("a",), smoothing=0.2, convention="uniform")),
    "consistency": Row(Consistency(over=NAMES)),
    "squeezing": Row(LogitSqueezing(over=("a", "b"))),
    "pairing": Row(AdversarialLogitPairing(over=("a", "b"))),
    "pairing, summed": Row(AdversarialLogitPairing(over=("a", "b"), reduction="sum", weight=0.5)),
    "clean_pairing": Row(CleanLogitPairing(view="a")),
    **{f"decoupled, {name}": Row(_decoupled(distance=name), stops=True, smooths=True) for name in DISTANCES},
    "decoupled, share": Row(_decoupled(reading="share"), stops=True, smooths=True),
    "lrm": Row(lrm(clean="a", adversarial="b"), stops=True, smooths=True),
    "ensemble": Row(AdaptiveEnsemble(over=NAMES), stops=True),
    "ensemble, plain": Row(AdaptiveEnsemble(over=NAMES, normalize=False), stops=True),
    "ensemble, teacher's norm": Row(AdaptiveEnsemble(over=NAMES, scale=None), stops=True),
    "ensemble, attached": Row(AdaptiveEnsemble(over=NAMES, ensemble=0.0, detach_teacher=False)),
    "a2_aug": Row(CrossEntropy(over=NAMES, weight=3.0) + AdaptiveEnsemble(over=NAMES), stops=True),
    "nested": Row(2.0 * (_decoupled() + 0.5 * Consistency(over=NAMES)), stops=True, smooths=True),
}
every = pytest.mark.parametrize("name", ROWS)
every_smooth = pytest.mark.parametrize("name", [name for name, row in ROWS.items() if not row.stops])


def draw(*shape: int, seed: int) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def views(n: int = 4, classes: int = 5, *, soft: bool = False) -> Views:
    targets = torch.arange(n) % classes
    if soft:
        targets = torch.nn.functional.one_hot(targets, classes).double()
    first = View("a", torch.zeros(n, 3, 2, 2), targets, torch.arange(n))
    return Views([replace(first, name=name, branch=name) for name in NAMES])


def logits(n: int = 4, classes: int = 5) -> Logits:
    return Logits({name: draw(n, classes, seed=seed).requires_grad_() for seed, name in enumerate(NAMES)})


def judge(name: str, at: Logits, seen: Views | None = None) -> Loss:
    rows, classes = next(iter(at.values())).shape
    found = ROWS[name].objective.module()(at, seen or views(rows, classes))
    assert isinstance(found, Loss)
    return found


def backward(loss: Loss) -> None:
    torch.autograd.backward(loss.total)


def test_no_objective_is_left_out() -> None:
    """A new objective needs a row in this table."""
    public = {thing for thing in vars(objectives).values() if isinstance(thing, type) and issubclass(thing, Objective)}

    def kinds(objective: Objective) -> set[type]:
        inside = [getattr(objective, field.name) for field in fields(objective)]  # type: ignore[arg-type]
        flat = [part for value in inside for part in (value if isinstance(value, tuple) else (value,))]
        return {type(objective)}.union(*(kinds(part) for part in flat if isinstance(part, Objective)))

    assert public - {Objective} == set().union(*(kinds(row.objective) for row in ROWS.values()))


@every
def test_settings_are_frozen_values(name: str) -> None:
    objective = ROWS[name].objective
    assert deepcopy(objective) == objective
    assert hash(deepcopy(objective)) == hash(objective)
    assert pickle.loads(pickle.dumps(objective)) == objective
    with pytest.raises(FrozenInstanceError):
        objective.weights = ()  # type: ignore[attr-defined]


@every
def test_a_file_keeps_them(name: str) -> None:
    objective = ROWS[name].objective
    form = config.to_config(objective)
    check_form(form, Objective, "objective")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--objective", type=Objective)
    read = parser.parse_object({"objective": yaml.safe_load(yaml.safe_dump(form))})
    assert parser.instantiate(read).objective == objective


@every
def test_the_parts_make_up_the_total(name: str) -> None:
    loss = judge(name, logits())
    assert loss.total.shape == ()
    assert loss.total.requires_grad
    together = sum(float(part.weight) * part.value.item() for part in loss.parts.values())
    assert loss.total.item() == pytest.approx(together, rel=1e-6)
    for part in loss.parts.values():
        assert part.value.shape == ()
        assert not part.value.requires_grad
        assert not (isinstance(part.weight, Tensor) and part.weight.requires_grad)


@every
def test_a_multiple_is_a_multiple_of_every_part(name: str) -> None:
    once, thrice = judge(name, logits()), (3.0 * ROWS[name].objective).module()(logits(), views())
    assert thrice.total.item() == pytest.approx(3 * once.total.item())
    for part, tripled in zip(once.parts.values(), thrice.parts.values(), strict=True):
        assert float(tripled.weight) == pytest.approx(3 * float(part.weight))
        assert tripled.value.item() == part.value.item()


@every
def test_the_layer_judges_as_the_objective(name: str) -> None:
    objective, layer = ROWS[name].objective, ROWS[name].objective.module()
    if list(layer.parameters()):
        with pytest.raises(InputError, match="module"):
            objective(logits(), views())
    else:
        assert objective(logits(), views()).total.item() == layer(logits(), views()).total.item()
    again = pickle.loads(pickle.dumps(layer))
    assert again(logits(), views()).total.item() == layer(logits(), views()).total.item()


@every
def test_it_neither_changes_nor_keeps_what_it_is_given(name: str) -> None:
    at = logits()
    before = {view: rows.detach().clone() for view, rows in at.items()}
    first, second = judge(name, at), judge(name, at)
    assert first.total.item() == second.total.item()
    assert all(torch.equal(at[view], rows) for view, rows in before.items())


@every_smooth
def test_the_gradient_is_that_of_the_value(name: str) -> None:
    def value(*rows: Tensor) -> Tensor:
        return judge(name, Logits(dict(zip(NAMES, rows, strict=True)))).total

    at = [rows.detach().requires_grad_() for rows in logits().values()]
    assert torch.autograd.gradcheck(value, at)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("case", ["random", "ties", "sure and wrong", "one view", "floor"])
def test_extreme_logits_give_finite_values_and_gradients(name: str, dtype: torch.dtype, size: float, case: str) -> None:
    n, classes = 4, 5
    cases: dict[str, Callable[[int], Tensor]] = {
        "random": lambda seed: draw(n, classes, seed=seed).clamp(-3, 3),
        "ties": lambda seed: torch.full((n, classes), -1.0),
        "sure and wrong": lambda seed: 2 * torch.eye(classes).roll(1 + seed, 0)[:n] - 1,
        "one view": lambda seed: float(seed == 0) * draw(n, classes, seed=3).clamp(-3, 3),
        "floor": lambda seed: -6.0 * (torch.arange(classes) != seed).float().expand(n, classes),
    }
    at = Logits({v: (size * cases[case](s)).to(dtype).requires_grad_() for s, v in enumerate(NAMES)})
    loss = judge(name, at)
    assert loss.total.dtype == torch.float32
    assert loss.total.isfinite()
    backward(loss)
    for rows in at.values():
        assert rows.grad is None or (rows.grad.isfinite().all() and rows.grad.dtype == dtype)


@every
def test_half_precision_is_judged_as_float32(name: str) -> None:
    half = Logits({view: rows.detach().bfloat16().requires_grad_() for view, rows in logits().items()})
    full = Logits({view: rows.detach().float().requires_grad_() for view, rows in half.items()})
    one, other = judge(name, half), judge(name, full)
    assert one.total.item() == other.total.item()
    backward(one)
    backward(other)
    for view in NAMES:
        found, expected = half[view].grad, full[view].grad
        if expected is None:
            assert found is None
        else:  # the parts of a sum add their gradients up in bfloat16
            torch.testing.assert_close(found, expected.bfloat16(), rtol=2e-2, atol=1e-2 * float(expected.abs().max()))


@every
def test_autocast_changes_nothing(name: str) -> None:
    at = Logits({view: rows.detach().bfloat16() for view, rows in logits().items()})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = judge(name, at)
    assert inside.total.item() == judge(name, at).total.item()


@every
def test_float32_is_close_to_float64(name: str) -> None:
    wide = judge(name, logits(64))
    narrow = judge(name, Logits({view: rows.detach().float() for view, rows in logits(64).items()}))
    assert narrow.total.dtype == torch.float32
    assert narrow.total.item() == pytest.approx(wide.total.item(), rel=1e-5)


@every
@pytest.mark.parametrize(("n", "classes"), [(1, 5), (3, 1), (1, 1), (2, 1000)])
def test_one_example_or_one_class_is_enough(name: str, n: int, classes: int) -> None:
    if classes == 1 and ROWS[name].smooths:
        with pytest.raises(InputError, match="for 1 classes"):
            judge(name, logits(n, classes))
        return
    at = logits(n, classes)
    loss = judge(name, at)
    assert loss.total.isfinite()
    backward(loss)
    assert all(rows.grad is None or rows.grad.isfinite().all() for rows in at.values())


@every
def test_one_hot_targets_are_class_numbers(name: str) -> None:
    hard, soft = judge(name, logits(), views()), judge(name, logits(), views(soft=True))
    assert soft.total.item() == pytest.approx(hard.total.item(), rel=1e-6)


@every
def test_the_order_of_the_examples_does_not_matter(name: str) -> None:
    if name == "clean_pairing":
        pytest.skip("pairs are those of the order")
    turned = Logits({view: rows.flip(0) for view, rows in logits().items()})
    seen = Views([replace(v, targets=v.targets.flip(0), index=v.index.flip(0)) for v in views()])
    assert judge(name, turned, seen).total.item() == pytest.approx(judge(name, logits()).total.item(), rel=1e-6)


@every
def test_a_view_that_is_missing_is_named(name: str) -> None:
    seen = Views([View("z", torch.zeros(4, 3, 2, 2), torch.arange(4), torch.arange(4))])
    with pytest.raises(InputError, match=r"unknown view '[abc]'"):
        judge(name, Logits({"z": draw(4, 5, seed=0)}), seen)


def test_a_sum_refuses_the_same_part_twice() -> None:
    for name in ("squeezing", "lrm", "a2_aug"):
        objective = ROWS[name].objective
        with pytest.raises(InputError, match="two parts of the objective are"):
            WeightedSum(parts=(objective, objective)).module()(logits(), views())
