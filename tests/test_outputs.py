"""What a model returns is read by one rule wherever it is called; rows that name no class are mistakes by one rule.

Kind     a model whose output is no tensor of logits (N, K)
Case     a network with auxiliary heads that returns a tuple in training: one line that says so, exit code 2
Besides  a named tuple, a list, a dictionary, None, an output with `.logits` (read), one with two tensors that could be
         the prediction, other shapes, integers; in training, prediction, attacks, tuning, Fourier heatmaps, mixtures
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from elinvar import attacks, metrics, norm, shift
from elinvar.attacks.goal import Goal
from elinvar.attacks.losses import margin
from elinvar.attacks.result import right
from elinvar.attacks.subject import Subject
from elinvar.check import InputError, InputWarning
from elinvar.cli.main import main
from elinvar.infer import Predictor
from elinvar.outputs import logits_of, probabilities_sure, undecided, warn_of_probabilities, wrong
from elinvar.precision import Compute, Precision
from elinvar.recipe import Infer
from elinvar.shift.fourier_predict import wrong as fourier_wrong

Z = torch.arange(8.0).view(2, 4)
NAN, INF = float("nan"), float("inf")
CPU = Compute.choose(torch.device("cpu"), Precision.FLOAT32)


class Named(NamedTuple):
    logits: Tensor
    aux_logits: Tensor


@dataclass
class Output:
    logits: Tensor
    hidden_states: Tensor | None = None
    loss: Tensor | None = None


class Like(dict[str, Tensor]):
    """As transformers returns it: a dictionary with attributes."""

    @property
    def logits(self) -> Tensor:
        return self["logits"]


OTHERS: dict[str, tuple[Any, str]] = {
    "tuple": ((Z, Z), r"a tuple of 2 \(\(2, 4\), \(2, 4\)\)"),
    "tuple of one": ((Z,), "a tuple of 1"),
    "named tuple": (Named(Z, Z), "a tuple of 2"),
    "list": ([Z, Z, 3], "a list of 3"),
    "dictionary": ({"out": Z, "aux": Z}, "a dictionary with out, aux"),
    "dictionary of logits": ({"logits": Z}, "a dictionary with logits"),
    "two predictions": (Output(Z, Z), "logits and hidden_states may be its prediction"),
    "none": (None, r"nothing \(None\)"),
    "text": ("cat", "a str"),
    "one row": (Z[0], r"shape \(4,\)"),
    "a map": (Z.view(2, 4, 1, 1), r"shape \(2, 4, 1, 1\)"),
    "other rows": (Z[:1], r"shape \(1, 4\)"),
    "no classes": (Z[:, :0], r"shape \(2, 0\)"),
    "integers": (Z.long(), "int64"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_anything_but_logits_is_one_line(name: str) -> None:
    output, text = OTHERS[name]
    with pytest.raises(InputError, match=text) as caught:
        logits_of(output, 2)
    assert "expected" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("output", [Z, Output(Z), Output(Z, torch.zeros(2, 7, 3)), Like(logits=Z)])
def test_tensors_and_the_logits_of_an_output_are_read(output: Any) -> None:
    assert logits_of(output, 2) is Z


class Net(nn.Module):
    """Logits of small images, wrapped as told."""

    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.wrap = wrap
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 4))

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.net(x))


def images(count: int = 6) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))


TARGETS = torch.arange(6) % 4
CALLS: dict[str, Callable[[nn.Module], object]] = {
    "predictor": lambda net: Predictor(net, Infer(), CPU)(images()),
    "frames": lambda net: Predictor(net, Infer(), CPU).frames([images(), images()]),
    "fgsm": lambda net: attacks.fgsm(net, images(), TARGETS),
    "spsa": lambda net: attacks.spsa(net, images(), TARGETS, samples=2, steps=1),
    "subject": lambda net: Subject(net).logits(images()),
    "heatmap": lambda net: shift.fourier_heatmap(net, images(), TARGETS, norm=1.0, radius=1),
    "low pass": lambda net: shift.low_pass_curve(net, images(), TARGETS),
    "tune": lambda net: norm.tune(net, [(images(), TARGETS)], apply=False),
    "mixture": lambda net: norm.Mixture(norm.convert(net, norm.split()), {"main": 1.0}).eval()(images()),
}


@pytest.mark.parametrize("place", CALLS)
def test_wherever_a_model_is_called(place: str) -> None:
    for wrap in (lambda y: (y, y), lambda y: {"out": y}):
        with pytest.raises(InputError, match=r"the model returned a (tuple of 2|dictionary with out)"):
            CALLS[place](Net(wrap))
    CALLS[place](Net(Output))


class Auxiliary(Net):
    """Two heads in training, as Inception has them."""

    def __init__(self, num_classes: int = 10, aux_logits: bool = True) -> None:
        super().__init__(lambda y: (y, y) if self.training and aux_logits else y)
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3, 4), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(512, num_classes))


class Softmax(Auxiliary):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)
        self.wrap = lambda y: y.softmax(1)


def test_training_with_auxiliary_heads_is_one_line_and_trains_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "standard", "--set", "train.epochs=1", "--set", "train.batch_size=256"]
    net = ["--set", f"model.name={__name__}.Auxiliary"]
    assert main([*words, *net, "--out", str(tmp_path / "a")]) == 2
    line = capsys.readouterr().err
    assert "the model returned a tuple of 2" in line
    assert "--set model.options.aux_logits=false" in line
    assert line.count("\n") == 1
    assert main([*words, *net, "--set", "model.options.aux_logits=false", "--out", str(tmp_path / "b")]) == 0


@pytest.mark.parametrize("precision", ["FLOAT32", "BFLOAT16"])
def test_training_with_probabilities_is_one_line(
    precision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "standard", "--set", f"model.name={__name__}.Softmax", "--set", f"train.precision={precision}"]
    assert main([*words, "--out", str(tmp_path / "a")]) == 2
    assert "the model returned probabilities" in capsys.readouterr().err


ROWS = torch.tensor(
    [[0.0, 1, 2], [0, NAN, 2], [0, INF, 2], [INF, INF, 0], [-INF, 1, 0], [-INF, -INF, -INF], [NAN, NAN, NAN]]
)


def test_rows_without_a_class_are_mistakes_everywhere() -> None:
    lost = [False, True, True, True, False, True, True]
    assert undecided(ROWS).tolist() == lost
    for target in range(3):
        y = torch.full((7,), target)
        expected = [bad or row.argmax() != target for row, bad in zip(ROWS, lost, strict=True)]
        assert wrong(ROWS, y).tolist() == expected
        assert metrics.mistakes(ROWS, y).tolist() == expected
        assert fourier_wrong(ROWS, y).tolist() == expected
        assert (~right(ROWS, y)).tolist() == expected
        assert Goal(lambda x: x, y, margin).reached(ROWS).tolist() == expected
        towards = Goal(lambda x: x, y, margin, targeted=True)
        assert (~towards.reached(ROWS)).tolist() == expected
        assert metrics.error_rate(ROWS, y) == sum(map(bool, expected)) / 7


P = torch.randn(20, 5, generator=torch.Generator().manual_seed(1)).softmax(1)


@pytest.mark.parametrize(
    ("rows", "sure"),
    [
        (P, True),
        (P.half(), True),
        (P.bfloat16().float(), True),
        (P.double(), True),
        (torch.eye(4), True),  # decisions
        (torch.full((3, 4), 0.25), True),
        (torch.stack([P, P]), True),  # several views
        (torch.tensor([[0.3, 0.7], [0.6, 0.4]]), True),
        (P[:1], False),  # one row may be chance
        (P.log(), False),
        (P.sigmoid(), False),  # in [0, 1], but no distributions
        (torch.rand(20, 5), False),
        (torch.zeros(20, 5), False),  # a last layer that starts at 0
        (torch.ones(20, 1), False),  # one class
        (torch.randn(20, 5), False),
        (P - 0.2 + torch.eye(20, 5), False),
        (torch.full((20, 5), NAN), False),
        (torch.tensor([[1.2, -0.2], [0.5, 0.5]]), False),
    ],
)
def test_probabilities_are_told_from_logits_by_their_sums(rows: Tensor, sure: bool) -> None:
    assert probabilities_sure(rows) is sure


Y = torch.arange(20) % 5
SOFTMAXED: dict[str, Callable[[Tensor], object]] = {
    "nll": lambda z: metrics.negative_log_likelihood(z, Y),
    "accumulated": lambda z: metrics.NegativeLogLikelihood()(z, Y),
    "temperature": lambda z: metrics.fit_temperature(z, Y),
    "scaling": lambda z: metrics.Temperature(2.0)(z),
    "scaled": lambda z: metrics.Temperature(2.0).probabilities(z),
}


@pytest.mark.parametrize("name", SOFTMAXED)
def test_metrics_of_logits_warn_of_probabilities(name: str) -> None:
    skilled = (3 * P + torch.nn.functional.one_hot(Y, 5)) / 4
    with pytest.warns(InputWarning, match="got probabilities"):
        SOFTMAXED[name](skilled)
    SOFTMAXED[name](skilled.log())
    SOFTMAXED[name](skilled.logit())


def test_losses_warn_of_probabilities() -> None:
    from elinvar.objectives import cross_entropy, distillation, jensen_shannon

    calls: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda z: cross_entropy(z, Y),
        lambda z: jensen_shannon(torch.stack([z, z.flip(0)])),
        lambda z: distillation(torch.randn(20, 5), z),
    )
    for call in calls:
        with pytest.warns(InputWarning, match="got probabilities"):
            call(P)
        call(P.log())
    torch.vmap(jensen_shannon)(torch.stack([P, P]).unsqueeze(0))  # values are not looked at


def test_attacks_and_tuning_warn_of_a_model_with_a_softmax() -> None:
    for place in ("fgsm", "tune"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            CALLS[place](Net(lambda y: y.softmax(1)))
        assert any("the model's outputs: got probabilities" in str(warning.message) for warning in caught)
        CALLS[place](Net(lambda y: y.sigmoid()))
    both = norm.Mixture(norm.convert(Net(lambda y: y.softmax(1)), norm.split()), {"main": 0.5, "aux": 0.5}).eval()
    with pytest.warns(InputWarning, match="the model's outputs: got probabilities"):
        both(images())
    both(images())  # once


def test_functions_of_probabilities_refuse_logits() -> None:
    z = P.log() + 3
    for measure in (metrics.brier_score, metrics.top_label, metrics.rms_calibration_error):
        with pytest.raises(InputError, match="for logits use"):
            measure(z, Y)
    with pytest.raises(InputError, match="1 of 20 rows with NaN"):
        metrics.brier_score(P.clone().index_put_((torch.tensor([3]),), torch.tensor(NAN)), Y)
    with pytest.raises(InputError, match="2 of 3 outside of"):
        metrics.top_label(torch.tensor([0.5, 1.5, NAN]), torch.tensor([True, True, False]))


def test_a_warning_is_one_line() -> None:
    with pytest.warns(InputWarning) as caught:
        warn_of_probabilities(P, "z")
    assert "\n" not in str(caught[0].message)
