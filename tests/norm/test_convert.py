"""Converting whole models: what is kept, what is refused, and the way back."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from elinvar import norm
from elinvar.check import InputError


def layer(net: nn.Sequential, place: int) -> Any:
    """A layer of a Sequential, whose attributes mypy cannot know."""
    return net[place]


def model() -> nn.Sequential:
    torch.manual_seed(0)
    shared = nn.BatchNorm2d(4, momentum=0.01, eps=1e-3)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), shared, nn.ReLU(), nn.Conv2d(4, 4, 1), shared,
        nn.BatchNorm2d(4, momentum=None, affine=False), nn.Flatten(), nn.Linear(144, 5), nn.BatchNorm1d(5),
    )  # fmt: skip
    for _ in range(3):
        net(torch.randn(6, 3, 8, 8))
    return net


def test_conversion_changes_no_output_and_restoring_gives_the_model_back() -> None:
    net = model()
    ours = norm.convert(copy.deepcopy(net), norm.batch_norm())
    assert list(ours.state_dict()) == list(net.state_dict())
    assert layer(ours, 1) is layer(ours, 4)
    x = torch.randn(6, 3, 8, 8)
    for training in (True, False):
        net.train(training), ours.train(training)
        assert torch.equal(net(x), ours(x))
    again = norm.convert(ours, norm.batch_norm())
    assert layer(again, 1) is layer(ours, 1)
    back = norm.restore(ours)
    assert [str(a) for a in back] == [str(b) for b in net]
    assert torch.equal(net(x), back(x))
    assert not layer(back, 1).training


def test_branches_start_from_the_layers_own_state_and_checkpoints_load_both_ways() -> None:
    net = model()
    split = norm.convert(copy.deepcopy(net), norm.split(("main", "aux")))
    aux = layer(split, 1).branches["aux"]
    assert torch.equal(aux.running_mean, layer(net, 1).running_mean)
    assert torch.equal(aux.weight, layer(net, 1).weight)
    assert layer(split, 5).policy.affine is norm.Affine.NONE
    assert layer(split, 1).momentum == 0.01
    assert layer(split, 5).momentum is None
    fresh = norm.convert(model(), norm.split(("main", "aux")))
    with torch.no_grad():
        layer(net, 1).running_mean.add_(1)
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(layer(fresh, 1).branches["aux"].running_mean, layer(net, 1).running_mean)
    with torch.no_grad():
        layer(fresh, 1).branches["aux"].running_mean.add_(1)
        layer(fresh, 1).branches["aux"].weight.add_(1)
    restored = norm.restore(fresh, branch="aux")
    assert torch.equal(layer(restored, 1).running_mean, layer(net, 1).running_mean + 1)
    assert torch.equal(layer(restored, 1).weight, layer(net, 1).weight + 1)


def test_mode_dtype_and_frozen_parameters_are_kept() -> None:
    net = model().double().eval()
    layer(net, 1).weight.requires_grad_(False)
    ours = norm.convert(net, norm.split(("main", "aux")))
    assert not layer(ours, 1).training
    assert layer(ours, 1).branches["aux"].running_var.dtype == torch.float64
    assert not layer(ours, 1).weight.requires_grad
    assert not layer(ours, 1).branches["aux"].weight.requires_grad
    assert layer(ours, 1).bias.requires_grad


def test_a_bare_layer_is_converted_too() -> None:
    assert isinstance(norm.convert(nn.BatchNorm1d(3), norm.batch_norm()), norm.Norm)
    assert isinstance(norm.restore(norm.Norm(3)), nn.BatchNorm2d)


class Activated(nn.BatchNorm2d):
    pass


def test_an_unknown_subclass_is_refused_by_name_and_nothing_changes() -> None:
    mixed = nn.Sequential(nn.BatchNorm2d(3), Activated(3))
    with pytest.raises(InputError, match=r"test_convert\.Activated.*subclass may do more"):
        norm.convert(mixed, norm.batch_norm())
    assert type(mixed[0]) is nn.BatchNorm2d


def stopped_counting() -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(3)
    layer.track_running_stats = False
    return layer


def without_beta() -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(3)
    layer.register_parameter("bias", None)
    return layer


REFUSED: list[tuple[Callable[[], nn.Module], norm.NormPolicy, str]] = [
    (lambda: nn.BatchNorm2d(3, track_running_stats=False), norm.batch_norm(), r"norm\.no_memory"),
    (lambda: nn.LazyBatchNorm2d(), norm.batch_norm(), "run a forward"),
    (stopped_counting, norm.batch_norm(), r"track_running_stats=False.*norm\.freeze"),
    (without_beta, norm.batch_norm(), "only one of gamma and beta"),
    (lambda: nn.Linear(3, 3), norm.batch_norm(), "Linear has no BatchNorm layer to convert$"),
    (
        lambda: nn.Sequential(nn.LayerNorm(3), nn.GroupNorm(1, 3)),
        norm.batch_norm(),
        "its GroupNorm, LayerNorm never looks at other examples.*group_norm=True",
    ),
]


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize(("make", "policy", "text"), REFUSED)
def test_what_cannot_be_converted_is_refused(make: Callable[[], nn.Module], policy: norm.NormPolicy, text: str) -> None:
    with pytest.raises(InputError, match=text):
        norm.convert(make(), policy)


def test_a_branch_that_is_not_there_cannot_be_restored() -> None:
    with pytest.raises(InputError, match="no branch 'x'"):
        norm.restore(norm.Norm(3), branch="x")


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_a_lazy_layer_that_saw_an_input_is_a_plain_one() -> None:
    net = nn.Sequential(nn.LazyBatchNorm2d())
    net(torch.randn(2, 3, 4, 4))
    assert isinstance(norm.convert(net, norm.batch_norm())[0], norm.Norm)


def test_sync_layers_go_on_syncing_unless_the_policy_says_otherwise() -> None:
    net: Any = nn.Sequential(nn.SyncBatchNorm(4), nn.BatchNorm2d(4))
    norm.convert(net, norm.split())
    workers = [each.policy.sharing.workers for each in net]
    assert workers == [norm.Workers(), None]
    again = list(net)
    assert list(norm.convert(net, norm.split())) == again
    norm.convert(net, norm.ghost(2))
    assert net[0].policy == net[1].policy
    norm.convert(net, norm.batch_norm())
    assert net[0].policy.sharing.workers == norm.Workers()
    assert [type(each) for each in norm.restore(net)] == [nn.SyncBatchNorm, nn.BatchNorm2d]


def test_a_first_branch_of_another_name_keeps_its_parameters() -> None:
    net: Any = norm.convert(model(), norm.split(("main", "aux")))
    main, aux = net[1].weight, net[1].branches["aux"].weight
    norm.convert(net, norm.split(("clean", "aux")))
    assert net[1].weight is main
    assert net[1].branches["aux"].weight is aux
    norm.convert(net, norm.split(("aux", "clean")))
    assert net[1].weight is aux
    assert net[1].branches["clean"].weight is main
    norm.convert(net, norm.split(("new", "aux")))
    assert net[1].branches["aux"].weight is aux
    assert len({id(p) for p in net[1].parameters()}) == 4
    restored: Any = norm.restore(net)
    assert restored[1].bias is not None
    assert restored[1] is restored[4]


def test_branches_that_shared_gamma_and_beta_get_their_own() -> None:
    names = ("a", "b", "c")
    net: Any = norm.convert(norm.convert(model(), norm.split(names, "shared")), norm.split(names))
    assert len({id(parameter) for parameter in net[1].parameters()}) == 6
    assert all(torch.equal(net[1].bank(name).weight, net[1].weight) for name in names)


def grouped() -> Any:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.GroupNorm(8, 8, affine=False))
    with torch.no_grad():
        net[1].weight.normal_()  # type: ignore[operator]
    return net


def test_group_norm_layers_learn_to_weigh_examples() -> None:
    net, x = grouped(), torch.randn(5, 3, 8, 8)
    ours = norm.convert(copy.deepcopy(net), norm.example_weighted(1.0), group_norm=True)
    assert list(ours.state_dict())[2:4] == list(net.state_dict())[2:4]
    torch.testing.assert_close(ours.eval()(x), net(x))
    torch.testing.assert_close(ours.train()(x), net(x))
    assert ours[1].num_batches_tracked == 1  # and now there is a memory
    seen = net[0](x).transpose(0, 1).reshape(8, -1)
    torch.testing.assert_close(ours[1].running_mean, 0.1 * seen.mean(1))
    layers = list(ours)
    assert list(norm.convert(ours, norm.example_weighted(1.0), group_norm=True)) == layers
    weighted = norm.convert(ours, norm.example_weighted(0.9), group_norm=True).eval()
    assert not torch.allclose(weighted(x), net(x))
    norm.freeze(nn.Sequential(weighted, nn.BatchNorm2d(8)))
    assert isinstance(weighted[1].policy.memory, norm.Ema)  # statistics of an example cannot freeze
    back = norm.restore(weighted)
    assert [str(a) for a in back] == [str(b) for b in net]
    assert back[1].weight is layers[1].weight
    assert torch.equal(back(x), net(x))


def test_group_norm_layers_are_asked_for() -> None:
    mixed: Any = nn.Sequential(nn.BatchNorm2d(4), nn.GroupNorm(2, 4))
    assert type(norm.convert(mixed, norm.ghost(2))[1]) is nn.GroupNorm
    with pytest.raises(InputError, match="inside of an example"):
        norm.convert(mixed, norm.ghost(2) | norm.example_weighted(0.5), group_norm=True)
    with pytest.raises(InputError, match=r"norm\.example_weighted\(1\.0\)"):
        norm.convert(mixed, norm.batch_norm(), group_norm=True)
    norm.convert(mixed, norm.example_weighted(0.5), group_norm=True)
    norm.convert(mixed, norm.ghost(2))
    assert mixed[1].policy.sharing.ghosts == norm.Ghosts(1)


def test_an_optimizer_built_before_goes_on_training_the_same_parameters() -> None:
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    norm.convert(net, norm.batch_norm())
    assert {id(p) for p in net.parameters()} == held
    before = layer(net, 1).weight.detach().clone()
    net(torch.randn(6, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(layer(net, 1).weight, before)


def test_more_branches_and_old_checkpoints_start_from_the_first() -> None:
    two = norm.convert(model(), norm.split(("main", "aux")))
    with torch.no_grad():
        layer(two, 1).branches["aux"].running_mean.add_(1)
    old = {key: value for key, value in model().state_dict().items() if "num_batches" not in key}
    two.load_state_dict(old)
    layer(two, 1).branches["aux"].weight.requires_grad_(False)
    three = norm.convert(two, norm.split(("main", "aux", "third")))
    assert torch.equal(layer(three, 1).branches["third"].running_mean, layer(three, 1).running_mean)
    assert layer(three, 1).weight.requires_grad
    assert layer(three, 1).branches["third"].weight.requires_grad
    assert not layer(three, 1).branches["aux"].weight.requires_grad


def keys_of(key: Callable[[int, str], str], affine: bool = True) -> dict[str, torch.Tensor]:
    """A checkpoint of two layers with three branches each; `key` names a tensor of a branch."""
    names = (*(("weight", "bias") if affine else ()), "running_mean", "running_var", "num_batches_tracked")
    counted = {
        f"{layer}.{key(branch, name)}": torch.full((4,) if name != "num_batches_tracked" else (), 10 * branch + place)
        for layer in (0, 1)
        for branch in range(3)
        for place, name in enumerate(names, start=0 if affine else 2)
    }
    if not affine:
        counted |= {f"{layer}.{name}": torch.full((4,), place) for layer in (0, 1) for place, name in enumerate(AFFINE)}
    return counted


AFFINE = ("weight", "bias")


@pytest.mark.parametrize("affine", ["separate", "shared"])
@pytest.mark.parametrize(
    "key",
    [
        lambda branch, name: f"aux_bn.{branch - 1}.{name}" if branch else name,
        lambda branch, name: f"{branch}.{name}",
        lambda branch, name: f"branches.{' bc'[branch]}.{name}" if branch else f"batchnorm.{name}",
    ],
    ids=["timm", "detectron2", "composer"],
)
def test_checkpoints_of_other_libraries_are_translated(key: Callable[[int, str], str], affine: str) -> None:
    net: Any = nn.Sequential(nn.BatchNorm2d(4), nn.BatchNorm2d(4))
    norm.convert(net, norm.split(("a", "b", "c"), affine=affine))
    state = keys_of(key, affine == "separate")
    before = dict(state)
    norm.import_state_dict(net, state)
    assert state == before
    for layer in net:
        for number, branch in enumerate("abc"):
            bank, (weight, bias) = layer.bank(branch), layer.affine_of(branch)
            at = 10 * number if affine == "separate" else 0
            assert torch.equal(weight, torch.full((4,), float(at)))
            assert torch.equal(bias, torch.full((4,), at + 1.0))
            assert torch.equal(bank.running_mean, torch.full((4,), 10 * number + 2.0))
            assert torch.equal(bank.running_var, torch.full((4,), 10 * number + 3.0))
            assert bank.num_batches_tracked == 10 * number + 4


def test_plain_checkpoints_and_what_does_not_fit() -> None:
    layer = norm.Norm(4, norm.split())
    plain = nn.BatchNorm1d(4)
    nn.init.normal_(plain.weight)
    norm.import_state_dict(layer, plain.state_dict())
    assert torch.equal(layer.get_parameter("branches.aux.weight"), plain.weight)
    with pytest.raises(InputError, match=r"a branch number 2 for 'the layer'.*\('main', 'aux'\)"):
        norm.import_state_dict(layer, {"aux_bn.1.weight": torch.zeros(4)})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        norm.import_state_dict(layer, {**plain.state_dict(), "extra": torch.zeros(1)})
    assert norm.import_state_dict(layer, {"extra": torch.zeros(1)}, strict=False).unexpected_keys == ["extra"]
