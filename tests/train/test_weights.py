"""Weights are found wherever a script or a wrapper put them, and never where they are those of something else.

Kind     a file whose tensors are not simply named as the model's
Cases    under "net" with an accuracy (pytorch-cifar), under "model_state_dict" with an epoch, of an AveragedModel
Besides  of DataParallel, of torch.compile as a whole and in a part, of Lightning with a loss beside the model, nested
         twice, safetensors, with an optimizer; a network whose own child is called `module` or `model`; two states that
         fit, alike or not; a part of a larger model; a partial fit, other shapes, no weights, a list, an empty file
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from elinvar.check import InputError, InputWarning
from elinvar.models import Standardize, Standardized
from elinvar.train import load_into, read_weights

State = dict[str, Tensor]


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))


def states(seed: int = 0) -> State:
    return dict(network(seed).state_dict())


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def trained() -> dict[str, Any]:
    """An optimizer's state, whose tensors are none of the model."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.zeros(2, 3, 4, 4)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


FILES: dict[str, Callable[[State], Any]] = {
    "plain": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3, "args": {"lr": 0.1}},
    "net": lambda s: {"net": s, "acc": 93.0, "epoch": 2},
    "model_state_dict": lambda s: {"epoch": 3, "model_state_dict": s, "optimizer_state_dict": trained(), "loss": 0.1},
    "tensor beside": lambda s: {"model": s, "loss": torch.tensor(0.1), "epoch": torch.tensor(3)},
    "numbers between": lambda s: {**s, "acc": 93.0, "epoch": torch.tensor(3)},
    "averaged": lambda s: dict(AveragedModel(filled(s)).state_dict()),
    "averaged, nested": lambda s: {"swa": dict(AveragedModel(filled(s)).state_dict())},
    "parallel": lambda s: under("module.", s),
    "parallel of compiled": lambda s: {"model": under("module._orig_mod.", s)},
    "compiled in a part": lambda s: {name.replace("0.", "0._orig_mod.", 1): value for name, value in s.items()},
    "lightning": lambda s: {"state_dict": under("model.", s), "epoch": 1, "optimizer_states": [trained()]},
    "nested twice": lambda s: {"checkpoint": {"weights": s, "step": 4}, "config": {}},
    "of another word": lambda s: {"params": under("backbone.net.", s)},
    "with null": lambda s: {"model": s, "ema": None, "scheduler": {"last": 3}},
    "without counts": lambda s: {name: value for name, value in s.items() if "num_batches" not in name},
}  # fmt: skip


def filled(state: State) -> nn.Module:
    model = network(9)
    model.load_state_dict(state)
    return model


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("name", FILES)
def test_weights_are_found(name: str, tmp_path: Path) -> None:
    wanted = states(1)
    path = saved(tmp_path / "w.pt", FILES[name](wanted))
    model = network(2)
    load_into(model, read_weights(path, model), source=path)
    for key, value in wanted.items():
        assert model.state_dict()[key].equal(value) or "num_batches" in key


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "a.b.c."])
def test_safetensors_too(prefix: str, tmp_path: Path) -> None:
    save_file(under(prefix, states(1)), tmp_path / "w.safetensors")
    found = read_weights(tmp_path / "w.safetensors", network())
    assert all(found[key].equal(value) for key, value in states(1).items())


@pytest.mark.parametrize("child", ["module", "model", "net", "network", "ema"])
def test_a_network_keeps_the_names_of_its_own_children(child: str, tmp_path: Path) -> None:
    own = nn.Module()
    own.add_module(child, network())
    for wrap in (lambda s: s, lambda s: under("module.", s), lambda s: {"model": s}, lambda s: under(f"{child}.", s)):
        path = saved(tmp_path / "w.pt", wrap(under(f"{child}.", states(1))))
        found = read_weights(path, own)
        assert found.keys() == own.state_dict().keys()
        assert found[f"{child}.0.weight"].equal(states(1)["0.weight"])


def test_elinvar_s_own_files_and_wrapped_ones_fit_with_their_constants(tmp_path: Path) -> None:
    model = Standardized(Standardize((0.5,) * 3, (0.2,) * 3), network(1))
    other = Standardized(Standardize((0.4,) * 3, (0.3,) * 3), network(2))
    for prefix in ("", "module."):
        found = read_weights(saved(tmp_path / "w.pt", under(prefix, dict(model.state_dict()))), other)
        assert found["standardize.mean"].equal(model.standardize.mean)
        assert found["network.0.weight"].equal(states(1)["0.weight"])
        alone = read_weights(tmp_path / "w.pt", other.network)  # constants are not the network's, and known
        assert alone["0.weight"].equal(states(1)["0.weight"])
    found = read_weights(saved(tmp_path / "w.pt", {"net": states(1)}), other)
    assert found.keys() == {f"network.{name}" for name in states()}


