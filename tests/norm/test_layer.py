"""Laws of the normalization layer over its policies; the references are torch's own layers on the same rows."""

import copy
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from elinvar import norm
from elinvar.check import InputError
from elinvar.routing import Routing, Trace, route

POLICIES = {
    "batch_norm": norm.batch_norm(),
    "average": norm.NormPolicy(memory=norm.Average()),
    "per_view": norm.per_view(),
    "split": norm.split(),
    "split_shared": norm.split(affine="shared"),
    "no_affine": norm.NormPolicy(affine=norm.Affine.NONE),
    "no_memory": norm.no_memory(),
}
SIZES, BRANCHES = (3, 4, 5), ("main", "aux", "main")


def batch(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).mul(2).add(1).to(dtype)


def routed(sizes: tuple[int, ...] = SIZES, branches: tuple[str, ...] = BRANCHES) -> Routing:
    return Routing(branches, sizes)


def memory_of(layer: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in layer.state_dict().items() if "running" in key or "num" in key}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_default_is_torch_bit_for_bit(momentum: float | None, last: bool, dtype: torch.dtype) -> None:
    """In channels_last, where torch's training sums lose digits, up to rounding."""
    memory_format = torch.channels_last if last else torch.contiguous_format
    within = {torch.float32: 2e-6, torch.bfloat16: 2e-2, torch.float64: 1e-12}[dtype]

    def alike(a: Tensor | None, b: Tensor | None, *, bits: bool, values: int = 1) -> None:
        assert a is not None
        assert b is not None
        assert torch.equal(a, b) if bits else torch.allclose(a, b, rtol=within, atol=within * values)

    plain = nn.BatchNorm2d(6, momentum=momentum)
    if dtype is torch.float64:
        plain = plain.double()
    ours = norm.convert(copy.deepcopy(plain), norm.batch_norm())
    assert list(ours.state_dict()) == list(plain.state_dict())
    for step in range(4):
        if step == 3:
            plain.eval(), ours.eval()
        x = batch(5, 6, 4, 3, seed=step, dtype=dtype).to(memory_format=memory_format)
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        y, z = plain(a), ours(b)
        y.square().sum().backward(), z.square().sum().backward()
        alike(y, z, bits=not last)
        assert y.dtype == z.dtype
        assert y.stride() == z.stride()
        alike(a.grad, b.grad, bits=not last)
        for key, value in plain.state_dict().items():
            alike(value, ours.state_dict()[key], bits=not last)
    for p, q in zip(plain.parameters(), ours.parameters(), strict=True):
        alike(p.grad, q.grad, bits=not last, values=5 * 4 * 3)


