"""What a layer is beyond its class, parameters and memory: hooks and attributes, which a new layer takes over.

What a new layer could not take over is a reason to refuse.
"""

from collections.abc import Iterable
from typing import Any
from weakref import ref

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod

from ...check import InputError
from ..layer import Norm

FORWARD_HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
)
_HOOKS = (
    *FORWARD_HOOKS,
    "_backward_pre_hooks",
    "_backward_hooks",
    "_is_full_backward_hook",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
_TENSORS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_THEIRS = {"num_features", "eps", "momentum", "affine", "track_running_stats", "process_group"}
_THEIRS |= {"num_groups", "num_channels", "num_splits", "_fast_norm"}
_OURS = {"policy", "num_features", "eps", "kind", "branches", "unrouted", "_proposals", "then", "session"}
_EVERY = frozenset(vars(nn.Module())) | {"_compiled_call_impl", "_is_full_backward_hook"}


class Replaced:
    """The forward of a layer whose place another one has: whoever still holds it computes what the model does not."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise InputError(
            f"this {self.kind} was replaced in its model, and something still calls it (a closure, a list, another "
            "model); take the layer from the model in every forward, or convert a copy.deepcopy of the model"
        )


def replaced_calls(module: nn.Module) -> list[str]:
    """Methods of its class that the module itself has others for, such as a `forward` that was set on it."""
    return [name for name in vars(module) if name not in _EVERY and callable(getattr(type(module), name, None))]


def hooked(module: nn.Module) -> bool:
    """Whether hooks take part in the forward or backward of a module."""
    return any(getattr(module, name) for name in (*FORWARD_HOOKS, "_backward_pre_hooks", "_backward_hooks"))


def check_computed(layer: nn.Module) -> None:
    """Raise `InputError` if gamma or beta are computed from other parameters."""
    what, kind = None, type(layer).__name__
    hooks = list(layer._forward_pre_hooks.values())
    if parametrize.is_parametrized(layer):
        what, out = "parametrized", "torch.nn.utils.parametrize.remove_parametrizations"
    elif any(isinstance(hook, BasePruningMethod) for hook in hooks):
        what, out = "pruned", "torch.nn.utils.prune.remove"
    elif any(type(hook).__name__ == "WeightNorm" for hook in hooks):
        what, out = "under weight_norm", "torch.nn.utils.remove_weight_norm"
    elif any(type(hook).__name__ == "SpectralNorm" for hook in hooks):
        what, out = "under spectral_norm", "torch.nn.utils.remove_spectral_norm"
    if what is not None:
        raise InputError(
            f"this {kind} is {what}: its gamma or beta is computed from parameters that a new layer would not have; "
            f"make it plain first, with {out}"
        )
    for name in _TENSORS:
        if isinstance(vars(layer).get(name), Tensor):
            raise InputError(
                f"`{name}` of this {kind} is neither a parameter nor a buffer of it, so nothing says how it came to "
                "be; make it one first"
            )


def check_whole(layer: nn.Module, inner: tuple[str, ...]) -> None:
    """Raise `InputError` for what a layer that replaces this one could not take over; nothing is changed.

    inner  names of the modules that its class has
    """
    kind = type(layer).__name__
    if isinstance(layer.forward, Replaced):
        layer.forward()
    check_computed(layer)
    if calls := replaced_calls(layer):
        raise InputError(
            f"`{calls[0]}` was set on this {kind} itself, so it may do more than normalize; take that back first"
        )
    if isinstance(layer, Norm) and type(layer).forward is not Norm.forward and type(layer).__name__ != "NormThen":
        raise InputError(f"{kind} is a Norm that may do more than normalize, which a plain one would drop")
    if layer._compiled_call_impl is not None:
        raise InputError(f"this {kind} was compiled by itself, by its compile(); do that after its conversion")
    if layer._backward_hooks and layer._is_full_backward_hook is False:
        raise InputError(
            f"this {kind} has a hook of register_backward_hook, which sees the gradients of one of its operations; use "
            "register_full_backward_hook"
        )
    extras = [
        *(f"the parameter `{name}`" for name in layer._parameters if name not in _TENSORS),
        *(f"the buffer `{name}`" for name in layer._buffers if name not in _TENSORS),
        *(f"the module `{name}`" for name in layer._modules if name not in inner),
    ]
    if extras:
        raise InputError(f"this {kind} has {extras[0]}, which a new layer would drop; keep it in another module")
    for name in {"branches", "aux_bn"} & set(inner):
        for part in layer.get_submodule(name).modules():
            if any(getattr(part, hooks) for hooks in _HOOKS) or replaced_calls(part):
                raise InputError(f"hooks or a forward of its own are on a part of this {kind}, in `{name}`")
            if not isinstance(part, nn.ModuleList | nn.ModuleDict):
                check_computed(part)


def own_attributes(layer: nn.Module) -> dict[str, Any]:
    """What was set on a layer and is none of its class: plain values, which change nothing that it computes."""
    usual = _EVERY | (_OURS if isinstance(layer, Norm) else _THEIRS)
    return {name: value for name, value in vars(layer).items() if name not in usual}


def check_attributes(old: nn.Module, new: nn.Module) -> None:
    """Raise `InputError` if an attribute that was set on `old` means something else to `new`."""
    for name in own_attributes(old):
        if hasattr(new, name):
            raise InputError(
                f"the attribute `{name}`, set on this {type(old).__name__}, has another meaning in the "
                f"{type(new).__name__} that replaces it; give it another name"
            )


def hand_over(old: nn.Module, new: nn.Module) -> None:
    """Give `new` the hooks of `old`, in their order and with handles that go on working, and its own attributes."""
    for name in _HOOKS:
        setattr(new, name, getattr(old, name))
    hooks: Iterable[Any] = new._load_state_dict_pre_hooks.values()
    for hook in hooks:
        if getattr(hook, "with_module", False):  # it holds the module that it is called with
            hook.module = ref(new)
    new._non_persistent_buffers_set |= old._non_persistent_buffers_set & set(new._buffers)
    vars(new).update(own_attributes(old))


def leave(old: nn.Module) -> None:
    """From now on `old` raises `InputError` when it is called."""
    vars(old)["forward"] = Replaced(type(old).__name__)


def apart(old: nn.Module, new: nn.Module) -> None:
    """Give `new` buffers of its own, for an `old` one that goes on."""
    held = {id(buffer) for buffer in old.buffers()}
    for module in new.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and id(buffer) in held:
                module._buffers[name] = buffer.detach().clone()


def inner_names(layer: nn.Module, then: tuple[str, ...], others: str | None) -> tuple[str, ...]:
    """The modules that the class of a layer has."""
    return tuple(name for name in ("branches", *then, others) if name is not None and name in layer._modules)