@pytest.mark.parametrize(
    ("content", "key", "names"),
    [
        ({"model": states(1), "model_ema": states(2)}, "model_ema", "model, model_ema"),
        ({"state_dict": under("student.", states(1)) | under("teacher.", states(2))}, "state_dict.teacher",
         "state_dict.student, state_dict.teacher"),
        ({"model": states(1), "ema": {"module": states(2)}}, "ema", "model, ema.module"),
        (under("module.", states(1)) | under("ema.module.", states(2)), "ema", "module, ema.module"),
        ({**states(1), "best": states(2)}, "best", "the file itself"),
    ],
)  # fmt: skip
def test_of_two_that_fit_one_is_named(content: Any, key: str, names: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", content)
    if "the file itself" not in names:
        with pytest.raises(InputError, match="choose one, as in --weights-key") as caught:
            read_weights(path, network())
        assert names in str(caught.value)
    assert read_weights(path, network(), key=key)["0.weight"].equal(states(2)["0.weight"])


def test_of_two_that_are_alike_none_needs_to_be_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", {"model": states(1), "ema": states(1)})
    assert read_weights(path, network())["0.weight"].equal(states(1)["0.weight"])


def test_what_is_beside_the_model_is_told_or_refused(tmp_path: Path) -> None:
    loss = {"criterion.weight": torch.ones(5)}
    with pytest.warns(InputWarning, match=r"1 tensors beside 'state_dict.model' are not used: state_dict.criterion"):
        read_weights(saved(tmp_path / "a.pt", {"state_dict": under("model.", states(1)) | loss}), network())
    larger = under("head.", {"weight": torch.ones(5, 16), "bias": torch.ones(5)}) | under("body.", states(1))
    larger = {name: value for name, value in larger.items() if not name.startswith("body.3")}
    with pytest.raises(InputError, match="a part of a larger one") as caught:
        read_weights(saved(tmp_path / "b.pt", larger), nn.Linear(16, 5))
    assert "--weights-key" in str(caught.value)
    part = read_weights(tmp_path / "b.pt", nn.Linear(16, 5), key="head")
    assert part["weight"].equal(torch.ones(5, 16))


FAULTS: dict[str, tuple[Any, str]] = {
    "a list": ([torch.ones(2)], "got a list"),
    "a tensor": (torch.ones(2), "got a Tensor"),
    "empty": ({}, "the file is empty"),
    "numbers": ({"epoch": 3, "acc": 0.5}, "found none; the file holds epoch \\(int\\), acc \\(float\\)"),
    "an optimizer": ({"optimizer": trained(), "epoch": 1}, "found none"),
    "shadow list": ({"decay": 0.9, "shadow_params": [torch.ones(2)]}, "shadow_params \\(1 entries\\)"),
    "partial": ({"net": {k: v for k, v in states().items() if k[0] != "3"}}, "it lacks 3.weight, 3.bias.*net \\("),
    "more": ({"net": {**states(), "4.weight": torch.ones(3)}}, "does not know its 4.weight"),
    "shapes": ({**states(), "3.weight": torch.ones(10, 16), "3.bias": torch.ones(10)}, r"3.weight is \(10, 16\), not"),
    "another": ({"state_dict": {"conv1.weight": torch.ones(3)}}, "it lacks 0.weight, 0.bias, 1.weight and 5 more"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_does_not_fit_is_one_line_with_the_keys(name: str, tmp_path: Path) -> None:
    content, text = FAULTS[name]
    path = saved(tmp_path / "w.pt", content)
    with pytest.raises(InputError, match=text) as caught:
        read_weights(path, Standardized(Standardize((0.5,) * 3, (0.2,) * 3), network()))
    assert str(caught.value).startswith(str(path))
    assert "network." not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_that_is_not_there_is_told_the_nearest(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", {"model": states(1), "model_ema": states(2)})
    with pytest.raises(InputError, match="no weights under 'model_em'; did you mean 'model_ema'"):
        read_weights(path, network(), key="model_em")


def test_without_a_model_the_file_holds_one_state(tmp_path: Path) -> None:
    for content in (states(1), {"net": states(1), "acc": 1.0}, {"a": {"b": under("module.", states(1))}}):
        assert read_weights(saved(tmp_path / "w.pt", content)).keys() == states().keys()
    with pytest.raises(InputError, match="holds several state dicts"):
        read_weights(saved(tmp_path / "w.pt", {"a": states(1), "b": states(2)}))
    assert read_weights(tmp_path / "w.pt", key="b")["0.weight"].equal(states(2)["0.weight"])
