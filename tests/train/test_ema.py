"""The average of weights: what trains and the running statistics of normalization are averaged, all else is copied.

The average of unit vectors is shorter than 1, that of a mask is no mask, and that of an index points elsewhere.

Tried: spectral_norm as parametrization (the spectral norm of each layer stays 1) and as hook, weight_norm as both,
orthogonal parametrization, a pruning mask, a relative position index, a rotary table in and out of the state dict, a
queue of features that moves, a float counter, complex and boolean buffers; tied, frozen and complex parameters, unit
vectors that are parameters without gradient; running statistics of torch, of our layers with two branches, of timm's
split layer, and of a layer of the user's own that keeps them under torch's names; bfloat16; a compiled model, whose
names have a prefix; checkpoints of an average over everything, without the average, and of another architecture.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from elinvar import data, norm
from elinvar.check import InputError
from elinvar.precision import Compute, Precision
from elinvar.recipe import Model, Recipe
from elinvar.recipes import standard
from elinvar.rng import Seeds
from elinvar.train import Run, fit, trained_model
from elinvar.train.checkpoint import complete, read, save_tensors
from elinvar.train.ema import WeightEma, averages
from libraries import load

DECAY = 0.5
CPU = Compute.choose(torch.device("cpu"), Precision.FLOAT32)


class Odd(nn.Module):
    """A linear layer with everything that a state dict may hold beside what trains."""

    index: Tensor
    mask: Tensor
    rotary: Tensor
    hidden: Tensor
    queue: Tensor
    seen: Tensor
    phase: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.tied = nn.Linear(6, 6)
        self.tied.weight = self.linear.weight
        self.frozen = nn.Parameter(torch.ones(6), requires_grad=False)
        self.unit = nn.Parameter(nn.functional.normalize(torch.randn(6), dim=0), requires_grad=False)
        self.spectrum = nn.Parameter(torch.ones(4, dtype=torch.complex64))
        self.register_buffer("index", torch.arange(6))
        self.register_buffer("mask", torch.tensor([True, False] * 3))
        self.register_buffer("rotary", torch.linspace(0, 1, 6))
        self.register_buffer("hidden", torch.linspace(0, 1, 6), persistent=False)
        self.register_buffer("queue", torch.zeros(4, 6))
        self.register_buffer("seen", torch.tensor(0.0))
        self.register_buffer("phase", torch.ones(6, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.queue.copy_(torch.cat([x[:1], self.queue[:-1]]))
                self.seen.add_(len(x))
                self.phase.mul_(1j)
                self.unit.copy_(nn.functional.normalize(self.linear.weight @ self.unit, dim=0))
        x = self.tied(self.linear(x[:, self.index]).where(self.mask, 0.0) * self.rotary * self.hidden)
        x = torch.fft.irfft(torch.fft.rfft(x) * self.spectrum, n=6)
        return x * self.frozen + self.unit


class OwnNorm(nn.Module):
    """A normalization layer that derives from none of torch's."""

    running_var: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_var", torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.running_var.lerp_(x.detach().var(0), 0.1)
        return x / self.running_var.sqrt()


def hooked_spectral() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.Sequential(nn.utils.spectral_norm(nn.Linear(6, 6)))


def hooked_weight() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 6)))


def pruned() -> nn.Module:
    layer = nn.Linear(6, 6)
    prune.random_unstructured(layer, "weight", amount=0.5)  # type: ignore[no-untyped-call]
    return nn.Sequential(layer)


def branches() -> nn.Module:
    return norm.convert(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)), norm.split(("main", "aux")))


KINDS: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "odd": (Odd, {"linear.weight", "linear.bias", "tied.weight", "tied.bias", "spectrum"}),
    "spectral": (
        lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 6))),
        {"0.parametrizations.weight.original", "0.bias"},
    ),
    "hooked spectral": (hooked_spectral, {"0.weight_orig", "0.bias"}),
    "weight norm": (
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 6))),
        {"0.parametrizations.weight.original0", "0.parametrizations.weight.original1", "0.bias"},
    ),
    "hooked weight norm": (hooked_weight, {"0.weight_g", "0.weight_v", "0.bias"}),
    "orthogonal": (
        lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(6, 6))),
        {"0.parametrizations.weight.original", "0.bias"},
    ),
    "pruned": (pruned, {"0.weight_orig", "0.bias"}),
    "batch norm": (
        lambda: nn.Sequential(nn.BatchNorm1d(6)),
        {"0.weight", "0.bias", "0.running_mean", "0.running_var"},
    ),
    "branches": (
        branches,
        {"0.weight", "0.bias"}
        | {
            f"1.{place}{name}"
            for place in ("", "branches.aux.")
            for name in ("weight", "bias", "running_mean", "running_var")
        },
    ),
    "own norm": (lambda: nn.Sequential(nn.Linear(6, 6), OwnNorm()), {"0.weight", "0.bias", "1.running_var"}),
    "compiled": (
        lambda: torch.compile(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)), backend="eager"),
        {f"_orig_mod.{name}" for name in ("0.weight", "0.bias", "1.weight", "1.bias")}
        | {"_orig_mod.1.running_mean", "_orig_mod.1.running_var"},
    ),
}


