"""A mix of branches is the average of what they predict."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from elinvar import norm
from elinvar.check import InputError
from elinvar.norm.mixture import mix


def split_model(branches: tuple[str, ...] = ("main", "aux")) -> nn.Module:
    """A small network whose branches disagree, in eval mode."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 5))
    norm.convert(model, norm.split(branches))
    layer = model[1]
    assert isinstance(layer, norm.Norm)
    for number, name in enumerate(branches):
        bank = layer.bank(name)
        assert bank.running_mean is not None
        assert bank.running_var is not None
        bank.running_mean.normal_(mean=0.2 * number)
        bank.running_var.fill_(0.5 + number)
    return model.eval()


IMAGES = torch.randn(7, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def alone(model: nn.Module, name: str) -> Tensor:
    with norm.branch(model, name), torch.no_grad():
        logits: Tensor = model(IMAGES)
    return logits


@settings(deadline=None, max_examples=50)
@given(st.floats(0.0, 1.0))
def test_probabilities_are_averaged(share: float) -> None:
    model = split_model()
    got = norm.Mixture(model, {"main": 1 - share, "aux": share})(IMAGES)
    main, aux = (alone(model, name).double().softmax(1) for name in ("main", "aux"))
    torch.testing.assert_close(got.double().softmax(1), (1 - share) * main + share * aux, atol=1e-6, rtol=1e-5)
    if 0 < share < 1:  # then they are logarithms of probabilities
        torch.testing.assert_close(got.exp().sum(1), torch.ones(7))


def test_logits_are_averaged_on_request() -> None:
    model = split_model(("main", "aux", "third"))
    weights = {"third": 0.25, "main": 0.25, "aux": 0.5}
    got = norm.Mixture(model, weights, combine="logits")(IMAGES)
    expected = sum((share * alone(model, name) for name, share in weights.items()), torch.zeros(()))
    torch.testing.assert_close(got, expected)
    other = norm.Mixture(model, weights)(IMAGES)
    assert (other.softmax(1) - got.softmax(1)).abs().max() > 1e-3


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
def test_a_branch_alone_is_itself_bit_for_bit_and_the_other_is_not_computed(combine: str) -> None:
    model = split_model()
    calls: list[int] = []
    model.get_submodule("0").register_forward_hook(lambda *_: calls.append(1))
    given: dict[str, dict[str, float]] = {"main": {"main": 1.0, "aux": 0.0}, "aux": {"aux": 1}}
    for name, weights in given.items():
        expected = alone(model, name)
        calls.clear()
        assert torch.equal(norm.Mixture(model, weights, combine)(IMAGES), expected)
        assert len(calls) == 1


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[[1e4, 0.0, -1e4]], [[-1e4, 0.0, 1e4]]])
    assert mix(logits, (0.5, 0.5)).tolist() == [pytest.approx([math.log(0.5), -1e4, math.log(0.5)])]
    low = mix(logits.bfloat16(), (0.5, 0.5))
    assert low.dtype == torch.float32
    assert torch.isfinite(low).all()


def test_it_is_a_module_that_leaves_no_trace() -> None:
    model = split_model()
    mixture = norm.Mixture(model, {"main": 0.5, "aux": 0.5}).eval()
    before = copy.deepcopy(model.state_dict())
    got = mixture(IMAGES)
    assert torch.equal(copy.deepcopy(mixture)(IMAGES), got)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(module.session is None for module in model.modules() if isinstance(module, norm.Norm))
    assert "aux" in repr(mixture)
    got.sum().backward()
    assert model.get_parameter("0.weight").grad is not None
    with pytest.raises(InputError, match=r"call eval\(\) first"):
        mixture.train()(IMAGES)


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ({"main": 0.5, "ax": 0.5}, "did you mean 'aux'"),
        ({"main": 0.5, "aux": 0.4}, "add up to 1"),
        ({"main": 1.5, "aux": -0.5}, "at least 0"),
        ({"main": math.nan, "aux": 1.0}, "at least 0"),
        ({}, "add up to 1"),
    ],
)
def test_what_are_no_shares_is_refused(weights: dict[str, float], text: str) -> None:
    with pytest.raises(InputError, match=text):
        norm.Mixture(split_model(), weights)


def test_another_way_to_combine_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'logits'"):
        norm.Mixture(split_model(), {"main": 1.0}, combine="logit")


@pytest.mark.parametrize(("branches", "steps", "count"), [(2, None, 11), (3, None, 15), (3, 10, 66), (4, 2, 10)])
def test_mixes_are_all_multiples_of_a_step(branches: int, steps: int | None, count: int) -> None:
    names = [f"b{number}" for number in range(branches)]
    found = norm.mixes(names, steps)
    assert len({tuple(weights.values()) for weights in found}) == len(found) == count
    step = steps or (10 if branches == 2 else 4)
    for weights in found:
        assert list(weights) == names
        assert sum(weights.values()) == pytest.approx(1)
        assert all((share * step) == pytest.approx(round(share * step)) for share in weights.values())


def test_mixes_of_one_branch_or_no_step_are_refused() -> None:
    with pytest.raises(InputError, match="at least two"):
        norm.mixes(("main",))
    with pytest.raises(InputError, match="different"):
        norm.mixes(("main", "aux", "aux"))
    with pytest.raises(InputError, match="at least 1"):
        norm.mixes(("main", "aux"), 0)
