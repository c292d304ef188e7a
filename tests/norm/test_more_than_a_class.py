"""A layer is more than its class, parameters and memory: the rest goes along when it is replaced, or it is refused.

Tried: all kinds of hooks (their order, keyword arguments, always called ones, handles that remove them later, those of
state dicts with and without the module), plain attributes, names that mean something else in the new layer; a forward
on the instance of every kind of layer, and a method other than forward; pruning, the older weight_norm and spectral
norm, parametrizations, a gamma that is no parameter; parameters, buffers and modules of a user on a layer and on one of
its branches; layers in lists, dictionaries, attributes past registration, tuples, closures, defaults, partial
functions, bound methods, objects, weak references and hooks of other modules; shared layers, shared memories and tied
parameters; buffers that checkpoints leave out; parameters on the meta device; compiled layers; wrappers that noted the
buffers; and each of them through convert, restore, freeze, unfreeze, fuse, tune, precise, adapt and shared heads.
"""

import copy
import weakref
from collections.abc import Callable
from functools import partial
from types import MethodType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from elinvar import norm
from elinvar.check import InputError

prune: Any = torch.nn.utils.prune
X = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))
DATA = [(X, torch.arange(8) % 4)]


def network() -> Any:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4)).eval()
    layer: Any = net[1]
    for tensor in (layer.running_mean, layer.weight.data, layer.bias.data):
        tensor.normal_()
    layer.running_var.uniform_(0.5, 3)
    return net


CHANGES: dict[str, Callable[[Any], Any]] = {
    "convert": lambda net: norm.convert(net, norm.batch_norm()),
    "branches": lambda net: norm.convert(net, norm.split(("main", "aux"))),
    "freeze": norm.freeze,
    "fuse": norm.fuse,
}


def tuned(net: Any) -> Any:
    norm.tune(net, DATA)
    return net


def measured(net: Any) -> Any:
    norm.precise(net, [X])
    return net


def adapted(net: Any) -> Any:
    norm.adapt(net, [X])
    return net


def again(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`change` on a model that was converted before."""
    return lambda net: change(net)


class Scaled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def patched(layer: Any) -> None:
    inner = type(layer).forward
    layer.forward = MethodType(lambda self, x: torch.tanh(inner(self, x)), layer)


def wrapped(layer: Any) -> None:
    """As accelerate's hooks do it: the old forward is kept on the layer."""
    layer._old_forward = layer.forward
    layer.forward = partial(lambda module, x: module._old_forward(2 * x), layer)


def other_load(layer: Any) -> None:
    layer._load_from_state_dict = lambda *args: None


def bare_weight(layer: Any) -> None:
    values = layer.weight.detach() * 2
    del layer.weight
    layer.weight = values


def older_weight_norm(layer: Any) -> None:
    nn.utils.weight_norm(layer)


def older_spectral_norm(layer: Any) -> None:
    with torch.no_grad():
        layer.weight = nn.Parameter(layer.weight[:, None])  # it wants a matrix
    nn.utils.spectral_norm(layer)


COMPUTED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "pruned": (lambda layer: prune.l1_unstructured(layer, "weight", amount=4), r"pruned.*prune\.remove"),
    "pruned beta": (lambda layer: prune.random_unstructured(layer, "bias", amount=4), r"pruned.*prune\.remove"),
    "weight_norm": (older_weight_norm, "under weight_norm.*remove_weight_norm"),
    "spectral_norm": (older_spectral_norm, "under spectral_norm.*remove_spectral_norm"),
    "parametrized": (
        lambda layer: parametrize.register_parametrization(layer, "weight", Scaled()),
        "parametrized.*remove_parametrizations",
    ),
    "new weight_norm": (parametrizations.weight_norm, "parametrized.*remove_parametrizations"),
}
REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    **COMPUTED,
    "forward": (patched, "`forward` was set on this BatchNorm2d itself"),
    "wrapped": (wrapped, "`forward` was set on this BatchNorm2d itself"),
    "method": (other_load, "`_load_from_state_dict` was set on this BatchNorm2d itself"),
    "weight": (bare_weight, "`weight` of this BatchNorm2d is neither a parameter nor a buffer"),
    "parameter": (lambda layer: layer.register_parameter("scale", nn.Parameter(torch.ones(()))), "parameter `scale`"),
    "buffer": (lambda layer: layer.register_buffer("seen", torch.ones(()), persistent=False), "buffer `seen`"),
    "module": (lambda layer: layer.add_module("observer", nn.Identity()), "module `observer`"),
    "name": (lambda layer: setattr(layer, "policy", "mine"), "attribute `policy`.*another name"),
    "half a memory": (lambda layer: setattr(layer, "running_var", None), "only one of running_mean and running_var"),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning", "ignore:.*spectral_norm:FutureWarning")