@pytest.mark.parametrize("shape", [(7, 4), (7, 4, 5), (7, 4, 3, 2), (7, 4, 2, 2, 2)])
def test_any_number_of_dimensions(shape: tuple[int, ...]) -> None:
    x = batch(*shape)
    y = norm.Norm(4)(x)
    flat = y.transpose(0, 1).reshape(4, -1)
    torch.testing.assert_close(flat.mean(1), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(flat.var(1, correction=0), torch.ones(4), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", [name for name, policy in POLICIES.items() if policy.memory.remembers])
def test_a_read_only_forward_leaves_no_trace_and_a_proposal_waits_for_commit(name: str) -> None:
    layer = norm.Norm(4, POLICIES[name])
    before, x = memory_of(layer), batch(12, 4, 3, 3)
    with route(layer, routed(), Trace.NOTHING):
        read = layer(x)
    norm.commit(layer)
    assert same(before, memory_of(layer))
    with route(layer, routed(), Trace.PROPOSE):
        recorded = layer(x)
    assert torch.equal(read, recorded)
    assert same(before, memory_of(layer))
    norm.commit(layer)
    assert not same(before, memory_of(layer))
    after = memory_of(layer)
    norm.commit(layer)  # nothing is proposed any more
    assert same(after, memory_of(layer))
    with route(layer, routed(), Trace.PROPOSE):
        layer(x)
    norm.discard(layer)
    norm.commit(layer)
    assert same(after, memory_of(layer))


def rows_of(groups: str) -> list[tuple[str, list[int]]]:
    one, two, three = list(range(3)), list(range(3, 7)), list(range(7, 12))
    return {
        "joint": [("main", one + two + three)],
        "views": [("main", one), ("main", two), ("main", three)],
        "branches": [("main", one + three), ("aux", two)],
    }[groups]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("policy", "groups"),
    [(norm.batch_norm(), "joint"), (norm.per_view(), "views"), (norm.split(), "branches")],
    ids=["joint", "views", "branches"],
)
def test_a_group_is_normalized_as_if_it_were_alone(
    policy: norm.NormPolicy, groups: str, memory_format: torch.memory_format
) -> None:
    layer = norm.Norm(4, policy).double()
    with torch.no_grad():
        for index, parameter in enumerate(layer.parameters()):
            parameter.copy_(batch(4, seed=10 + index))
    x = batch(12, 4, 3, 2, dtype=torch.float64).to(memory_format=memory_format).requires_grad_()
    weights = batch(12, 4, 3, 2, seed=1, dtype=torch.float64)
    with route(layer, routed(), Trace.PROPOSE):
        y = layer(x)
        (y * weights).sum().backward()
    norm.commit(layer)
    assert x.grad is not None
    for branch, rows in rows_of(groups):
        alone = nn.BatchNorm2d(4).double()
        weight, bias = layer.affine_of(branch)
        assert weight is not None
        assert bias is not None
        alone.load_state_dict({**alone.state_dict(), "weight": weight.detach(), "bias": bias.detach()})
        part = x.detach()[rows].clone().requires_grad_()
        expected = alone(part)
        (expected * weights[rows]).sum().backward()
        assert part.grad is not None
        torch.testing.assert_close(y[rows], expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(x.grad[rows], part.grad, rtol=1e-11, atol=1e-11)
    for branch in policy.branches:  # each bank moved once, by the pooled moments of all its rows
        rows = [row for name, some in rows_of(groups) for row in some if name == branch]
        seen = x.detach()[rows].transpose(0, 1).reshape(4, -1)
        bank = layer.bank(branch)
        torch.testing.assert_close(bank.running_mean, seen.mean(1) * 0.1)
        torch.testing.assert_close(bank.running_var, 0.9 + 0.1 * seen.var(1))
        assert bank.num_batches_tracked == 1


@pytest.mark.parametrize("policy", [norm.split(), norm.per_view()], ids=["split", "per_view"])
def test_gradients_of_groups_by_finite_differences(policy: norm.NormPolicy) -> None:
    layer = norm.Norm(2, policy).double()
    x = batch(7, 2, 2, dtype=torch.float64).requires_grad_()

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        names = [name for name, _ in layer.named_parameters()]
        routing = Routing(("main", "aux"), (3, 4))
        with route(layer, routing, Trace.NOTHING):
            out: Tensor = torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))
        return out

    assert torch.autograd.gradcheck(run, (x, *layer.parameters()))


def test_eval_reads_the_bank_of_each_branch() -> None:
    layer = norm.Norm(3, norm.split())
    for step in range(3):
        with route(layer, Routing(("main", "aux"), (4, 4)), Trace.COMMIT):
            layer(torch.cat([batch(4, 3, 2, seed=step), 3 * batch(4, 3, 2, seed=9 + step)]))
    layer.eval()
    x = batch(5, 3, 2, seed=20)
    main = layer(x)
    with norm.branch(layer, "aux"):
        aux = layer(x)
    with route(layer, Routing(("aux", "main"), (2, 3)), Trace.NOTHING):
        both = layer(x)
    assert not torch.allclose(main, aux)
    torch.testing.assert_close(both, torch.cat([aux[:2], main[2:]]))


def test_accumulated_micro_batches_commit_once_by_their_pooled_moments() -> None:
    layer, x = norm.Norm(3), batch(10, 3, 4)
    for part in (x[:4], x[4:]):
        with route(layer, Routing(("main",)), Trace.PROPOSE):
            layer(part)
    norm.commit(layer)
    whole = norm.Norm(3)
    whole(x)
    torch.testing.assert_close(memory_of(layer), memory_of(whole))
    assert layer.num_batches_tracked == 1


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("trace", [Trace.COMMIT, Trace.PROPOSE])
def test_activation_checkpointing_is_remembered_once(use_reentrant: bool, trace: Trace) -> None:
    from torch.utils.checkpoint import checkpoint

    plain, layer = norm.Norm(3), norm.Norm(3)
    x = batch(6, 3, 4).requires_grad_()
    plain(x.detach())
    with route(layer, Routing(("main",)), trace):
        checkpoint(layer, x, use_reentrant=use_reentrant).square().sum().backward()
    norm.commit(layer)
    torch.testing.assert_close(memory_of(layer), memory_of(plain), rtol=1e-6, atol=1e-7)
    assert layer.num_batches_tracked == 1


def test_routing_errors_name_the_remedy() -> None:
    layer = norm.Norm(3)
    with (
        route(layer, Routing(("main", "main"), (2, 3)), Trace.NOTHING),
        pytest.raises(InputError, match="covers 5 rows"),
    ):
        layer(batch(6, 3))
    assert layer.session is None
    split = norm.Norm(3, norm.split())
    with (
        route(split, Routing(("main", "weak"), (3, 3)), Trace.NOTHING),
        pytest.raises(InputError, match=r"norm\.split"),
    ):
        split(batch(6, 3))
    with pytest.raises(InputError, match="expects"):
        layer(batch(6, 4))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layer(batch(1, 3))
    with (
        route(split, Routing(("main", "aux"), (1, 5)), Trace.NOTHING),
        pytest.raises(ValueError, match="more than 1 value per channel"),
    ):
        split(batch(6, 3))


