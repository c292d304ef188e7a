"""What is kept of an evaluation belongs to this model on these images: change any one thing, and it is predicted anew.

Tried: a bit of a weight, of a buffer, of a buffer that no state dict holds; a plain attribute; the forward of an
instance, of a class, of a class in a file; a hook; a global that the forward reads; the branch; the number format; the
memory format; an option; a pixel, a target, the order of the images; frost; and nothing at all.
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elinvar import data, norm, shift
from elinvar.data import ArraySplit, DataSet
from elinvar.data.generating import Generator
from elinvar.infer import Evaluation, Generated, Predictor, record
from elinvar.infer.identity import few_logits, same_logits, settings
from elinvar.models import build
from elinvar.precision import Compute, Precision
from elinvar.recipe import Infer

CPU = Compute.choose(torch.device("cpu"), Precision.FLOAT32)
DIGITS = data.subset(data.load("digits", size=8), train=10, test=40)
GAIN = {"factor": 1.0}


class Net(nn.Module):
    """Everything that a forward can depend on, once each."""

    shown: Tensor
    hidden: Tensor

    def __init__(self) -> None:
        super().__init__()
        made = torch.randn(10, 192, generator=torch.manual_seed(0))
        self.weight = nn.Parameter(made)
        self.register_buffer("shown", torch.ones(()))
        self.register_buffer("hidden", torch.ones(()), persistent=False)
        self.scale = 1.0

    def forward(self, images: Tensor) -> Tensor:
        x = images.float().div(255).flatten(1)
        return GAIN["factor"] * self.scale * self.shown * self.hidden * (x @ self.weight.T)


def flip(tensor: Tensor) -> None:
    """Change the last bit of the first number."""
    with torch.no_grad():
        tensor.view(-1)[:1].view(torch.int32).bitwise_xor_(1)


def with_image(change: Callable[[ArraySplit], tuple[Tensor, Tensor]]) -> DataSet:
    assert isinstance(DIGITS.test, ArraySplit)
    return replace(DIGITS, test=ArraySplit(*change(DIGITS.test)))


def a_pixel(split: ArraySplit) -> tuple[Tensor, Tensor]:
    images = split.images.clone()
    images[-1, 0, 0, 0] ^= 1
    return images, split.targets


def a_target(split: ArraySplit) -> tuple[Tensor, Tensor]:
    targets = split.targets.clone()
    targets[-1] = (targets[-1] + 1) % 10
    return split.images, targets


Change = Callable[[Net, pytest.MonkeyPatch], dict[str, Any] | None]


def by_hook(net: Net, _: pytest.MonkeyPatch) -> None:
    net.register_forward_hook(lambda module, given, logits: 2 * logits)


def by_instance(net: Net, patch: pytest.MonkeyPatch) -> None:
    plain = net.forward
    patch.setattr(net, "forward", lambda images: 2 * plain(images))


def first_pixels(net: Net, images: Tensor) -> Tensor:
    return images.flatten(1)[:, :10].float()


CHANGES: dict[str, Change] = {
    "a weight": lambda net, patch: flip(net.weight),
    "a buffer": lambda net, patch: flip(net.shown),
    "a hidden buffer": lambda net, patch: flip(net.hidden),
    "an attribute": lambda net, patch: setattr(net, "scale", 1.5),
    "a forward": by_instance,
    "a hook": by_hook,
    "a global": lambda net, patch: patch.setitem(GAIN, "factor", 1.5),
    "a method of the class": lambda net, patch: patch.setattr(
        Net, "forward", lambda self, x: x.flatten(1)[:, :10].float()
    ),
    "a branch": lambda net, patch: {"infer": Infer(branch="other")},
    "a number format": lambda net, patch: {"compute": replace(CPU, dtype=torch.bfloat16)},
    "a memory format": lambda net, patch: {"compute": replace(CPU, memory_format=torch.channels_last)},
    "a pixel": lambda net, patch: {"data": with_image(a_pixel)},
    "a target": lambda net, patch: {"data": with_image(a_target)},
    "the order": lambda net, patch: {"data": with_image(lambda split: (split.images.flip(0), split.targets.flip(0)))},
    "an option": lambda net, patch: {"about": {"option": 2}},
}


def run(folder: Path, net: nn.Module, **how: Any) -> tuple[Evaluation, int]:
    """An evaluation, and how many images it predicted."""
    how = {"infer": Infer(), "compute": CPU, "data": DIGITS, **how}
    predictor, seen = Predictor(net, how.pop("infer"), how.pop("compute")), 0
    forward = predictor._forward

    def counted(images: Tensor) -> Tensor:
        nonlocal seen
        seen += len(images)
        return forward(images)

    predictor._forward = counted
    return record(predictor, how.pop("data"), folder, name="net", suites=["clean"], **how), seen


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_is_predicted_anew(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, Net())
    net = Net()
    how = CHANGES[change](net, monkeypatch) or {}
    found, seen = run(tmp_path, net, **how)
    assert seen == 32 + 40
    fresh, _ = run(tmp_path, net, **how, fresh=True)
    assert found == fresh


def test_a_model_of_ours_is_the_same_before_and_after_it_predicted() -> None:
    """Layers note something at their first forward."""
    net = build("wrn-10-1", classes=10, mean=DIGITS.mean, std=DIGITS.std, seed=0)
    predictor = Predictor(norm.convert(net, norm.split(("main", "aux"))), Infer(), CPU)
    before = list(settings(predictor.judged))
    few_logits(predictor, DIGITS.test)
    assert list(settings(predictor.judged)) == before


def test_nothing_changed_nothing_is_predicted_but_a_few(tmp_path: Path) -> None:
    first, _ = run(tmp_path, Net())
    again, seen = run(tmp_path, Net())
    assert (again, seen) == (first, 32)


def test_an_interruption_does_not_bring_old_predictions_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model changes, its evaluation stops before the corruptions, and goes on: theirs are of the new model."""
    few = Generated(DIGITS.test)
    record(Predictor(Net(), Infer(), CPU), DIGITS, tmp_path, name="net", images=few)
    monkeypatch.setitem(GAIN, "factor", 1.5)
    run(tmp_path, Net())
    found = record(Predictor(Net(), Infer(), CPU), DIGITS, tmp_path, name="net", images=few)
    fresh = record(Predictor(Net(), Infer(), CPU), DIGITS, tmp_path / "new", name="net", images=few)
    assert found == fresh


