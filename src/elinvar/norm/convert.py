"""Give a model's BatchNorm layers a policy, and take it away again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar, cast

from torch import nn

from ..check import InputError
from ..routing import Routing, Trace, route
from .affine import Affine
from .layer import Norm
from .policy import NormPolicy

M = TypeVar("M", bound=nn.Module)
PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def convert(model: M, policy: NormPolicy) -> M:
    """Replace every `nn.BatchNorm1d`, `2d` and `3d` of `model`, in place, by a `Norm` with `policy`; returns the model.

    Parameters, statistics, device, dtype, training mode and `requires_grad` are kept, a layer that is used in several
    places stays one layer, and each new branch starts from the layer's own statistics. Gamma and beta of the first
    branch stay the same objects; those of new branches are new, so build the optimizer afterwards. Layers that are
    already `Norm` get the new policy. Forward hooks of replaced layers are not copied. Converting twice changes nothing
    more. torch's `swa_utils.update_bn` does not know the new layers.

    Raises `InputError` for any other subclass of torch's BatchNorm (converting it could drop what the subclass adds).
    """
    return cast(M, _replace(model, lambda layer: _with_policy(layer, policy)))


def restore(model: M, *, branch: str | None = None) -> M:
    """The reverse of `convert`: plain torch BatchNorm layers with the statistics, gamma and beta of one branch."""
    return cast(M, _replace(model, lambda layer: _plain(layer, branch) if isinstance(layer, Norm) else layer))


@contextmanager
def branch(model: nn.Module, name: str) -> Iterator[None]:
    """Every forward inside uses branch `name`; in training it is remembered at once, as outside.

    Raises `InputError` if no layer of the model has that branch.
    """
    layers = [module for module in model.modules() if isinstance(module, Norm)]
    if not any(name in layer.policy.branches for layer in layers):
        known = sorted({branch for layer in layers for branch in layer.policy.branches})
        raise InputError(f"no layer has a branch {name!r} (known: {known}); convert with norm.split(branches=...)")
    with route(model, Routing((name,)), Trace.COMMIT):
        yield


def _replace(model: nn.Module, change) -> nn.Module:  # type: ignore[no-untyped-def]
    norms = (nn.modules.batchnorm._BatchNorm, Norm)
    if isinstance(model, norms):
        return cast(nn.Module, change(model))
    places = [
        (parent, name, child)
        for parent in model.modules()
        if not isinstance(parent, norms)
        for name, child in parent._modules.items()
        if isinstance(child, norms)
    ]
    changed = {id(child): change(child) for _, _, child in places}  # all, or an error before the model is touched
    for parent, name, child in places:
        setattr(parent, name, changed[id(child)])
    return model


def _with_policy(layer: nn.Module, policy: NormPolicy) -> Norm:
    if not isinstance(layer, Norm) and type(layer) not in PLAIN:
        raise InputError(
            f"cannot convert {type(layer).__module__}.{type(layer).__qualname__}: only torch's own BatchNorm1d, 2d and "
            "3d are known, and a subclass may do more than normalize; replace it by one of them first"
        )
    source = cast("nn.BatchNorm2d | Norm", layer)
    policy = replace(policy, memory=policy.memory.for_layer(source.momentum))
    if not list(source.parameters()):  # a layer without gamma and beta stays without them
        policy = replace(policy, affine=Affine.NONE)
    if isinstance(source, Norm) and source.policy == policy:
        return source
    if not any(name == "running_mean" for name, _ in source.named_buffers()) and policy.memory.remembers:
        raise InputError("a BatchNorm layer without running statistics has none to remember; use norm.no_memory()")
    new = Norm(source.num_features, policy, eps=source.eps)
    new.kind = source.kind if isinstance(source, Norm) else type(source)
    _copy(source, new)
    return new


def _plain(layer: Norm, branch: str | None) -> nn.Module:
    chosen = branch or layer.policy.branches[0]
    if chosen not in layer.policy.branches:
        raise InputError(f"there is no branch {chosen!r} to restore; this layer has {layer.policy.branches}")
    plain = layer.kind(
        layer.num_features,
        eps=layer.eps,
        momentum=layer.momentum,
        affine=layer.policy.affine is not Affine.NONE,
        track_running_stats=layer.policy.memory.remembers,
    )
    owner = layer.bank(chosen)
    state = {key: value for key, value in owner.state_dict().items() if not key.startswith("branches.")}
    for key, value in zip(("weight", "bias"), layer.affine_of(chosen), strict=True):
        if value is not None:
            state[key] = value.detach()
    _adopt(layer, plain)
    plain.load_state_dict(state)
    return plain


def _copy(source: nn.Module, new: Norm) -> None:
    _adopt(source, new)
    wanted = new.state_dict()
    new.load_state_dict({key: value for key, value in source.state_dict().items() if key in wanted}, strict=True)
    # The very parameters, where both have them: an optimizer that was built before goes on training them.
    for name, parameter in source.named_parameters():
        if name in wanted:
            home, _, last = name.rpartition(".")
            setattr(new.get_submodule(home), last, parameter)


def _adopt(source: nn.Module, new: nn.Module) -> None:
    """Device, dtype, mode and `requires_grad` of `source`; a new branch takes those of the first."""
    floats = [tensor for tensor in (*source.parameters(), *source.buffers()) if tensor.is_floating_point()]
    if floats:
        new.to(device=floats[0].device, dtype=floats[0].dtype)
    new.train(source.training)
    trains = {name: parameter.requires_grad for name, parameter in source.named_parameters()}
    for name, parameter in new.named_parameters():
        parameter.requires_grad_(trains.get(name, trains.get(name.rpartition(".")[2], True)))
