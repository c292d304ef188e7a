"""Fold normalization into the convolution or linear layer before it, for a model that only predicts from now on."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from torch import fx, nn

from ...check import InputError
from ..copying import copied
from ..layer import Norm
from ..policy import NormPolicy
from .elsewhere import holders
from .folded import Fixed, Folded, Line
from .graph import CONVOLUTIONS, LINEAR, TRANSPOSED, traced
from .known import name_of
from .parts import check_scripted, is_batch_norm
from .swap import with_policy
from .walk import places, put
from .whole import check_whole, hooked, inner_names, replaced_calls

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Fusion:
    """What `fuse` did to each normalization layer, by names. A fused model holds it as its attribute `fusion`.

    folded  normalization -> the layer that holds it now
    kept    normalization -> why it stayed by itself
    """

    folded: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)


def fuse(model: M, *, branch: str | None = None) -> M:
    """A copy of `model` for prediction, in eval mode, whose convolutions hold the normalization that follows them.

        W' = s W,   b' = s (b - mean) + beta,   s = gamma / sqrt(var + eps)      for each channel of the output

    Computed in float64 and rounded once. Convolutions (grouped and transposed ones too) and linear layers take the
    normalization of their output, if nothing else reads that output, if they run once in a forward, if their weight is
    theirs alone, and if neither of the two layers has hooks or a forward that was set on it. Other normalization, as
    that before a convolution, stays as a layer of constants. Activations of timm's layers stay where they are. The
    copy's attribute `fusion` tells what became of each.

    branch  whose statistics, gamma and beta; None: the first

    The copy is not for fine-tuning: it warns (`FusedTrainingWarning`) when it goes into training mode, and what was
    fused has `requires_grad` False. Hooks of normalization layers go along; such layers stay by themselves.

    Raises `InputError` for layers that normalize by the rows at hand (`OwnBatch`, `ExampleWeighted`), which no constant
    replaces; for a branch that no layer has; for a model without BatchNorm; for layers that `convert` refuses; and for
    a model that torch.fx cannot trace or whose copy would call the original.

    Source   Wu and Johnson 2021, appendix A.8, on why not to fine-tune what was fused.
    """
    check_scripted(model)
    fused = copied(model)
    _check_apart(fused, model)
    fused = put(fused, places(fused, is_batch_norm), _as_norm).eval()
    found = places(fused, is_batch_norm)
    if not found:
        raise InputError(f"{type(model).__name__} has no BatchNorm layer to fuse")
    branches = {name for place in found for name in cast(Norm, place.layer).policy.branches}
    if branch is not None and branch not in branches:
        raise InputError(f"no layer has a branch {branch!r} to fuse; known: {', '.join(sorted(branches))}")

    names = {module: name for name, module in fused.named_modules()}
    takers, kept = _takers(fused)
    first = next((layer for _, _, layer in found if layer in takers), None)

    def change(layer: nn.Module) -> nn.Module:
        line = Line.of(cast(Norm, layer), branch)
        then = {name: layer.get_submodule(name) for name in getattr(layer, "then", ())}
        if layer not in takers:
            return Fixed(line, then)
        taker = takers[layer]
        _fold(taker, line)
        return Folded(names[taker], then, flat=name_of(type(taker)) in LINEAR, first=layer is first)

    fused = put(fused, found, change)
    vars(fused)["fusion"] = Fusion({names[layer]: names[taker] for layer, taker in takers.items()}, kept)
    return fused


def _check_apart(fused: nn.Module, model: nn.Module) -> None:
    """Raise `InputError` if the copy calls modules of the model that it was copied from."""
    for holder in holders(fused, {id(module): module for module in model.modules()}):
        raise InputError(
            f"a copy of {type(model).__name__} would go on calling its {type(holder.layer).__name__}, which a function "
            "among its attributes or hooks holds; let that take it from the module that it gets"
        )


def _as_norm(layer: nn.Module) -> Norm:
    """The layer as a `Norm`, if constants can replace it."""
    if not isinstance(layer, Norm) and getattr(layer, "running_mean", None) is None:
        raise InputError(f"{type(layer).__name__} without running statistics normalizes by the rows at hand: {_WHY}")
    if isinstance(layer, Norm):
        check_whole(layer, inner_names(layer, getattr(layer, "then", ()), None))
    ours = layer if isinstance(layer, Norm) else with_policy(layer, NormPolicy())
    if ours.policy.inference.needs_rows:
        raise InputError(f"{ours.policy.inference} normalizes by the rows at hand: {_WHY}")
    return ours


_WHY = "no constant weight of a convolution can hold that; use a model with Remembered inference, or do not fuse it"


def _takers(model: nn.Module) -> tuple[dict[nn.Module, nn.Module], dict[str, str]]:
    """The layer that each normalization can be folded into, and by name why the others cannot."""
    if isinstance(model, Norm):
        return {}, {"": "the model is this layer alone"}
    graph, modules = traced(model), dict(model.named_modules())
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    owners = Counter(id(p) for module in modules.values() for p in module._parameters.values() if p is not None)
    read = {id(_attribute(model, str(node.target))) for node in graph.nodes if node.op == "get_attr"}
    alone = {key for key, count in owners.items() if count == 1} - read
    takers: dict[nn.Module, nn.Module] = {}
    kept = {name: "not called in eval mode" for name, module in modules.items() if isinstance(module, Norm)}
    for node in graph.nodes:
        name = str(node.target)
        if node.op == "call_module" and isinstance(modules[name], Norm):
            reason = _obstacle(node, modules, calls, alone)
            if reason is None:
                takers[modules[name]] = modules[str(node.args[0].target)]
                del kept[name]
            else:
                kept[name] = reason
    return takers, kept


def _obstacle(node: fx.Node, modules: dict[str, nn.Module], calls: Counter[Any], alone: set[int]) -> str | None:
    """Why the layer before a normalization cannot take it; None if it can."""
    if calls[node.target] > 1:
        return "it runs several times in a forward"
    if hooked(modules[str(node.target)]):
        return "it has hooks"
    source = node.args[0] if node.args else None
    if not isinstance(source, fx.Node) or source.op != "call_module":
        return f"its input comes from {source}, which is no layer"
    name = str(source.target)
    taker = modules[name]
    if name_of(type(taker)) not in LINEAR | CONVOLUTIONS:
        return f"its input comes from {name!r}, a {type(taker).__name__}, which is no convolution or linear layer"
    if calls[source.target] > 1:
        return f"{name!r} runs several times in a forward"
    if len(source.users) > 1:
        return f"others read the output of {name!r} too"
    if hooked(taker):
        return f"{name!r} has hooks"
    if own := replaced_calls(taker):
        return f"`{own[0]}` was set on {name!r} itself"
    if taker._parameters.get("weight") is None:
        return f"the weight of {name!r} is no parameter"
    if not all(id(parameter) in alone for parameter in taker.parameters()):
        return f"others use the weight of {name!r} too"
    return None


def _attribute(model: nn.Module, path: str) -> object:
    home, _, name = path.rpartition(".")
    return getattr(model.get_submodule(home), name)


def _fold(taker: Any, line: Line) -> None:
    scale = line.gamma.double() * (line.variance.double() + line.eps).rsqrt()
    weight = taker.weight.detach().double()
    if isinstance(taker, TRANSPOSED):  # (in, out / groups, ...), the inputs of a group side by side
        grouped = weight.unflatten(0, (taker.groups, -1))
        weight = (grouped * scale.reshape(taker.groups, 1, -1, *[1] * (weight.ndim - 2))).flatten(0, 1)
    else:
        weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    bias = (0.0 if taker.bias is None else taker.bias.detach().double()) - line.mean.double()
    dtype = taker.weight.dtype
    taker.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    taker.bias = nn.Parameter((bias * scale + line.beta.double()).to(dtype), requires_grad=False)