def test_another_recipe_of_frost_is_another_corruption(tmp_path: Path) -> None:
    grown = shift.frost_textures()
    other = shift.FrostTextures(tuple(255 - picture for picture in grown.pictures), False, "elsewhere")
    assert Generated(DIGITS.test, Generator(frost=other)).identity("frost") != Generated(DIGITS.test).identity("frost")
    assert Generated(DIGITS.test, Generator(frost=other)).identity("fog") == Generated(DIGITS.test).identity("fog")


def test_the_code_of_a_users_file_counts_even_where_outputs_do_not_change(tmp_path: Path) -> None:
    """Another path for pictures that are brighter than any of the few."""
    text = (
        "from torch import nn\nclass Own(nn.Flatten):\n    def forward(self, x):\n"
        "        return super().forward(x)[:, :10].float()"
    )
    (tmp_path / "own_net_of_identity.py").write_text(text)
    sys.path.insert(0, str(tmp_path))
    try:
        module = importlib.import_module("own_net_of_identity")
        run(tmp_path / "out", module.Own())
        assert run(tmp_path / "out", module.Own())[1] == 32
        (tmp_path / "own_net_of_identity.py").write_text(f"{text} * 1.0\n")
        module = importlib.reload(module)
        assert run(tmp_path / "out", module.Own())[1] == 32 + 40
    finally:
        sys.path.remove(str(tmp_path))
        del sys.modules["own_net_of_identity"]


@pytest.mark.parametrize(
    ("kept", "anew", "dtype", "same"),
    [
        ([[1.0, 2.0]], [[1.0, 2.0]], torch.float32, True),
        ([[1.0, 2.0]], [[1.0, 2.0001]], torch.float32, True),
        ([[1.0, 2.0]], [[1.0, 2.001]], torch.float32, False),
        ([[1.0, 2.0]], [[1.0, 2.01]], torch.bfloat16, True),
        ([[1.0, 2.0]], [[1.0, 2.1]], torch.bfloat16, False),
        ([[1.0, float("nan")]], [[1.0, float("nan")]], torch.float32, True),
        ([[1.0, float("nan")]], [[1.0, 2.0]], torch.float32, False),
        ([[0.0, 0.0]], [[0.0, 1e-9]], torch.float32, False),
        ([[1.0]], [[1.0, 2.0]], torch.float32, False),
    ],
)
def test_what_counts_as_rounding(
    kept: list[list[float]], anew: list[list[float]], dtype: torch.dtype, same: bool
) -> None:
    assert same_logits(torch.tensor(kept), torch.tensor(anew), dtype) is same
