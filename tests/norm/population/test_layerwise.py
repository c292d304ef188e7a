"""Layer by layer: exact for any batches and any model, linear in depth, within a budget of memory."""

import copy
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elinvar.check import InputError
from elinvar.models.table import architecture
from elinvar.norm.population import layerwise, precise
from elinvar.norm.population.live import LiveSet, free_memory
from elinvar.norm.population.suspend import Ambient, Run
from population_nets import Mixed, images, memory_of, mixed, parts, population, shaken, worst

X = images(48)


def network(name: str) -> nn.Module:
    torch.manual_seed(3)
    settings = architecture(name)
    return shaken(settings.make(**settings.settings, classes=4))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "mixed": Mixed,
    "resnet-14": lambda: network("resnet-14"),
    "wrn-10-1": lambda: network("wrn-10-1"),
}


@pytest.fixture(autouse=True)
def _no_threads_are_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@contextmanager
def counted(model: nn.Module) -> Iterator[dict[str, int]]:
    """Examples that went through each convolution."""
    rows = {name: 0 for name, module in model.named_modules() if isinstance(module, nn.Conv2d) and "aux" not in name}
    handles = []
    for name in rows:

        def hook(_: nn.Module, args: tuple[Tensor], name: str = name) -> None:
            rows[name] += len(args[0])

        handles.append(model.get_submodule(name).register_forward_pre_hook(hook))
    yield rows
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("sizes", [[48], [1] * 48, [7] * 6 + [6], [2, 46]], ids=["whole", "ones", "sevens", "uneven"])
def test_batches_of_any_size_show_the_population(name: str, sizes: list[int]) -> None:
    model = MODELS[name]()
    expected = population(model, X)
    report = precise(model, torch.split(X, sizes), method="layerwise")
    assert worst(model, expected) < 3e-6
    assert report.passes == 1.0
    assert not any(layer.partial for layer in report.layers)


def test_training_on_the_whole_population_and_test_agree_in_any_order() -> None:
    model = network("resnet-14")
    other = copy.deepcopy(model)
    order = torch.randperm(48, generator=torch.Generator().manual_seed(0))
    precise(model, parts(X, 10), method="layerwise")
    precise(other, parts(X[order], 3), method="layerwise")
    torch.testing.assert_close(memory_of(other), memory_of(model), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(copy.deepcopy(model).train()(X), model.eval()(X), rtol=2e-5, atol=2e-5)


def test_every_convolution_runs_once_for_every_example() -> None:
    """But for the few examples of the rehearsal: two of each of two batches, alone and in turns."""
    model = mixed()
    with counted(model) as rows:
        precise(model, parts(X, 6), method="layerwise")
    assert set(rows.values()) == {48 + 4 + 4}


def test_without_memory_every_layer_costs_a_forward_up_to_it() -> None:
    """The paper's procedure, and the reference for everything else."""
    model, reference = network("resnet-14"), network("resnet-14")
    precise(model, parts(X, 8), method="layerwise")
    with counted(reference) as rows, pytest.warns(UserWarning, match="about .* forwards in all"):
        report = precise(reference, parts(X, 8), method="layerwise", memory=0)
    torch.testing.assert_close(memory_of(reference), memory_of(model), rtol=0, atol=0)
    layers = len(report.layers)
    assert rows["conv1"] == 48 * (layers + 1) + 8
    assert report.passes == (layers + 3) / 2
    by_hand = network("resnet-14").eval()
    for _, module in by_hand.named_modules():
        if isinstance(module, nn.BatchNorm2d):  # they are registered in the order in which they run
            seen: list[Tensor] = []
            handle = module.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0].double()))
            with torch.no_grad():
                for part in parts(X, 8):
                    by_hand(part)
            handle.remove()
            flat = torch.cat(seen).transpose(0, 1).flatten(1)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(flat.mean(1))
            module.running_var.copy_(flat.var(1, correction=0))
    torch.testing.assert_close(memory_of(model), memory_of(by_hand), rtol=1e-5, atol=1e-5)


def test_the_budget_bounds_what_is_kept_and_costs_time_only() -> None:
    x = images(32, 3, 16, 16)
    model = network("resnet-14")
    precise(model, parts(x, 4), method="layerwise")
    exact, passes = memory_of(model), []
    for budget in (150_000, 800_000, 4_000_000):
        other = network("resnet-14")
        kept = _Kept(other)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report = precise(other, parts(x, 4), method="layerwise", memory=budget, forward=kept.run)
        assert budget / 2 < kept.most < budget + 40_000 or report.passes == 1.0
        torch.testing.assert_close(memory_of(other), exact, rtol=0, atol=0)
        passes.append(report.passes)
    assert passes[0] > passes[1] > passes[2] == 1.0


class _Kept:
    """What paused forwards keep when one more begins, measured from outside, with 40 kB of moments."""

    def __init__(self, model: nn.Module) -> None:
        self.live, self.most = LiveSet(model), 0

    def run(self, model: nn.Module, batch: Tensor) -> None:
        self.most = max(self.most, self.live.bytes())
        with self.live:
            model(batch)