@pytest.mark.parametrize("how", REFUSED)
@pytest.mark.parametrize("change", [*CHANGES.values(), tuned], ids=[*CHANGES, "tune"])
def test_what_a_new_layer_could_not_have_is_refused_and_nothing_changes(change: Callable[[Any], Any], how: str) -> None:
    net, (spoil, text) = network(), REFUSED[how]
    spoil(net[1])
    layer, attributes = net[1], dict(vars(net[1]))
    if change is tuned and how == "name":
        return  # tuning gives the layer back as it came
    with pytest.raises(InputError, match=text):
        change(net)
    assert net[1] is layer
    assert dict(vars(layer)) == attributes


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_norm_layers_are_looked_at_the_same_way() -> None:
    for how in ("forward", "pruned", "weight_norm", "parameter", "module"):
        for change in (lambda net: norm.convert(net, norm.ghost(2)), norm.restore, norm.fuse):
            net = norm.convert(network(), norm.batch_norm())
            REFUSED[how][0](net[1])
            with pytest.raises(InputError):
                change(net)  # type: ignore[no-untyped-call]

    class Own(norm.Norm):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    with pytest.raises(InputError, match="Own is a Norm that may do more than normalize"):
        norm.convert(nn.Sequential(Own(3)), norm.ghost(2))
    net = norm.convert(network(), norm.split(("main", "aux")))
    net[1].branches["aux"].register_load_state_dict_post_hook(lambda *_: None)
    with pytest.raises(InputError, match="part of this Norm, in `branches`"):
        norm.restore(net)


def test_what_computes_gamma_can_be_taken_away_and_then_converts() -> None:
    net = network()
    prune.l1_unstructured(net[1], "weight", amount=4)
    with torch.no_grad():
        before = net(X)
    prune.remove(net[1], "weight")
    assert torch.equal(norm.convert(net, norm.batch_norm())(X), before)


def test_frozen_layers_that_are_norm_already_may_be_pruned() -> None:
    net = norm.convert(network(), norm.batch_norm())
    prune.l1_unstructured(net[1], "weight", amount=4)
    with torch.no_grad():
        before = net(X)
    norm.freeze(net)
    assert not any(parameter.requires_grad for parameter in net[1].parameters())
    assert torch.equal(net.train()(X).detach(), before)
    norm.unfreeze(net)
    assert all(parameter.requires_grad for parameter in net[1].parameters())


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning", "ignore:.*spectral_norm:FutureWarning")
@pytest.mark.parametrize("measure", [measured, adapted])
@pytest.mark.parametrize("how", [how for how in COMPUTED if how != "spectral_norm"])
def test_statistics_of_layers_whose_gamma_is_computed_are_measured(how: str, measure: Callable[[Any], Any]) -> None:
    plain, net = measure(network()), network()
    REFUSED[how][0](net[1])
    measure(net)
    assert torch.equal(net[1].running_mean, plain[1].running_mean)
    assert torch.equal(net[1].running_var, plain[1].running_var)


@pytest.mark.parametrize("measure", [measured, adapted])
@pytest.mark.parametrize("method", ["joint", "layerwise"])
def test_a_forward_of_its_own_is_not_measured(method: str, measure: Any) -> None:
    for spoil in (patched, wrapped):
        net = network()
        spoil(net[1])
        before = net[1].running_mean.clone()
        with pytest.raises(InputError, match="`forward` was set on the layer '1' itself"):
            (norm.precise if measure is measured else norm.adapt)(net, [X], method=method)
        assert torch.equal(net[1].running_mean, before)


# Hooks