def moved(model: nn.Module, steps: int = 6) -> tuple[WeightEma, dict[str, Tensor]]:
    """The average after some steps, and what its equation says of every value of the state."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    average = WeightEma(model, DECAY)
    expected = {key: value.detach().clone() for key, value in model.state_dict().items()}
    for step in range(1, steps + 1):
        model(torch.randn(8, 6)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        average.update(model)
        decay = min(DECAY, (1 + step) / (10 + step))
        for key, value in model.state_dict().items():
            expected[key] = decay * expected[key] + (1 - decay) * value
    return average, expected


@pytest.mark.parametrize("kind", KINDS)
def test_what_trains_is_averaged_and_all_else_is_copied(kind: str) -> None:
    torch.manual_seed(0)
    make, wanted = KINDS[kind]
    model = make().train()
    assert averages(model) == wanted
    average, expected = moved(model)
    assert average.state.keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert average.state[key].dtype == value.dtype
        if key in wanted:
            torch.testing.assert_close(average.state[key], expected[key])
        else:
            assert torch.equal(average.state[key], value)


def test_layers_of_norm_one_keep_it_in_the_average() -> None:
    torch.manual_seed(0)
    layers: list[Any] = [parametrizations.spectral_norm(nn.Linear(16, 16)) for _ in range(3)]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    average = WeightEma(model, 0.99)
    for _ in range(200):
        x = torch.randn(32, 16)
        nn.functional.cross_entropy(4 * model(x), x[:, :4].argmax(1)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        average.update(model)
    model.load_state_dict(average.state)
    model.eval()
    for layer in layers:
        assert 0.95 < torch.linalg.matrix_norm(layer.weight, 2).item() < 1.2
        vectors = layer.parametrizations.weight[0]
        for vector in (vectors._u, vectors._v):
            torch.testing.assert_close(vector.norm(), torch.tensor(1.0))


def test_tied_parameters_stay_tied_and_hidden_buffers_stay_the_models() -> None:
    torch.manual_seed(0)
    model = Odd()
    average, _ = moved(model)
    assert torch.equal(average.state["linear.weight"], average.state["tied.weight"])
    model.load_state_dict(average.state)
    assert model.tied.weight is model.linear.weight
    assert torch.equal(model.hidden, torch.linspace(0, 1, 6))


def test_running_statistics_of_layers_that_derive_from_torchs_are_averaged() -> None:
    split = load("timm.layers.split_batchnorm").SplitBatchNorm2d(4, num_splits=2)
    names = {key for key in split.state_dict() if not key.endswith("num_batches_tracked")}
    assert averages(split) == names


def test_bfloat16_is_averaged_in_float32() -> None:
    """1 - 0.001 is 1 in bfloat16: an average in it would not move."""
    model = nn.Linear(1, 1, bias=False).bfloat16()
    nn.init.zeros_(model.weight)
    average = WeightEma(model, 0.999)
    average.steps = 100_000
    nn.init.ones_(model.weight)
    for _ in range(2000):
        average.update(model)
    assert average.state["weight"].item() == pytest.approx(1 - 0.999**2000, rel=1e-4)
    model.load_state_dict(average.state)
    assert model.weight.dtype == torch.bfloat16


def test_a_parameter_that_begins_to_train_is_averaged_from_there() -> None:
    model = nn.Linear(2, 2).bfloat16().requires_grad_(False)
    average = WeightEma(model, 0.5)
    model.requires_grad_(True)
    before = model.weight.detach().float()
    nn.init.zeros_(model.weight)
    average.update(model)
    torch.testing.assert_close(average.state["weight"], before * 2 / 11)


def test_a_checkpoint_of_another_architecture_is_refused() -> None:
    average = WeightEma(nn.Linear(2, 2), 0.5)
    state = dict(average.state)
    with pytest.raises(InputError, match=r"another architecture: bias"):
        average.restore({"weight": state["weight"]}, 3)
    with pytest.raises(InputError, match=r"bias has shape \(1,\), expected \(2,\)"):
        average.restore({**state, "bias": torch.zeros(1)}, 3)
    with pytest.raises(InputError, match=r"another architecture: more"):
        average.restore({**state, "more": torch.zeros(1)}, 3)
    assert average.steps == 0


DIGITS = data.subset(data.load("digits"), train=60, test=20)


class SpectralNet(nn.Module):
    """A network with unit vectors among its buffers."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.fc = parametrizations.spectral_norm(nn.Linear(3 * 64, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(x)[:, :, ::4, ::4].flatten(1))  # type: ignore[no-any-return]


def spectral_recipe() -> Recipe:
    recipe = standard(epochs=1)
    name = "tests.train.test_ema:SpectralNet"
    return replace(recipe, model=Model(name=name), train=replace(recipe.train, batch_size=20, ema=0.9))


def test_an_older_average_over_everything_is_evaluated_with_unit_vectors(tmp_path: Path) -> None:
    recipe, run = spectral_recipe(), Run(tmp_path)
    fit(recipe, DIGITS, run, seeds=Seeds(0), compute=CPU)
    right = trained_model(recipe, DIGITS, run, CPU).state_dict()
    found = read(run.checkpoints)
    assert found is not None
    assert found.ema is not None
    vectors = [key for key in right if key.endswith(("._u", "._v"))]
    assert len(vectors) == 2
    older = {key: value / 2 if key in vectors else value for key, value in found.ema.items()}
    save_tensors(complete(run.checkpoints)[-1] / "ema.safetensors", older)
    again = trained_model(recipe, DIGITS, run, CPU).state_dict()
    assert all(torch.equal(again[key], value) for key, value in right.items())


def test_a_run_without_its_average_is_refused(tmp_path: Path) -> None:
    recipe, run = spectral_recipe(), Run(tmp_path)
    fit(recipe, DIGITS, run, seeds=Seeds(0), compute=CPU)
    (complete(run.checkpoints)[-1] / "ema.safetensors").unlink()
    with pytest.raises(InputError, match=r"lacks ema\.safetensors"):
        trained_model(recipe, DIGITS, run, CPU)
