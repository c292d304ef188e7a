"""An optimizer that was made before a model's layers change: what it will not train is named.

Tried: new branches, new gamma and beta of a branch, one that shares its parameters, restoring one of two branches,
layers that thaw (ours and torchvision's), freezing, the same policy twice, several optimizers, one of another model,
one that nobody has any more, one made afterwards, parameters of the model that no optimizer should train, a model that
is a layer, wrappers that noted the parameters; and a step of training.
"""

import gc
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.optim import SGD, AdamW

import libraries
from elinvar import norm
from elinvar.check import InputError, InputWarning

BRANCHES = norm.split(("main", "aux"), affine="separate")


def network() -> Any:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4))


def test_parameters_of_new_branches_are_named_and_listed() -> None:
    net = network()
    optimizer = SGD(net.parameters(), lr=0.1)
    named = r"will not train 1\.branches\.aux\.weight, 1\.branches\.aux\.bias, 3\..*weight, 3\.branches\.aux\.bias;"
    with pytest.warns(InputWarning, match=named):
        norm.convert(net, BRANCHES)
    missing = norm.untrained(net, optimizer)
    assert missing == [f"{place}.branches.aux.{name}" for place in (1, 3) for name in ("weight", "bias")]
    optimizer.add_param_group({"params": [net.get_parameter(name) for name in missing]})
    assert norm.untrained(net, optimizer) == []
    norm.convert(net, BRANCHES | norm.ghost(2))  # nothing new


def test_an_optimizer_goes_on_training_what_stays() -> None:
    net = network()
    optimizer = AdamW(net.parameters(), lr=0.1)
    parameters = list(net.parameters())
    for change in (
        lambda: norm.convert(net, norm.ghost(2)),
        lambda: norm.convert(net, norm.split(("main", "aux"), affine="shared")),
        lambda: norm.freeze(net),
        lambda: norm.unfreeze(net),
        lambda: norm.restore(net),
    ):
        change()  # type: ignore[no-untyped-call]
        assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))
        gamma = net[1].weight.clone()
        net(torch.randn(4, 3, 6, 6)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert not net[1].weight.requires_grad or not torch.equal(net[1].weight, gamma)


def test_what_an_optimizer_holds_and_the_model_lost_disturbs_nothing() -> None:
    net = norm.convert(network(), BRANCHES)
    optimizer = SGD(net.parameters(), lr=0.1, weight_decay=0.1)
    lost = net[1].weight
    before = lost.detach().clone()
    norm.restore(net, branch="aux")
    assert norm.untrained(net, optimizer) == []
    net(torch.randn(4, 3, 6, 6)).square().sum().backward()
    optimizer.step()
    assert torch.equal(lost, before)


def test_layers_that_thaw_are_named_if_nobody_trains_them() -> None:
    net = norm.freeze(network())
    optimizer = SGD([parameter for parameter in net.parameters() if parameter.requires_grad], lr=0.1)
    with pytest.warns(InputWarning, match=r"will not train 1\.weight, 1\.bias, 3\.weight, 3\.bias;"):
        norm.unfreeze(net)
    frozen: Any = libraries.load("torchvision.ops.misc").FrozenBatchNorm2d
    other = nn.Sequential(nn.Conv2d(3, 4, 3), frozen(4))
    of_other = SGD(other.parameters(), lr=0.1)
    with pytest.warns(InputWarning, match=r"will not train 1\.weight, 1\.bias;"):
        norm.unfreeze(other)
    assert norm.untrained(other, of_other) == ["1.weight", "1.bias"]
    assert norm.untrained(net, optimizer) == ["1.weight", "1.bias", "3.weight", "3.bias"]
    thawing = norm.freeze(network())
    whole = SGD(thawing.parameters(), lr=0.1)
    norm.unfreeze(thawing)
    assert norm.untrained(thawing, whole) == []


def test_only_optimizers_of_this_model_count() -> None:
    net, another = network(), network()
    made = [SGD(another.parameters(), lr=0.1)]
    norm.convert(net, BRANCHES)
    net = network()
    first, second = SGD(net[0].parameters(), lr=0.1), SGD(net[1].parameters(), lr=0.1)
    with pytest.warns(InputWarning, match=r"1\.branches"):
        norm.convert(net, BRANCHES)
    assert norm.untrained(net, first, second)[-2:] == ["3.branches.aux.weight", "3.branches.aux.bias"]
    net = network()
    made[0] = SGD(net.parameters(), lr=0.1)
    vars(made[0])["cycle"] = made[0]  # as schedulers make them: it is there until it is collected
    gc.disable()
    try:
        made.clear()
        norm.convert(net, BRANCHES)
    finally:
        gc.enable()


def test_many_names_are_cut_short() -> None:
    net = nn.Sequential(*[nn.BatchNorm2d(2) for _ in range(5)])
    optimizer = SGD(net.parameters(), lr=0.1)
    with pytest.warns(InputWarning, match="2.branches.aux.weight and 5 more"):
        norm.convert(net, BRANCHES)
    assert len(norm.untrained(net, optimizer)) == 10


def test_a_model_that_is_a_layer_is_told_too() -> None:
    layer = nn.BatchNorm2d(3)
    optimizer = SGD(layer.parameters(), lr=0.1)
    with pytest.warns(InputWarning, match=r"will not train branches\.aux\.weight, branches\.aux\.bias;"):
        ours = norm.convert(layer, BRANCHES)
    assert len(norm.untrained(ours, optimizer)) == 2


def test_wrappers_that_do_not_know_new_tensors_are_refused(tmp_path: Any) -> None:
    dist.init_process_group("gloo", rank=0, world_size=1, init_method=(tmp_path / "store").as_uri())
    try:
        net = network()
        whole = nn.parallel.DistributedDataParallel(net)
        with pytest.raises(InputError, match="does not know the new parameters of this BatchNorm2d"):
            norm.convert(whole, BRANCHES)
        assert type(net[1]) is nn.BatchNorm2d
        with pytest.raises(InputError, match="does not know the new buffers of this BatchNorm2d"):
            norm.convert(whole, norm.split(("main", "aux"), affine="shared"))
        buffers = [id(buffer) for buffer in whole.modules_buffers]
        norm.convert(whole, norm.ghost(2))
        assert [id(buffer) for buffer in whole.buffers()] == buffers
    finally:
        dist.destroy_process_group()