def test_routes_nest_and_restore_after_an_error() -> None:
    layer = norm.Norm(3)
    outer = Routing(("main",), (6,))
    with route(layer, outer, Trace.PROPOSE):
        with pytest.raises(RuntimeError, match="stop"), route(layer, Routing(("main",)), Trace.NOTHING):
            raise RuntimeError("stop")
        assert layer.session is not None
        assert layer.session.routing == outer
    assert layer.session is None


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: norm.split(branches=("main", "main")), "distinct"),
        (lambda: norm.split(branches=("main", "a-b")), "identifiers"),
        (lambda: norm.NormPolicy(branches=("main", "aux")), "PerBranch"),
        (lambda: norm.NormPolicy(affine=norm.Affine.SEPARATE), "at least two branches"),
        (lambda: norm.NormPolicy(memory=norm.Nothing()), "OwnBatch"),
        (lambda: norm.batch_norm(momentum=1.5), "momentum"),
        (lambda: norm.Norm(0), "channels"),
    ],
)
def test_meaningless_policies_are_refused(make: Callable[[], object], text: str) -> None:
    with pytest.raises(InputError, match=text):
        make()


def test_moments_pool_by_the_law_of_total_variance() -> None:
    parts = [batch(n, 2, seed=n, dtype=torch.float64) for n in (2, 5, 9)]
    pooled = norm.pool([norm.Moments(len(p), p.mean(0), p.var(0)) for p in parts])
    whole = torch.cat(parts)
    torch.testing.assert_close(pooled.mean, whole.mean(0))
    torch.testing.assert_close(pooled.variance, whole.var(0))
    torch.testing.assert_close(pooled.biased(), whole.var(0, correction=0))
    with pytest.raises(InputError, match="no moments"):
        norm.pool([])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("policy", [norm.batch_norm(), norm.split()], ids=["plain", "split"])
def test_layers_that_were_cast_work_inside_a_route_too(policy: norm.NormPolicy, dtype: torch.dtype) -> None:
    layer = norm.Norm(4, policy).to(dtype)
    x = batch(12, 4, 3, dtype=dtype).requires_grad_()
    with route(layer, routed(), Trace.PROPOSE):
        layer(x).square().sum().backward()
    before = memory_of(layer)
    norm.commit(layer)
    assert not same(before, memory_of(layer))
    # Half precision would swallow small updates, so the memory stays float32.
    assert memory_of(layer)["running_mean"].dtype == torch.promote_types(dtype, torch.float32)


def test_branches_without_gamma_and_beta_have_gradients() -> None:
    policy = norm.NormPolicy(sharing=norm.PerBranch(), affine=norm.Affine.NONE, branches=("main", "aux"))
    layer, x = norm.Norm(4, policy), batch(12, 4, 3).requires_grad_()
    with route(layer, routed(), Trace.NOTHING):
        (layer(x) * batch(12, 4, 3, seed=1)).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_a_forward_that_commits_at_once_leaves_other_proposals_waiting() -> None:
    layer, x = norm.Norm(3, norm.split()), batch(8, 3, 4)
    halves = Routing(("main", "aux"), (4, 4))
    with route(layer, halves, Trace.PROPOSE):
        layer(x)
        with route(layer, halves, Trace.COMMIT):
            layer(x + 1)
    assert layer.num_batches_tracked == 1
    norm.commit(layer)
    assert layer.num_batches_tracked == 2


def test_layers_compile_without_a_break() -> None:
    # In a process of its own: the shape checks of the tests cannot be compiled.
    code = """
import torch
from elinvar import norm
layer, plain, x = norm.Norm(3), norm.Norm(3), torch.randn(6, 3, 4)
compiled = torch.compile(layer, fullgraph=True, backend="eager")
torch.testing.assert_close(compiled(x), plain(x))
torch.testing.assert_close(layer.state_dict(), plain.state_dict())
assert int(layer.num_batches_tracked) == 1
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_batchnorm_that_knows_no_routing_is_not_routed_silently() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3))
    with pytest.raises(InputError, match=r"norm\.convert"), route(model, Routing(("main",)), Trace.NOTHING):
        model(batch(4, 3))
    with route(model.eval(), Routing(("main",)), Trace.NOTHING):
        model(batch(4, 3))
    with pytest.raises(InputError, match="no layer has a branch 'weak'"), norm.branch(norm.Norm(3), "weak"):
        pass
