"""Recorded output ranges, and the bound sqrt(N - 1)."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from elinvar import norm
from elinvar.check import InputError
from elinvar.experiments import Range, output_ranges
from elinvar.norm import NormPolicy
from elinvar.routing import Routing, Trace, route


def layer(policy: NormPolicy, channels: int = 4, eps: float = 1e-12) -> norm.Norm:
    made = norm.Norm(channels, policy, eps=eps)
    with torch.no_grad():
        assert made.weight is not None
        assert made.bias is not None
        made.weight.copy_(torch.linspace(-1.0, 2.5, channels))
        made.bias.copy_(torch.linspace(3.0, -1.0, channels))
    return made


def ranges(of: nn.Module, *inputs: torch.Tensor) -> Range:
    with output_ranges(of) as found:
        for x in inputs:
            of(x)
    (seen,) = found.values()
    return seen


@pytest.mark.parametrize(
    ("policy", "values"),
    [
        (norm.batch_norm(), 8 * 9),
        (norm.ghost(2), 2 * 9),
        (norm.ghost(4, "blocks"), 4 * 9),
        (norm.batch_group(2, 2), 2 * 9 * 2),
        (norm.instance_norm(), 9),
        (norm.group_norm(2), 9 * 2),
    ],
)
def test_one_value_that_differs_reaches_the_bound(policy: NormPolicy, values: int) -> None:
    x = torch.zeros(8, 4, 3, 3)
    x[0, :, 0, 0] = 1.0
    if policy.sharing.channel_groups:  # one value among all channels of a group
        x[0, 1, 0, 0] = x[0, 3, 0, 0] = 0.0
    seen = ranges(layer(policy), x)
    assert seen.bound == pytest.approx(math.sqrt(values - 1))
    assert seen.high == pytest.approx(seen.bound, rel=1e-5)
    assert seen.extent == seen.high
    assert ranges(layer(policy), -x).low == pytest.approx(-seen.bound, rel=1e-5)


def test_it_sees_what_a_plain_computation_gives_over_all_forwards() -> None:
    inputs = [torch.randn(6, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    seen = ranges(layer(norm.batch_norm()), *inputs)
    values = torch.cat([(x - x.mean(0)) / x.var(0, correction=0).sqrt() for x in inputs])
    assert seen.low == pytest.approx(values.min().item(), rel=1e-4)
    assert seen.high == pytest.approx(values.max().item(), rel=1e-4)
    assert seen.bound == pytest.approx(math.sqrt(5))


def test_each_branch_by_its_own_gamma_and_beta() -> None:
    of = layer(norm.split(("main", "aux")))
    model = nn.Sequential(of)
    for parameter, value in zip(of.affine_of("aux"), (50.0, -7.0), strict=True):
        assert parameter is not None
        nn.init.constant_(parameter, value)
    x = torch.randn(10, 4, generator=torch.Generator().manual_seed(1))
    with output_ranges(model) as found, route(model, Routing(("main", "aux"), (6, 4)), Trace.NOTHING):
        model(x)
    values = torch.cat([(part - part.mean(0)) / part.std(0, correction=0) for part in (x[:6], x[6:])])
    assert found["0"].high == pytest.approx(values.max().item(), rel=1e-4)
    assert found["0"].bound == pytest.approx(math.sqrt(5))


def test_at_test_nothing_bounds_the_output_unless_the_batch_normalizes_itself() -> None:
    of = layer(norm.batch_norm()).eval()
    x = 100.0 * torch.ones(4, 4)
    assert ranges(of, x).bound == math.inf
    assert ranges(of, x).high == pytest.approx(100.0, rel=1e-4)
    of.policy = replace(of.policy, inference=norm.OwnBatch())
    assert ranges(of, x).bound == pytest.approx(math.sqrt(3))
    of.policy = replace(of.policy, inference=norm.OwnBatch(prior=2.0))
    assert ranges(of, x).bound == math.inf


@pytest.mark.parametrize("memory", [norm.Frozen(), norm.Renorm()])
def test_no_bound_where_the_memory_takes_part_in_training(memory: norm.Memory) -> None:
    assert ranges(layer(NormPolicy(memory=memory)), torch.randn(4, 4)).bound == math.inf


def test_channels_without_gamma_and_empty_batches_are_left_out() -> None:
    of = layer(norm.batch_norm())
    with torch.no_grad():
        of.weight.zero_()  # type: ignore[union-attr]
    seen = ranges(of, torch.randn(4, 4), torch.randn(0, 4))
    assert seen.extent == -math.inf
    of = norm.Norm(4, NormPolicy(affine=norm.Affine.NONE))
    assert ranges(of, torch.randn(4, 4)).extent > 0


def test_hooks_are_gone_after_an_error() -> None:
    of = layer(norm.batch_norm())
    with pytest.raises(RuntimeError, match="stop"), output_ranges(of):
        raise RuntimeError("stop")
    assert not of._forward_hooks
    with pytest.raises(InputError, match=r"convert the model first"), output_ranges(nn.Linear(2, 2)):
        pass