def test_hooks_go_along_in_order_and_their_handles_still_remove_them() -> None:
    net, calls = network(), list[str]()

    def tell(text: str, give: Any = None) -> Callable[..., Any]:
        def hook(module: nn.Module, *rest: Any) -> Any:
            calls.append(f"{text} {type(module).__name__}")
            return give(*rest) if give else None

        return hook

    layer = net[1]
    handles = [
        layer.register_forward_pre_hook(tell("first", lambda args: (args[0] + 1,))),
        layer.register_forward_pre_hook(tell("named", lambda args, kwargs: (args, kwargs)), with_kwargs=True),
        layer.register_forward_hook(tell("after", lambda args, out: out * 2)),
        layer.register_forward_hook(tell("always"), always_call=True),
        layer.register_forward_hook(tell("prepended"), prepend=True, with_kwargs=True),
        layer.register_full_backward_pre_hook(tell("before backward")),
        layer.register_full_backward_hook(tell("backward")),
    ]
    x = X.clone().requires_grad_()

    def seen() -> tuple[list[str], Tensor]:
        calls.clear()
        out = net(x)
        out.sum().backward()
        return [call.rpartition(" ")[0] for call in calls], out.detach()

    expected, before = seen()
    assert len(expected) == 7
    norm.convert(net, norm.batch_norm())
    assert seen()[0] == expected
    assert calls[0] == "first Norm"
    torch.testing.assert_close(seen()[1], before, rtol=0, atol=0)
    norm.convert(net, norm.split(("main", "aux")))
    norm.freeze(net)
    assert seen()[0] == expected
    norm.restore(norm.unfreeze(net))
    assert seen()[0] == expected
    assert calls[0] == "first BatchNorm2d"
    for handle in handles:
        handle.remove()
    assert seen()[0] == []


def test_hooks_that_are_always_called_are_called_after_an_error() -> None:
    net, calls = network(), list[int]()
    net[1].register_forward_hook(lambda *_: calls.append(1), always_call=True)
    norm.convert(net, norm.batch_norm())
    with pytest.raises(InputError, match="expects"):
        net[1](torch.zeros(2, 5, 3, 3))
    assert calls == [1]


def test_hooks_of_state_dicts_go_along_with_the_new_module() -> None:
    net, told = network(), list[str]()
    layer = net[1]
    layer.register_load_state_dict_pre_hook(lambda module, *_: told.append(f"load {type(module).__name__}"))
    layer.register_load_state_dict_post_hook(lambda module, _: told.append(f"loaded {type(module).__name__}"))
    layer.register_state_dict_pre_hook(lambda module, *_: told.append(f"save {type(module).__name__}"))
    layer._register_state_dict_hook(lambda module, state, *_: state.update(extra=torch.ones(())))
    del layer
    norm.convert(net, norm.split(("main", "aux")))
    state = net.state_dict()
    assert state.pop("extra") == 1
    net.load_state_dict(state)
    norm.import_state_dict(net, state)
    assert told == ["save Norm", *["load Norm", "loaded Norm"] * 2]


def test_hooks_of_single_operations_are_refused() -> None:
    net = network()
    net[1].register_backward_hook(lambda *_: None)
    with pytest.raises(InputError, match="register_full_backward_hook"):
        norm.convert(net, norm.batch_norm())


