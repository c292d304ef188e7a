"""Weights go into a model all of them or none, also into one that cannot be copied.

Tried: models with the older weight_norm, the older spectral norm and pruning; weights that lack names, that have others
and of other shapes, with names in every order; what hooks of loading do; tied parameters; buffers that checkpoints
leave out; several branches from a plain checkpoint; and such models through training, continuing, judging, averaged
weights, attacks, measuring and tuning.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elinvar import attacks, norm
from elinvar.check import InputError, InputWarning
from elinvar.cli.main import main
from elinvar.norm.copying import copied
from elinvar.objectives import CrossEntropy
from elinvar.optimization import Sgd
from elinvar.precision import Compute
from elinvar.recipe import Train
from elinvar.rng import Seeds
from elinvar.train import load_into
from elinvar.train.step import Step

prune: Any = torch.nn.utils.prune
older: Any = torch.nn.utils
X = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*weight_norm:FutureWarning", "ignore:.*spectral_norm:FutureWarning", "ignore:.*weight_norm:UserWarning"
)


def network(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    net(torch.rand(8, 3, 8, 8))
    return net


COMPUTED: dict[str, Callable[[Any], Any]] = {
    "weight_norm": lambda net: older.weight_norm(net[0]),
    "spectral_norm": lambda net: older.spectral_norm(net[0]),
    "pruned": lambda net: prune.l1_unstructured(net[0], "weight", amount=0.5),
    "all": lambda net: [older.weight_norm(net[4]), prune.random_unstructured(net[0], "bias", amount=2)],
}


def make(how: str, seed: int = 0) -> Any:
    net = network(seed)
    COMPUTED[how](net)
    net(X)
    return net.eval()


def state(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


@pytest.mark.parametrize("how", COMPUTED)
def test_models_that_cannot_be_copied_get_their_weights(how: str) -> None:
    trained, fresh = make(how), make(how, seed=1)
    if how != "spectral_norm":
        with pytest.raises(RuntimeError, match="deepcopy"):
            copy.deepcopy(fresh)
    load_into(fresh, state(trained), source="here")
    assert torch.equal(fresh(X), trained(X))
    again = copied(trained)
    assert torch.equal(again(X), trained(X))
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.mul_(2)
    assert torch.equal(fresh(X), trained(X))
    assert not torch.equal(again(X), trained(X))


FAULTY: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "lacks the last": (lambda of: of.popitem(), "it lacks 4.* and 0 more"),
    "lacks all": (lambda of: of.clear(), "it lacks 0."),
    "has more": (lambda of: of.update(other=X), "does not know its other and 0 more"),
    "has another shape at the end": (lambda of: of.update({"4.bias": X}), "size mismatch for 4.bias"),
    "has another shape first": (lambda of: of.update({next(iter(of)): X}), "size mismatch for 0."),
}


@pytest.mark.parametrize("how", COMPUTED)
@pytest.mark.parametrize("fault", FAULTY)
def test_weights_that_do_not_fit_change_nothing(how: str, fault: str) -> None:
    net, weights = make(how), state(make(how, seed=1))
    spoil, text = FAULTY[fault]
    spoil(weights)
    before, tensors, out = state(net), list(net.parameters()), net(X).detach()
    with pytest.raises(InputError, match=f"here: weights of another architecture.*{text}"):
        load_into(net, weights, source="here")
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(a is b for a, b in zip(net.parameters(), tensors, strict=True))
    assert torch.equal(net(X), out)


def test_what_hooks_change_while_loading_comes_back_too() -> None:
    net = network()
    net[1].register_buffer("seen", torch.zeros(()), persistent=False)
    net[4].weight_again = net[4].weight  # tied by another name

    def count(module: Any, *_: Any) -> None:
        module.seen.add_(1)
        module.weight = nn.Parameter(torch.zeros(4))

    net[1].register_load_state_dict_pre_hook(count)
    weights, gamma = state(net), net[1].weight
    del weights["0.bias"]
    with pytest.raises(InputError, match=r"it lacks 0\.bias"):
        load_into(net, weights, source="here")
    assert net[1].seen == 0
    assert net[1].weight is gamma
    net[1].register_load_state_dict_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load_into(net, weights, source="here")
    assert net[1].seen == 0
    assert net[4].weight_again is net[4].weight


def test_plain_weights_fit_models_with_branches() -> None:
    plain, split = network(), norm.convert(network(seed=1), norm.split(("main", "aux")))
    load_into(split, state(plain), source="here")
    assert torch.equal(split[1].branches["aux"].running_mean, plain[1].running_mean)
    with pytest.raises(InputError, match=r"does not know its 1\.branches\.aux"):
        load_into(plain, state(split), source="here")


@pytest.mark.parametrize("how", COMPUTED)
def test_attacks_leave_such_models_as_they_are(how: str) -> None:
    net = make(how)
    before, out = state(net), net(X).detach()
    images = attacks.pgd_attack(steps=2)(net, X, torch.arange(4))
    assert not torch.equal(images, X)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert torch.equal(net(X), out)


def test_a_step_names_what_its_optimizer_does_not_train() -> None:
    net = norm.convert(network(), norm.batch_norm())
    compute = Compute.choose(torch.device("cpu"))
    settings = Train(objective=CrossEntropy(over=("clean",)))
    optimizer = Sgd(lr=0.1).build(net)
    Step(net, settings, optimizer, Seeds(), compute)
    net.add_module("late", nn.Linear(5, 5))
    with pytest.warns(InputWarning, match=r"does not hold late\.weight, late\.bias of the model"):
        Step(net, settings, optimizer, Seeds(), compute)
    net.get_submodule("late").requires_grad_(False)
    Step(net, settings, optimizer, Seeds(), compute)


CODE = """
import torch
from torch import nn
from torch.nn.utils import prune


def make(num_classes=10):
    net = nn.Sequential(
        nn.utils.weight_norm(nn.Conv2d(3, 8, 3, 4)), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.Flatten(),
        nn.Linear(512, num_classes),
    )
    prune.l1_unstructured(net[3], "weight", amount=20)
    return net
"""


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_such_models_are_trained_continued_judged_and_tuned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "reparametrized.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    run = str(tmp_path / "run")
    settings = ["model.name=reparametrized.make", "train.epochs=1", "train.ema=0.9"]
    train = ["train", "standard", "--data", "digits", "--threads", "1", "--out", run]
    train += [word for setting in settings for word in ("--set", setting)]
    assert main(train) == 0, capsys.readouterr().err
    assert main(train) == 0, capsys.readouterr().err  # read and found to be finished
    assert main(["evaluate", run, "--trust", "--suites", "clean"]) == 0, capsys.readouterr().err
    assert main(["tune", run, "--trust", "--precise", "20", "--examples", "20", "--alphas", "0.1"]) == 0