class Pair(nn.Module):
    """Examples whose first value is positive go one way, others the other; a batch may go either way or both."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first = nn.BatchNorm2d(3)
        self.one = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        self.two = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))
        self.last = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        positive = bool(x[0, 0, 0, 0] > 0)
        x = self.first(x)
        if positive:
            x = self.one(x)
        else:
            x = self.one(self.two(x)) if x[0, 1, 0, 0] > 0 else self.two(x)
        out: Tensor = self.last(x)
        return out


def test_control_flow_that_depends_on_data_ends_and_says_what_is_partial() -> None:
    model = Pair()
    report = precise(model, parts(X, 4), method="layerwise")
    partial = {layer.name for layer in report.layers if layer.partial}
    assert partial == {"one.1"}  # measured before those that pass `two` came
    assert "partial" in str(report)
    by_name = {layer.name: layer for layer in report.layers}
    assert by_name["last"].count == by_name["first"].count == 48 * 64
    assert 0 < by_name["two.1"].count < 48 * 64


class Hoarder(nn.Module):
    """Keeps a batch's features on itself between layers, as some networks keep their skips."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.one, self.two = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.skip = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        self.skip = x
        x = F.relu(self.one(x))
        out: Tensor = self.two(x + self.skip)
        return out


def test_forwards_that_disturb_each_other_are_recognized() -> None:
    model = Hoarder()
    expected = population(model, X)
    with pytest.warns(UserWarning, match="forwards of this model disturb each other"):
        report = precise(model, parts(X, 16), method="layerwise")
    assert worst(model, expected) < 2e-6
    assert report.passes > 1.0
    assert precise(model, [X], method="layerwise").passes == 1.0  # one batch disturbs nobody


@pytest.mark.parametrize("limit", [3, 1])
def test_more_batches_than_threads_are_joined(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layerwise, "PAUSED", limit)
    model = mixed()
    expected = population(model, X)
    report = precise(model, parts(X, 1), method="layerwise")
    assert report.batches == (48 // limit,) * limit
    assert worst(model, expected) < 2e-6


def test_batches_that_cannot_be_joined_wait_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layerwise, "PAUSED", 3)
    model = mixed()
    expected = population(model, X)
    report = precise(model, parts(X, 8), method="layerwise", forward=lambda model, batch: model(batch))
    assert report.passes > 1.0
    assert worst(model, expected) < 2e-6


def test_images_that_fill_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layerwise, "free_memory", lambda device: 4 * X[:20].nbytes)
    with pytest.raises(InputError, match=r"the images alone .* give examples="):
        precise(mixed(), parts(X, 8), method="layerwise")


def test_an_interrupt_ends_all_forwards_and_changes_nothing() -> None:
    model = mixed()
    before, calls = memory_of(model), 0

    def forward(model: nn.Module, batch: Tensor) -> None:
        nonlocal calls
        calls += 1
        if calls == 9:
            raise KeyboardInterrupt
        model(batch)

    with pytest.raises(KeyboardInterrupt):
        precise(model, parts(X, 8), method="layerwise", forward=forward)
    torch.testing.assert_close(memory_of(model), before, rtol=0, atol=0)


def test_progress_counts_examples_of_all_layers() -> None:
    seen: list[tuple[int, int | None, str]] = []
    precise(mixed(), parts(X, 24), method="layerwise", progress=lambda *step: seen.append(step))
    steps = [step for step in seen if step[0]]
    assert [step[2] for step in steps] == ["stem.1", "bn1", "bn2", "down.1", "left.1", "right.0", "last"]
    assert steps[-1][:2] == (7 * 48, 7 * 48)
    assert seen[0] == (0, None, "loading, 24 examples")


def ambient() -> dict[str, Any]:
    return {
        "gradients": torch.is_grad_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "cache": torch.is_autocast_cache_enabled(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
    }


def test_a_run_has_the_callers_surroundings_and_can_stop_anywhere() -> None:
    found: list[dict[str, Any]] = []
    trace: list[str] = []

    def work() -> None:
        found.append(ambient())
        for step in range(3):
            trace.append(f"in {step}")
            run.pause()

    with torch.device("meta"), torch.autocast("cpu", dtype=torch.float16, cache_enabled=False), torch.no_grad():
        expected = ambient()
        run = Run(work, Ambient(torch.device("cpu")))
        while run.resume():
            trace.append("out")
    assert found == [expected]
    assert trace == ["in 0", "out", "in 1", "out", "in 2", "out"]


def test_a_run_hands_its_error_over_and_unwinds_when_cancelled() -> None:
    def fail() -> None:
        raise KeyError("inside")

    run = Run(fail, Ambient(torch.device("cpu")))
    with pytest.raises(KeyError, match="inside"):
        run.resume()
    run.cancel()
    unwound: list[bool] = []

    def wait() -> None:
        try:
            paused.pause()
        finally:
            unwound.append(True)

    paused = Run(wait, Ambient(torch.device("cpu")))
    assert paused.resume()
    paused.cancel()
    assert unwound == [True]
    Run(wait, Ambient(torch.device("cpu"))).cancel()  # never begun
    assert unwound == [True]


def test_the_live_set_counts_storages_that_are_still_referred_to() -> None:
    model = nn.Linear(3, 5)
    live = LiveSet(model)
    with live:
        a = torch.zeros(10)
        b = a.view(2, 5)  # the same storage
        c = torch.zeros(100)
        _ = model.weight.t()  # a parameter's
        assert live.bytes() == 440
        del a, c
        assert live.bytes() == 40
        del b
        assert live.bytes() == 0


def test_free_memory_is_plausible() -> None:
    assert 2**20 < free_memory(torch.device("cpu")) < 2**50