def test_a_fused_copy_keeps_hooks_and_what_was_set_on_layers_apart() -> None:
    net, calls = network(), list[str]()
    net[1].register_forward_pre_hook(lambda module, args: (2 * args[0],))
    net[1].register_forward_hook(lambda module, *_: calls.append(type(module).__name__))
    net[1].comment = "mine"
    before = net(X).detach()
    fused: Any = norm.fuse(net)
    torch.testing.assert_close(fused(X), before, rtol=1e-5, atol=1e-5)
    assert fused.fusion.kept == {"1": "it has hooks"}
    assert calls == ["BatchNorm2d", "Fixed"]
    assert fused[1].comment == "mine"
    for spoil, text in (
        (patched, "`forward` was set on '0' itself"),
        (lambda conv: setattr(conv, "_conv_forward", lambda x, w, b: 2 * x), "`_conv_forward` was set on '0' itself"),
        (lambda conv: conv.register_full_backward_hook(lambda *_: None), "'0' has hooks"),
        (lambda conv: prune.l1_unstructured(conv, "weight", amount=4), "'0' has hooks"),
        (bare_weight, "the weight of '0' is no parameter"),
    ):
        net = network()
        spoil(net[0])
        if "_conv_forward" in text:
            net[0]._conv_forward = lambda x, w, b: 2 * nn.functional.conv2d(x, w, b)
        before = net(X).detach()
        fused = norm.fuse(net)
        torch.testing.assert_close(fused(X), before, rtol=1e-5, atol=1e-5)
        assert fused.fusion.kept == {"1": text}


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_models_with_older_weight_norm_are_fused_around_it_and_the_copy_is_a_copy() -> None:
    net = network()
    nn.utils.weight_norm(net[0])
    before = net(X).detach()
    fused: Any = norm.fuse(net)
    torch.testing.assert_close(fused(X), before, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        net[0].weight_g.mul_(2)
    torch.testing.assert_close(fused(X), before, rtol=1e-5, atol=1e-5)


def test_a_model_whose_own_forward_was_set_is_not_traced() -> None:
    net = network()
    inner = type(net).forward
    net.forward = MethodType(lambda self, x: inner(self, 2 * x), net)
    with pytest.raises(InputError, match=r"`forward` was set on this Sequential itself, which torch.fx does not see"):
        norm.fuse(net)


# Attributes, sharing, flags


def test_attributes_of_a_user_go_along_and_come_back() -> None:
    net = network()
    net[1].name, net[1].tags = "stem", {"group": 3}
    tags = net[1].tags
    for change in (*[CHANGES[how] for how in ("convert", "branches", "freeze")], norm.unfreeze, norm.restore):
        net = change(net)
        assert net[1].name == "stem"
        assert net[1].tags is tags


def test_buffers_stay_the_same_tensors_and_ties_hold() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    one: Any = net[0]
    net[1].running_mean, net[1].weight = one.running_mean, one.weight
    buffers = {name: id(buffer) for name, buffer in net.named_buffers()}
    for change in (CHANGES["convert"], CHANGES["branches"], norm.freeze, norm.unfreeze, norm.restore):
        change(net)
        found = dict(net.named_buffers())
        assert {name: id(found[name]) for name in buffers} == buffers
        assert net[0].running_mean is net[1].running_mean
        assert net[0].weight is net[1].weight


def test_a_bare_layer_goes_on_with_memory_of_its_own() -> None:
    layer = nn.BatchNorm2d(3)
    ours: Any = norm.convert(layer, norm.batch_norm())
    ours(X)
    assert not layer.running_mean.any()  # type: ignore[union-attr]
    layer(X)
    assert torch.equal(layer.running_mean, ours.running_mean)  # type: ignore[arg-type]


def test_buffers_that_checkpoints_leave_out_stay_left_out() -> None:
    net = network()
    net[1]._non_persistent_buffers_set |= {"running_mean", "running_var", "num_batches_tracked"}
    keys = list(net.state_dict())
    assert list(norm.convert(net, norm.batch_norm()).state_dict()) == keys
    assert list(norm.restore(net).state_dict()) == keys


def test_parameters_on_the_meta_device_stay_there() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.BatchNorm2d(3))
    weight = net[0].weight
    norm.convert(net, norm.split(("main", "aux")))
    assert net[0].weight is weight
    assert {tensor.device.type for tensor in net.state_dict().values()} == {"meta"}


def test_compiled_layers_are_refused_and_models_around_them_are_not() -> None:
    net = network()
    net[1].compile(backend="eager")
    with pytest.raises(InputError, match="compiled by itself"):
        norm.convert(net, norm.batch_norm())
    net = network()
    net[1] = torch.compile(net[1], backend="eager")
    with pytest.raises(InputError, match=r"torch\.compile holds this BatchNorm2d"):
        norm.convert(net, norm.batch_norm())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_layers_inside_of_scripted_modules_are_refused() -> None:
    net = nn.Sequential(torch.jit.script(network()), nn.BatchNorm1d(4))
    for change in (*CHANGES.values(), tuned, measured):
        with pytest.raises(InputError, match=r"torch\.jit"):
            change(net)


def test_layers_that_read_their_batch_norm_themselves_are_refused() -> None:
    qat: Any = pytest.importorskip("torch.ao.nn.intrinsic.qat")
    quantization: Any = pytest.importorskip("torch.ao.quantization")
    net = nn.Sequential(qat.ConvBn2d(3, 6, 3, qconfig=quantization.get_default_qat_qconfig("fbgemm")))
    with pytest.raises(InputError, match="ConvBn2d reads the memory of its BatchNorm2d by itself"):
        norm.convert(net, norm.batch_norm())


# Who else holds a layer


