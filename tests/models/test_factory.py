"""Models by name and by import path: what is built, from which seed, and how mistakes are answered."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from elinvar.check import InputError
from elinvar.models import MODELS, ResNet, Standardized, build

USER = '''
"""Networks that a user wrote."""
from torch import nn

not_callable = 3
instance = nn.Identity()

class Net(nn.Module):
    def __init__(self, num_classes, *, width=4):
        super().__init__()
        self.fc = nn.Linear(3, num_classes)
        self.width = width
    def forward(self, x):
        return self.fc(x.mean((2, 3)))

class Nested:
    @staticmethod
    def small(classes, in_chans=3):
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_chans, classes))

def fixed():
    net = Net(5)
    net.num_classes = 5
    return net

def silent():
    return Net(5)

def anything(pretrained=False, **keywords):
    return Net(**keywords)

def needs(extra, num_classes):
    return Net(num_classes)

def wrong(num_classes):
    return "a string"

def fails(num_classes):
    raise ValueError("no such size")
'''


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "nets.py").write_text(USER)
    (package / "broken.py").write_text("import surely_not_installed\n")
    (package / "half.py").write_text("from torch import no_such_thing\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        del sys.modules[name]


def make(
    name: str, *, channels: int = 3, seed: int | None = 0, options: Mapping[str, Any] | None = None
) -> Standardized:
    mean, std = (0.5,) * channels, (0.25,) * channels
    return build(name, classes=7, mean=mean, std=std, in_channels=channels, options=options or {}, seed=seed)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("wrn-28-10", "resnet-110")])
def test_every_name_takes_bytes_and_gives_logits(name: str) -> None:
    model = make(name, channels=1).eval()
    images = torch.randint(0, 256, (2, 1, 12, 12), dtype=torch.uint8)
    logits = model(images)
    assert logits.shape == (2, 7)
    assert model.classes == 7
    assert torch.equal(logits, model(images.float() / 255))
    assert torch.equal(logits, model.network((images.float() / 255 - 0.5) / 0.25))


def test_a_pattern_names_the_other_wide_resnets() -> None:
    assert len(make("wrn-22-3").network.stages[0]) == 3  # type: ignore[index]
    with pytest.raises(InputError, match="depth 6n"):
        make("wrn-21-3")


def test_options_reach_the_network() -> None:
    network = make("resnet-18", options={"widths": [4, 8, 16, 32]}).network
    assert isinstance(network, ResNet)
    assert network.fc.in_features == 32
    assert any(isinstance(module, nn.Dropout) for module in make("wrn-10-1", options={"dropout": 0.3}).modules())


@pytest.mark.parametrize("name", ["wrn-10-1", "resnet-6", "mine.nets:Net"])
@pytest.mark.usefixtures("user")
def test_weights_depend_on_the_seed_alone(name: str) -> None:
    first = weights(make(name, seed=2**64 - 1))
    torch.rand(3)
    assert torch.equal(first, weights(make(name, seed=2**64 - 1)))
    assert not torch.equal(first, weights(make(name, seed=2**64 - 2)))


def test_a_seed_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    make("wrn-10-1", seed=3)
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(InputError):
        make("wrn-10-1", options={"dropout": 2.0})
    assert torch.equal(before, torch.get_rng_state())


def test_without_a_seed_one_number_is_drawn_from_the_global_generator() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        first, after = weights(make("resnet-6", seed=None)), torch.get_rng_state()
        second = weights(make("resnet-6", seed=None))
        assert not torch.equal(first, second)
        torch.default_generator.manual_seed(5)
        make("wrn-16-1", seed=None)
        assert torch.equal(after, torch.get_rng_state())
        torch.default_generator.manual_seed(5)
        assert torch.equal(first, weights(make("resnet-6", seed=None)))


def test_a_default_device_does_not_change_the_weights() -> None:
    with torch.device("meta"):
        elsewhere = make("resnet-6")
    assert torch.equal(weights(elsewhere), weights(make("resnet-6")))


@pytest.mark.parametrize(
    ("path", "options", "classes"),
    [
        ("mine.nets:Net", {"width": 9}, 7),
        ("mine.nets.Net", {}, 7),
        ("mine.nets:Nested.small", {}, 7),
        ("mine.nets.Nested.small", {}, 7),
        ("mine.nets:anything", {"width": 2}, 7),
        ("mine.nets:needs", {"extra": 1}, 7),
        ("mine.nets:fixed", {}, 5),
        ("mine.nets:silent", {}, None),
    ],
)
@pytest.mark.usefixtures("user")
def test_users_networks(path: str, options: dict[str, Any], classes: int | None) -> None:
    model = make(path, options=options)
    assert model.classes == classes
    assert model(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).shape == (2, classes or 5)
    if "width" in options:
        assert model.network.width == options["width"]


@pytest.mark.usefixtures("user")
def test_users_networks_learn_the_number_of_channels() -> None:
    assert make("mine.nets:Nested.small", channels=2)(torch.rand(2, 2, 4, 4)).shape == (2, 7)


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("wrn-16", {}, "unknown model 'wrn-16': did you mean 'wrn-16-"),
        ("resnet-20", {"shortcuts": "pad"}, "unknown option of model 'resnet-20' 'shortcuts': did you mean 'shortcut'"),
        ("resnet-20", {"blocks": 3}, "model 'resnet-20' with options"),
        ("wrn-10-1", {"classes": 5}, "unknown option"),
        ("nowhere_at_all.net", {}, "there is no module 'nowhere_at_all'"),
        ("nowhere_at_all:net", {}, "there is no module 'nowhere_at_all'"),
        ("mine.netz:Net", {}, "mine has no 'netz'"),
        ("mine.netz.Net", {}, "mine has no 'netz'"),
        ("mine.nets:net", {}, "did you mean 'Net'"),
        ("mine.nets.Net.deeper", {}, "Net has no 'deeper'"),
        ("mine.nets.", {}, "expected an import path"),
        ("mine nets:Net", {}, "expected an import path"),
        ("mine.nets:Net()", {}, "expected an import path"),
        ("mine.broken:Net", {}, "it needs surely_not_installed"),
        ("mine.half:Net", {}, "importing mine.half failed: cannot import name 'no_such_thing'"),
        ("mine.nets:not_callable", {}, "is a int, expected a class or function"),
        ("mine.nets:instance", {}, "is a Identity, expected a class or function"),
        ("mine.nets", {}, "is a module, expected a class or function"),
        ("mine.nets:wrong", {}, "gave a str, expected a torch.nn.Module"),
        ("mine.nets:Net", {"widht": 3}, "did you mean 'width'"),
        ("mine.nets:Net", {"num_classes": 3}, "'num_classes' is an argument of its own"),
        ("mine.nets:needs", {}, "missing a required argument: 'extra'; give it in `options`"),
        ("mine.nets:fails", {}, "no such size"),
        ("mine.nets:anything", {"depth": 3}, "unexpected keyword argument 'depth'"),
    ],
)
@pytest.mark.usefixtures("user")
def test_mistakes_are_answered_in_one_line(path: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make(path, options=options)
    assert "\n" not in str(caught.value)


def test_refuses_numbers_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="in_channels is 1"):
        build("wrn-10-1", classes=3, mean=(0.5,) * 3, std=(0.5,) * 3, in_channels=1)
    with pytest.raises(InputError, match="classes: got 0"):
        build("wrn-10-1", classes=0, mean=(0.5,) * 3, std=(0.5,) * 3)
    with pytest.raises(InputError, match=r"seed: got -1, expected 0 to 2\*\*64"):
        make("wrn-10-1", seed=-1)
