"""The training loop and the three ways to read an error."""

import math
from itertools import islice, repeat

import pytest
import torch
from torch import nn

from elinvar import norm
from elinvar.check import InputError
from elinvar.experiments.training import Pair, Sgd, error, error_by_batch, inferring, trained, training
from elinvar.norm import OwnBatch, Remembered


def pair(rows: int, seed: int = 0) -> Pair:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 3, generator=generator), torch.randint(2, (rows,), generator=generator)


def normalized(policy: norm.NormPolicy) -> nn.Sequential:
    torch.manual_seed(0)
    return norm.convert(nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)), policy)


def test_the_learning_rate_rises_and_falls_by_half_a_cosine() -> None:
    plan = Sgd(lr=2.0, steps=12, warmup=4)
    assert [plan.rate(step) for step in range(4)] == [0.5, 1.0, 1.5, 2.0]
    assert plan.rate(4) == 2.0
    assert plan.rate(8) == pytest.approx(1.0)
    assert plan.rate(12) == pytest.approx(0.0)
    assert Sgd(lr=1.0, steps=4).rate(1) == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 4))


def test_a_step_is_that_of_nesterov_with_decay() -> None:
    x, y = pair(6)
    model = nn.Linear(3, 2)
    assert isinstance(model.weight, torch.Tensor)
    before = model.weight.detach().clone()
    nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
    assert model.weight.grad is not None
    slope = model.weight.grad + 0.1 * before
    assert list(training(model, [(x, y)], Sgd(lr=0.5, steps=1, weight_decay=0.1))) == [1]
    assert torch.allclose(model.weight, before - 0.5 * 1.9 * slope, atol=1e-6)


def test_the_caller_may_evaluate_between_steps() -> None:
    model = normalized(norm.batch_norm())
    steps = []
    for done in training(model, repeat(pair(8)), Sgd(lr=0.1, steps=3)):
        steps.append(done)
        assert model.training
        error(model, [pair(4)])
        assert not model.training
    assert steps == [1, 2, 3]
    assert isinstance(model[1], norm.Norm)
    assert model[1].num_batches_tracked == 3


def test_too_few_batches_and_a_loss_that_is_not_finite_are_refused() -> None:
    model = nn.Linear(3, 2)
    with pytest.raises(InputError, match="the batches end after 2 steps, expected 3"):
        trained(model, islice(repeat(pair(4)), 2), Sgd(lr=0.1, steps=3))
    x, y = pair(4)
    with pytest.raises(InputError, match=r"in step 1: lower the learning rate 0\.1"):
        trained(model, [(x / 0.0, y)], Sgd(lr=0.1, steps=1))


def test_errors_by_memory_and_by_the_batch_grouped_as_in_training() -> None:
    model = normalized(norm.ghost(2, "blocks"))
    x, y = pair(6)
    with torch.no_grad():
        wrong = {}
        for name, parts in (("memory", [x]), ("ghosts", torch.split(x, 2))):
            model.train(name == "ghosts")
            found = torch.cat([model(part).argmax(1) for part in parts])
            wrong[name] = 100.0 * (found != y).double().mean().item()
        model = normalized(norm.ghost(2, "blocks"))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert error(model, [(x[:4], y[:4]), (x[4:], y[4:])]) == pytest.approx(wrong["memory"])
    assert error_by_batch(model, [(x, y)]) == pytest.approx(wrong["ghosts"])
    assert wrong["ghosts"] != wrong["memory"]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_the_rule_comes_back_after_an_error() -> None:
    model = normalized(norm.batch_norm())
    layer = model[1]
    assert isinstance(layer, norm.Norm)
    with pytest.raises(RuntimeError, match="stop"), inferring(model, OwnBatch()):
        assert layer.policy.inference == OwnBatch()
        raise RuntimeError("stop")
    assert layer.policy.inference == Remembered()
