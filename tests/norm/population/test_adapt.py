"""Adapted statistics: mixtures in closed form, the way back, and that they help under shift."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elinvar import data
from elinvar.check import InputError
from elinvar.norm.population import adapt, precise
from population_nets import images, memory_of, mixed, parts

X = images(48)


@pytest.mark.parametrize("method", ["joint", "layerwise"])
def test_without_a_prior_it_is_precise_on_the_target(method: str) -> None:
    adapted, measured = mixed(), mixed()
    source = memory_of(adapted)
    report = adapt(adapted, parts(X, 16), method=method)
    precise(measured, parts(X, 16), method=method)
    torch.testing.assert_close(memory_of(adapted), memory_of(measured), rtol=0, atol=0)
    report.undo()
    torch.testing.assert_close(memory_of(adapted), source, rtol=0, atol=0)


@pytest.mark.parametrize("prior", [16.0, 48.0, 1e9])
def test_the_prior_counts_as_so_many_examples(prior: float) -> None:
    model, target = mixed(), mixed()
    source = memory_of(model)
    adapt(model, parts(X, 16), prior=prior)
    precise(target, parts(X, 16))
    share = prior / (prior + 48)
    for name, value in memory_of(target).items():
        if not name.startswith("aux"):
            expected = share * source[name] + (1 - share) * value
            torch.testing.assert_close(model.get_buffer(name), expected, rtol=1e-5, atol=1e-6)


def test_layerwise_measures_behind_the_mixtures() -> None:
    """What a layer is to remember is a mixture with what it then sees; joint sees fully adapted inputs instead."""
    by_layer, by_batch = mixed(), mixed()
    source = memory_of(by_layer)
    adapt(by_layer, parts(X, 16), prior=48, method="layerwise")
    adapt(by_batch, [X], prior=48)
    seen: dict[str, Tensor] = {}
    for name, module in by_layer.eval().named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.register_forward_pre_hook(
                lambda _, args, name=name: seen.update({name: args[0].transpose(0, 1).flatten(1).mean(1)})
            )
    with torch.no_grad():
        by_layer(X)
    for name, mean in seen.items():
        expected = (source[f"{name}.running_mean"] + mean) / 2
        torch.testing.assert_close(by_layer.get_buffer(f"{name}.running_mean"), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(by_layer.last.running_mean, by_batch.last.running_mean, rtol=1e-3)


@pytest.mark.parametrize("kept", ["mean", "variance"])
def test_one_of_the_two_can_be_kept(kept: str) -> None:
    model, target = mixed(), mixed()
    source = memory_of(model)
    arguments: dict[str, Any] = {kept: False}
    adapt(model, [X], **arguments)
    precise(target, [X])
    for name, value in memory_of(target).items():
        expected = source[name] if kept[:3] in name else value
        torch.testing.assert_close(model.get_buffer(name), expected, rtol=1e-6, atol=1e-7)


def test_what_makes_no_sense_is_refused() -> None:
    for prior in (-1.0, float("inf"), float("nan")):
        with pytest.raises(InputError, match="pseudo-examples"):
            adapt(mixed(), [X], prior=prior)
    with pytest.raises(InputError, match="nothing to adapt"):
        adapt(mixed(), [X], mean=False, variance=False)


def test_a_hundred_unlabelled_images_recover_most_of_what_a_shift_costs() -> None:
    """Digits at a third of the contrast and brighter: x -> 0.3 x + 0.6. One seed, deterministic on one machine."""
    digits = data.load("digits")
    assert isinstance(digits.train, data.ArraySplit)
    assert isinstance(digits.test, data.ArraySplit)
    train, test = (split.images[:, :1, ::4, ::4].float() / 255 for split in (digits.train, digits.test))
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, padding_mode="replicate", bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 9, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(6):
        for rows in torch.split(torch.randperm(len(train)), 100):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(train[rows]), digits.train.targets[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    model.eval()

    def error(x: Tensor) -> float:
        with torch.no_grad():
            wrong = model(x).argmax(1) != digits.test.targets
        return 100 * float(wrong.float().mean())

    shifted = 0.3 * test + 0.6
    before, clean = error(shifted), error(test)
    report = adapt(model, [(0.3 * train[:100] + 0.6, digits.train.targets[:100])])
    after = error(shifted)
    assert before - after > 0.8 * (before - clean) > 20
    assert error(test) > clean  # and it costs on the source
    report.undo()
    assert error(shifted) == before