class Holder(nn.Module):
    """A network whose forward may call its layer in other ways than by its attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(3)
        self.other: Any = None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn(x).mean((2, 3))
        return out


class Caller:
    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer


def closed_over(net: Holder) -> Any:
    layer = net.bn
    return lambda x: layer(x)


HELD: dict[str, Callable[[Holder], Any]] = {
    "tuple": lambda net: (net.bn,),
    "list in a tuple of a dictionary, in a set": lambda net: {"a": ([1], {net.bn})},
    "closure": closed_over,
    "default": lambda net: lambda x, layer=net.bn: layer(x),
    "partial": lambda net: partial(lambda layer, x: layer(x), net.bn),
    "bound method": lambda net: net.bn.forward,
    "bound call": lambda net: net.bn.__call__,
    "object": lambda net: Caller(net.bn),
    "weak reference": lambda net: weakref.ref(net.bn),
}


@pytest.mark.parametrize("how", HELD)
def test_whoever_would_go_on_with_the_old_layer_is_named(how: str) -> None:
    for change in (CHANGES["convert"], norm.freeze):
        net = Holder()
        net.other, layer = HELD[how](net), net.bn
        with pytest.raises(InputError, match=r"`other`, .* in Holder, holds a BatchNorm2d and would go on"):
            change(net)
        assert net.bn is layer
        net(X)
    converted = norm.convert(Holder(), norm.batch_norm())
    converted.other = HELD[how](converted)
    with pytest.raises(InputError, match="holds a Norm and would go on with the old"):
        norm.restore(converted)


def test_hooks_of_other_modules_that_hold_the_layer_are_named() -> None:
    net = network()
    layer = net[1]
    net[2].register_forward_hook(lambda module, args, out: layer(out))
    with pytest.raises(InputError, match="a hook of ReLU"):
        norm.convert(net, norm.batch_norm())
    with pytest.raises(InputError, match="a copy of Sequential would go on calling its BatchNorm2d"):
        norm.fuse(net)
    with pytest.raises(InputError, match="a hook of ReLU"):
        norm.tune(net, DATA)
    assert net[1] is layer


def test_lists_dictionaries_and_plain_attributes_hold_the_new_layer() -> None:
    net = Holder()
    net.other = [net.bn, {"deep": (1, [net.bn])}]
    vars(net)["alias"] = net.bn
    for change in (CHANGES["convert"], norm.freeze, norm.unfreeze, norm.restore):
        change(net)
        assert net.other[0] is net.other[1]["deep"][1][0] is vars(net)["alias"] is net.bn
    old = net.bn
    norm.tune(net, DATA, metric=lambda logits, _: logits.sum(1), apply=False)
    assert net.other[0] is vars(net)["alias"] is net.bn is old


def test_an_old_layer_says_so_when_it_is_called() -> None:
    net = network()
    old, stale = net[1], copy.deepcopy(net)
    norm.convert(net, norm.batch_norm())
    with pytest.raises(InputError, match="this BatchNorm2d was replaced in its model"):
        old(X)
    with pytest.raises(InputError, match="this BatchNorm2d was replaced in its model"):
        norm.convert(nn.Sequential(old), norm.batch_norm())  # another model that shared it
    ours = net[1]
    norm.restore(net)
    with pytest.raises(InputError, match="this Norm was replaced in its model"):
        ours(torch.randn(2, 6, 3, 3))
    assert torch.equal(net(X), stale(X))


def test_a_layer_in_two_places_is_one_layer_also_with_hooks() -> None:
    shared, calls = nn.BatchNorm2d(3), list[int]()
    shared.register_forward_hook(lambda *_: calls.append(1))
    net: Any = norm.convert(nn.ModuleDict({"a": shared, "b": nn.Sequential(shared)}), norm.batch_norm())
    assert net["a"] is net["b"][0]
    net["b"](X)
    assert calls == [1]


# Shared heads


def test_heads_refuse_what_they_would_not_call() -> None:
    def block() -> Any:
        return nn.Sequential(nn.Sequential(nn.Conv2d(3, 6, 1)), nn.BatchNorm2d(6))

    for spoil in (
        lambda net: net[0].register_forward_hook(lambda *_: None),
        lambda net: net.register_forward_pre_hook(lambda *_: None),
        lambda net: net[0].register_full_backward_hook(lambda *_: None),
        lambda net: setattr(net[0], "forward", lambda x: x),
        lambda net: setattr(net, "forward", lambda x: x),
    ):
        net = block()
        spoil(net)
        with pytest.raises(InputError):
            norm.SharedHead(net, ["p3", "p4"])
    net = block()
    net.register_parameter("scale", nn.Parameter(torch.ones(())))
    with pytest.raises(InputError, match="the block has 'scale' of its own"):
        norm.SharedHead(net, ["p3", "p4"])
    for spoil in (patched, REFUSED["pruned"][0], REFUSED["parametrized"][0]):
        net = block()
        spoil(net[1])
        with pytest.raises(InputError):
            norm.SharedHead(net, ["p3", "p4"])
    head = norm.SharedHead(block(), ["p3", "p4"])
    head([X, X])
    head.get_submodule("0").register_forward_hook(lambda *_: None)
    with pytest.raises(InputError, match="on a Sequential in a shared head"):
        head([X, X])


def test_heads_run_the_hooks_that_layers_brought() -> None:
    layer, calls = nn.BatchNorm2d(3), list[int]()
    layer.register_forward_hook(lambda *_: calls.append(1))
    norm.SharedHead([layer], ["p3", "p4"])([X, X])
    assert calls == [1, 1]
