"""What a model computes at test, as a graph: which layer feeds which, seen without running it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch.nn.functional as F
from torch import fx, nn

from ...check import InputError
from ..layer import Norm
from .known import known, name_of
from .whole import replaced_calls

_MODULES = (Norm, nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_FUNCTIONS = (F.batch_norm, F.instance_norm, F.group_norm, F.layer_norm, F.rms_norm)

# Their output is linear in their weight. Exactly these: a subclass may make its weight anew in every forward.
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = {"timm.layers.conv2d_same.Conv2dSame", *map(name_of, (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED))}
LINEAR = {"torch.nn.modules.linear.Linear", "timm.layers.linear.Linear"}


class _Tracer(fx.Tracer):
    """Normalization and linear layers are nodes, and so is what has no weights, whatever they do inside."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        if is_normalization(module) or name_of(type(module)) in CONVOLUTIONS | LINEAR:
            return True
        bare = not any(True for _ in module.parameters()) and not any(map(is_normalization, module.modules()))
        return bare or super().is_leaf_module(module, name)


def is_normalization(module: nn.Module) -> bool:
    """Whether a module rescales what it gets by statistics of any kind."""
    return isinstance(module, _MODULES) or known(type(module)) is not None


def traced(model: nn.Module) -> fx.Graph:
    """The graph of `model` in eval mode; its modes stay as they are.

    Raises `InputError` if its forward depends on values that only a run shows.
    """
    if own := replaced_calls(model):
        raise InputError(f"`{own[0]}` was set on this {type(model).__name__} itself, which torch.fx does not see")
    with _at_test(model):
        try:
            return _Tracer().trace(model)
        except Exception as error:  # whatever a forward may do with something that is no tensor
            raise InputError(
                f"torch.fx cannot trace the forward of {type(model).__name__} ({type(error).__name__}: {error}); "
                "take the parts that it can trace one by one, as model.backbone = norm.fuse(model.backbone)"
            ) from error


@contextmanager
def _at_test(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def reaches_output(model: nn.Module) -> dict[str, bool]:
    """For each normalization layer: does a path lead from it to the output that no later normalization rescales?

    There, what gamma and beta are matters to the output, and decaying them regularizes; elsewhere a later layer undoes
    it. Residual networks have such paths, a plain chain only behind its last normalization.

    Layers by their name in `model.named_modules()`; those that the forward does not call in eval mode are left out.
    Raises `InputError` if torch.fx cannot trace the forward.

    Source   Summers, thesis, section 4.3.3.
    """
    graph, modules = traced(model), dict(model.named_modules())

    def rescales(node: fx.Node) -> bool:
        if node.op == "call_module":
            return is_normalization(modules[str(node.target)])
        return node.op == "call_function" and node.target in _FUNCTIONS

    free: dict[fx.Node, bool] = {}
    for node in reversed(graph.nodes):  # users come first
        free[node] = node.op == "output" or any(free[user] and not rescales(user) for user in node.users)
    found: dict[str, bool] = {}
    for node in graph.nodes:
        if node.op == "call_module" and rescales(node):
            found[str(node.target)] = found.get(str(node.target), False) or free[node]
    return found
