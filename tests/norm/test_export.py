"""An exported model computes what the model does: in eval mode whatever the policy, in training mode it is refused.

Tried: every policy; `torch.export` of a fixed and of any number of rows; `torch.jit.trace` with another number of rows;
both of torch's ways to ONNX, which begin with these; frozen layers in training mode, which are what they are at test;
fused models, mixtures and heads; an exported program, which shares memory with its model.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elinvar import norm
from elinvar.check import InputError

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.trace:DeprecationWarning", "ignore:Converting a tensor", "ignore:.*TorchScript-based ONNX"
)
X = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
MEMORY: dict[str, norm.NormPolicy] = {
    "batch": norm.batch_norm(),
    "per view": norm.per_view(),
    "branches": norm.split(),
    "ghost": norm.ghost(2),
    "microbatch": norm.microbatch(2),
    "renorm": norm.NormPolicy(memory=norm.Renorm()),
    "average": norm.NormPolicy(memory=norm.Average()),
    "moments": norm.NormPolicy(memory=norm.MomentEma(0.1)),
}
ROWS: dict[str, norm.NormPolicy] = {
    "batch/group": norm.batch_group(2),
    "group": norm.group_norm(2),
    "instance": norm.instance_norm(),
    "weighted": norm.example_weighted(0.1),
    "own batch": norm.NormPolicy(inference=norm.OwnBatch()),
    "own batch, prior": norm.NormPolicy(inference=norm.OwnBatch(prior=4)),
    "own ghosts": norm.ghost(2) | norm.NormPolicy(inference=norm.OwnBatch()),
    "no memory": norm.no_memory(),
}


def network() -> Any:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(64, 5))
    layer: Any = net[1]
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.5, 2)
    return net


def other(n: int = 4) -> Tensor:
    return torch.randn(n, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def exported(net: nn.Module, **settings: Any) -> Any:
    return torch.export.export(net, (X,), strict=False, **settings).module()


def anything(net: nn.Module) -> Any:
    rows = torch.export.Dim("rows", min=1, max=64)
    return exported(net, dynamic_shapes=({0: rows},))


def trace(net: nn.Module) -> Any:
    jit: Any = torch.jit
    return jit.trace(net, (X,), check_trace=False)


@pytest.mark.parametrize("policy", [*MEMORY.values(), *ROWS.values()], ids=[*MEMORY, *ROWS])
def test_an_exported_model_computes_what_the_model_does_at_test(policy: norm.NormPolicy) -> None:
    net = norm.convert(network(), policy).eval()
    torch.testing.assert_close(exported(net)(other()), net(other()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", [*MEMORY.values(), *ROWS.values()], ids=[*MEMORY, *ROWS])
def test_training_is_not_exported(policy: norm.NormPolicy) -> None:
    net = norm.convert(network(), policy).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(InputError, match=r"exporting in training mode.*call model\.eval\(\) first"):
        exported(net)
    with pytest.raises(InputError, match=r"tracing a layer that looks at its rows.*call model\.eval\(\) first"):
        trace(net)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("policy", MEMORY.values(), ids=MEMORY)
def test_layers_that_read_their_memory_are_exported_for_any_number_of_rows(policy: norm.NormPolicy) -> None:
    net = norm.convert(network(), policy).eval()
    for make in (anything, trace):
        made = make(net)
        for rows in (4, 1, 7):
            torch.testing.assert_close(made(other(rows)), net(other(rows)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ROWS.values(), ids=ROWS)
def test_layers_that_look_at_their_rows_are_never_traced(policy: norm.NormPolicy) -> None:
    net = norm.convert(network(), policy).eval()
    with pytest.raises(InputError, match=r"tracing a layer that looks at its rows.*use torch\.export"):
        trace(net)


def test_frozen_layers_are_exported_in_training_too_as_they_do_the_same() -> None:
    net = network()
    net[3] = nn.Identity()
    frozen = norm.freeze(net).train()
    for made in (exported(frozen), trace(frozen)):
        torch.testing.assert_close(made(other()), frozen(other()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ROWS.values(), ids=ROWS)
def test_statistics_of_rows_are_exported_as_plain_arithmetic(policy: norm.NormPolicy) -> None:
    # torch's way to ONNX writes a batch_norm that trains as one that reads its memory (torch 2.13, onnxscript 0.7).
    program = torch.export.export(norm.convert(network(), policy).eval(), (X,), strict=False)
    assert not [node for node in program.graph.nodes if "batch_norm" in str(node.target)]


def test_models_around_layers_are_exported_too() -> None:
    split = norm.convert(network(), norm.split(("main", "aux"))).eval()
    split[1].branches["aux"].running_mean.normal_()
    mixture = norm.Mixture(split, {"main": 0.3, "aux": 0.7}).eval()
    for net in (norm.fuse(network()), mixture):
        for made in (exported(net), anything(net), trace(net)):
            torch.testing.assert_close(made(other()), net(other()), rtol=1e-5, atol=1e-6)
    for sharing in ("joint", "separate"):
        head = norm.SharedHead([nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)], ["p3", "p4"], sharing=sharing)
        levels = [X, X.clone()]  # torch.export takes one tensor that comes twice for one input
        with pytest.raises(InputError, match="exporting in training mode"):
            torch.export.export(head, (levels,), strict=False)
        program: Any = torch.export.export(head.eval(), (levels,), strict=False).module()
        for one, two in zip(program([other(), X]), head([other(), X]), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


def test_an_exported_program_shares_memory_with_its_model() -> None:
    net = norm.convert(network(), norm.batch_norm()).eval()
    program = exported(net)
    before = program(other()).detach()
    net[1].running_mean.add_(1)
    assert not torch.equal(program(other()), before)
