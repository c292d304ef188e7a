"""Laws of the training forward, over a table of policies, layouts, number formats and back ends."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from elinvar import norm
from elinvar.check import InputError
from elinvar.norm import layer as layer_module
from elinvar.norm.partition import Ghosts
from elinvar.norm.passes import rows as rows_module
from elinvar.routing import Routing, Trace, route
from norm_reference import Group, normalized

N, C = 10, 6


def strided(count: int, rows: int = N) -> list[Group]:
    return [list(range(g, rows, count)) for g in range(count)]


# Policy, rows of each group for a batch of ten, neighbouring channels that share.
POLICIES: dict[str, tuple[norm.NormPolicy, list[Group], int]] = {
    "ghost5": (norm.ghost(5), strided(2), 1),
    "ghost3": (norm.ghost(3), strided(4), 1),  # sizes 3, 3, 2, 2
    "ghost4_blocks": (norm.ghost(4, "blocks"), [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]], 1),
    "microbatch4": (norm.microbatch(4), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]], 1),
    "batch_group": (norm.batch_group(3), [list(range(N))], 2),
    "batch_group2": (norm.batch_group(2, 2), strided(5), 3),
    "group_norm": (norm.group_norm(2), strided(N), 3),
    "instance_norm": (norm.instance_norm(), strided(N), 1),
    "layer_norm": (norm.layer_norm(), strided(N), 6),
    "two_views": (norm.per_view(), [list(range(4)), list(range(4, N))], 1),
    "split_ghosts": (norm.split(affine="shared") | norm.ghost(2), [[0, 2], [1, 3], [4, 7], [5, 8], [6, 9]], 1),
}
ROUTED = {"two_views": ("main", "main"), "split_ghosts": ("main", "aux")}


@contextmanager
def routed(name: str, layer: nn.Module) -> Iterator[None]:
    if name not in ROUTED:
        yield
        return
    with route(layer, Routing(ROUTED[name], (4, 6)), Trace.COMMIT):
        yield


def values(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return (
        torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).mul(2).add(1).to(dtype)
    )


def layer_of(policy: norm.NormPolicy, channels: int = C) -> Any:
    layer: Any = norm.Norm(channels, policy).double()
    with torch.no_grad():
        for index, parameter in enumerate(layer.parameters()):
            parameter.copy_(values(channels, seed=10 + index))
    return layer


def in_layout(x: Tensor, layout: str) -> Tensor:
    if layout == "channels_last":
        return x.movedim(1, -1).contiguous().movedim(-1, 1)
    if layout == "strange":
        return (
            torch.cat([x, x], 0)[::2] if layout == "every other" else x.transpose(0, -1).contiguous().transpose(0, -1)
        )
    return x


@pytest.fixture(params=["closed", "linked", "dense"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The common forward in closed form; two compiled passes with autograd between; tensor operations."""
    if request.param != "closed":
        monkeypatch.setattr(layer_module, "by_kernel", lambda x: False)
    if request.param == "dense":
        monkeypatch.setattr(rows_module, "by_kernel", lambda x: False)
    return str(request.param)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "strange"])
@pytest.mark.parametrize("shape", [(4, 3), (5,), (2, 3, 2), (1, 1), ()], ids=str)
@pytest.mark.parametrize("name", POLICIES)
def test_values_and_gradients_equal_the_naive_ones(
    name: str, shape: tuple[int, ...], layout: str, backend: str
) -> None:
    policy, groups, width = POLICIES[name]
    if math.prod(shape) * width * min(map(len, groups)) == 1:
        pytest.skip("one value")
    layer = layer_of(policy)
    x = in_layout(values(N, C, *shape), layout).requires_grad_()
    twin = x.detach().clone().requires_grad_()
    gamma, beta = (p.detach().clone().requires_grad_() for p in (layer.weight, layer.bias))
    weights = values(N, C, *shape, seed=1)
    with routed(name, layer):
        y = layer(x)
        (y * weights).sum().backward()
    expected = normalized(twin, groups, width=width, gamma=gamma, beta=beta)
    (expected * weights).sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)
    for ours, theirs in ((x, twin), (layer.weight, gamma), (layer.bias, beta)):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-9)


@given(
    rows=st.integers(1, 9),
    groups=st.integers(1, 3),
    width=st.integers(1, 3),
    shape=st.lists(st.integers(1, 6), max_size=3),
    size=st.integers(1, 10),
    layout=st.sampled_from(["contiguous", "channels_last", "strange"]),
)
def test_any_shape(rows: int, groups: int, width: int, shape: list[int], size: int, layout: str) -> None:
    channels, parts = groups * width, [list(part) for part in Ghosts(size).cut(range(rows))]
    layer = layer_of(norm.batch_group(groups, size), channels)
    x = in_layout(values(rows, channels, *shape), layout).requires_grad_()
    if math.prod(shape) * width * min(map(len, parts)) == 1:
        with pytest.raises(InputError, match="more than 1 value"):
            layer(x)
        return
    twin = x.detach().clone().requires_grad_()
    weights = values(rows, channels, *shape, seed=1)
    (layer(x) * weights).sum().backward()
    expected = normalized(twin, parts, width=width, gamma=layer.weight.detach(), beta=layer.bias.detach())
    (expected * weights).sum().backward()  # type: ignore[no-untyped-call]
    # One group of rows is torch's own function, which keeps no more digits of float64 where channels are stored last.
    torch.testing.assert_close(x.grad, twin.grad, rtol=1e-6, atol=1e-6)
    seen = twin.detach().transpose(0, 1).reshape(channels, -1)
    torch.testing.assert_close(layer.running_mean, 0.1 * seen.mean(1))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 1.6e-2)])
@pytest.mark.parametrize("name", POLICIES)
def test_narrow_numbers_lose_only_their_own_precision(
    name: str, dtype: torch.dtype, tolerance: float, layout: str, backend: str
) -> None:
    policy, groups, width = POLICIES[name]
    layer: Any = norm.Norm(C, policy)
    x = in_layout(values(N, C, 9, 7, dtype=dtype), layout).requires_grad_()
    twin = x.detach().double().requires_grad_()
    with routed(name, layer):
        y = layer(x)
        y.square().mul(values(N, C, 9, 7, seed=1, dtype=dtype)).sum().backward()
    expected = normalized(twin, groups, width=width)
    expected.square().mul(values(N, C, 9, 7, seed=1, dtype=dtype).double()).sum().backward()  # type: ignore[no-untyped-call]
    assert y.dtype == dtype
    assert y.stride() == x.stride()
    largest = float(expected.detach().abs().max())
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=tolerance * largest)
    assert x.grad is not None
    assert twin.grad is not None
    torch.testing.assert_close(x.grad.double(), twin.grad, rtol=0, atol=4 * tolerance * float(twin.grad.abs().max()))


@pytest.mark.parametrize("name", POLICIES)
def test_both_back_ends_remember_the_whole_batch(name: str, backend: str) -> None:
    policy = POLICIES[name][0]
    if not policy.memory.remembers:
        pytest.skip("nothing is remembered")
    layer, x = layer_of(policy), values(N, C, 4, 3)
    with routed(name, layer):
        layer(x)
    for branch, rows in (("main", slice(0, 4)), ("aux", slice(4, N))) if "split" in name else (("main", slice(None)),):
        seen = x[rows].transpose(0, 1).reshape(C, -1)
        bank = layer.bank(branch)
        torch.testing.assert_close(bank.running_mean, 0.1 * seen.mean(1))
        torch.testing.assert_close(bank.running_var, 0.9 + 0.1 * seen.var(1))
        assert bank.num_batches_tracked == 1


@pytest.mark.parametrize("name", POLICIES)
def test_gradients_by_finite_differences_also_second_ones(name: str) -> None:
    layer = layer_of(POLICIES[name][0])
    x = values(N, C, 2).requires_grad_()

    def run(x: Tensor) -> Tensor:
        with route(layer, Routing(ROUTED[name], (4, 6)) if name in ROUTED else Routing(("main",)), Trace.NOTHING):
            out: Tensor = layer(x)
        return out

    assert torch.autograd.gradcheck(run, (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (x,), fast_mode=True)


def test_limits_are_torch_layers() -> None:
    x = values(7, 12, 5, 4)
    limits: list[tuple[norm.NormPolicy, nn.Module]] = [
        (norm.group_norm(4), nn.GroupNorm(4, 12)),
        (norm.layer_norm(), nn.GroupNorm(1, 12)),
        (norm.instance_norm(), nn.InstanceNorm2d(12, affine=True)),
        (norm.ghost(7), nn.BatchNorm2d(12)),
        (norm.ghost(100), nn.BatchNorm2d(12)),
        (norm.batch_group(12), nn.BatchNorm2d(12)),
    ]
    for policy, theirs in limits:
        layer, theirs = layer_of(policy, 12), theirs.double()
        theirs.load_state_dict({k: v for k, v in layer.state_dict().items() if k in theirs.state_dict()})
        torch.testing.assert_close(layer(x), theirs(x), rtol=1e-10, atol=1e-10)
        if not policy.memory.remembers:  # these are the same at test
            torch.testing.assert_close(layer.eval()(x), theirs.eval()(x), rtol=1e-10, atol=1e-10)


def test_ghosts_are_separate_calls_and_one_update() -> None:
    layer, plain, x = layer_of(norm.ghost(4)), nn.BatchNorm2d(C).double(), values(12, C, 3, 3)
    plain.load_state_dict(layer.state_dict())
    y = layer(x)
    for g in range(3):
        torch.testing.assert_close(y[g::3], plain(x[g::3]))
    assert layer.num_batches_tracked == 1


def test_micro_batches_are_what_accumulation_sees() -> None:
    layer, plain, x = layer_of(norm.microbatch(4)), nn.BatchNorm2d(C).double(), values(10, C, 3, 3)
    plain.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x), torch.cat([plain(part) for part in torch.split(x, 4)]))


@given(rows=st.integers(0, 70), size=st.integers(1, 40), order=st.sampled_from(["strided", "blocks"]))
def test_ghost_sizes(rows: int, size: int, order: str) -> None:
    cut = Ghosts(size, order).cut(range(rows))
    assert sorted(int(row) for part in cut for row in part) == list(range(rows))
    sizes = [len(part) for part in cut]
    if rows:
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= max(size, 3)
        assert size == 1 or min(sizes) > 1 or rows == 1
    if size > 1 and rows % size == 0 and rows:
        assert set(sizes) == {size}


def test_ghost_sizes_that_do_not_divide() -> None:
    sizes = {(n, g): [len(part) for part in Ghosts(g, "blocks").cut(range(n))] for n, g in [(33, 32), (10, 3), (5, 2)]}
    assert sizes == {(33, 32): [17, 16], (10, 3): [3, 3, 2, 2], (5, 2): [3, 2]}
    with pytest.raises(InputError, match="not a multiple of the ghost size"):
        norm.Norm(C, norm.NormPolicy(sharing=norm.WholeBatch(ghosts=Ghosts(4, rest="error"))))(values(10, C).float())


@pytest.mark.parametrize("name", POLICIES)
def test_scale_and_shift_of_the_input_change_nothing(name: str) -> None:
    layer = layer_of(POLICIES[name][0])
    layer.eps = 0.0
    x = values(N, C, 4, 3)
    with routed(name, layer):
        torch.testing.assert_close(layer(3.0 * x - 5.0), layer(x), rtol=1e-9, atol=1e-9)


@given(seed=st.integers(0, 2**31), rows=st.integers(2, 12), size=st.integers(2, 12))
def test_no_value_leaves_the_bound(seed: int, rows: int, size: int) -> None:
    """|x_hat| <= sqrt(n - 1), n values in a statistic; up to float32's rounding."""
    x = values(rows, 2, seed=seed, dtype=torch.float32).pow(5)
    largest = max(map(len, Ghosts(size).cut(range(rows))))
    assert float(norm.Norm(2, norm.ghost(size))(x).detach().abs().max()) <= math.sqrt(largest - 1) * (1 + 1e-5)


def test_the_bound_is_reached_when_one_value_differs() -> None:
    for n in (2, 16, 100):
        layer: Any = norm.Norm(1, eps=1e-5).double()
        x = torch.full((n, 1), 7.0, dtype=torch.float64)
        x[0] = 0.0
        expected = -(n - 1) * 7.0 / math.sqrt((n - 1) * 49.0 + n**2 * 1e-5)
        assert float(layer(x)[0].detach()) == pytest.approx(expected, rel=1e-12)
        assert abs(expected) < math.sqrt(n - 1)


@pytest.mark.parametrize("name", ["ghost5", "batch_group", "split_ghosts", "two_views", "group_norm"])
def test_empty_batches_pass_and_leave_no_trace(name: str, backend: str) -> None:
    layer = layer_of(POLICIES[name][0])
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    x = values(0, C, 4, 3).requires_grad_()
    layer(x).sum().backward()
    assert layer(x).shape == x.shape
    assert x.grad is not None
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())
    if name in ROUTED:  # one of two views is empty
        y = values(5, C, 4, 3)
        with route(layer, Routing(ROUTED[name], (5, 0)), Trace.COMMIT):
            assert layer(y).isfinite().all()
        assert layer.num_batches_tracked == 1


def test_an_empty_plain_batch_is_not_counted_either() -> None:
    layer: Any = norm.Norm(3, norm.NormPolicy(memory=norm.Average()))
    for fill in (1.0, None, 3.0):
        layer(
            torch.empty(0, 3, 2)
            if fill is None
            else torch.tensor([fill - 1, fill + 1]).reshape(2, 1, 1).expand(2, 3, 2)
        )
    torch.testing.assert_close(layer.running_mean, torch.full((3,), 2.0))
    assert layer.num_batches_tracked == 2


def test_groups_of_one_value_are_refused() -> None:
    for policy, shape in (
        (norm.instance_norm(), (4, C)),
        (norm.instance_norm(), (4, C, 1, 1)),
        (norm.ghost(2), (1, C)),
    ):
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            norm.Norm(C, policy)(torch.randn(shape))
    assert norm.Norm(C, norm.instance_norm())(torch.randn(1, C, 2, 2)).isfinite().all()


def test_what_is_not_finite_shows(backend: str) -> None:
    layer: Any = norm.Norm(2, norm.ghost(2))
    x = values(4, 2, 3, dtype=torch.float32)
    x[0, 0, 0] = torch.nan
    y = layer(x)
    assert y[[0, 2], 0].isnan().all()
    assert y[[1, 3]].isfinite().all()
    assert y[:, 1].isfinite().all()


def test_a_large_mean_costs_no_digits(backend: str) -> None:
    x = 1e4 + values(64, C, 8, 8, dtype=torch.float32)
    layer: Any = norm.Norm(C, norm.ghost(16))
    expected = normalized(x, strided(4, 64))
    torch.testing.assert_close(layer(x).double(), expected, rtol=0, atol=2e-3)  # float32 near 1e4 has steps of 1e-3
    plain = nn.BatchNorm2d(C)
    plain(x)
    torch.testing.assert_close(layer.running_var, plain.running_var, rtol=1e-4, atol=0)


def test_policies_join() -> None:
    joined = norm.split() | norm.ghost(16) | norm.example_weighted(0.1)
    assert joined == replace(
        norm.split(), sharing=norm.PerBranch(ghosts=Ghosts(16)), inference=norm.ExampleWeighted(0.1)
    )
    assert norm.batch_norm() | joined == joined | norm.batch_norm() == joined | joined == joined
    for a, b, what in (
        (norm.ghost(8), norm.ghost(16), "sharing.ghosts"),
        (norm.split(), norm.split(("main", "other")), "branches"),
        (norm.split(), norm.per_view(), "kind of sharing"),
        (norm.example_weighted(0.1), norm.example_weighted(0.2), "inference"),
    ):
        with pytest.raises(InputError, match=f"contradict each other on {what}"):
            a | b


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ghosts(0), "at least one row"),
        (lambda: Ghosts(2, "random"), "expected 'strided' or 'blocks'"),
        (lambda: Ghosts(2, rest="drop"), "expected 'even', 'short' or 'error'"),
        (lambda: Ghosts(2, rest="short"), "needs order='blocks'"),
        (lambda: norm.batch_group(0), "channel_groups: got 0"),
        (lambda: norm.Norm(6, norm.batch_group(4)), "cannot be cut into 4 channel groups"),
        (lambda: norm.sync() | norm.ghost(4), "live inside one worker"),
        (lambda: norm.sync() | norm.instance_norm(), "never leave their worker"),
        (lambda: norm.example_weighted(1.5), "in \\[0, 1\\], got 1.5"),
        (lambda: norm.OwnBatch(-1.0), "expected at least 0"),
        (lambda: norm.NormPolicy(memory=norm.Nothing(), inference=norm.ExampleWeighted(0.5)), "reads a memory"),
        (lambda: norm.NormPolicy(memory=norm.Nothing(), inference=norm.OwnBatch(4.0)), "reads a memory"),
        (lambda: norm.instance_norm() | norm.NormPolicy(memory=norm.Renorm()), "contradict each other on memory"),
        (lambda: norm.NormPolicy(memory=norm.Renorm(), sharing=norm.WholeBatch(ghosts=Ghosts(1))), "single examples"),
        (lambda: norm.Renorm(r_max=0.5), "r_max must be at least 1"),
        (lambda: norm.Renorm(d_max=-1.0), "d_max at least 0"),
        (lambda: norm.Renorm(start=10, r_end=5), "in order"),
        (lambda: norm.MomentEma(2.0), "decay of 0.99 is a momentum"),
    ],
)
def test_what_makes_no_sense_is_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


def test_the_momentum_can_be_set_as_on_torch_layers() -> None:
    layer: Any = norm.Norm(3)
    layer.momentum = 0.5
    x = values(8, 3, dtype=torch.float32)
    layer(x)
    torch.testing.assert_close(layer.running_mean, x.mean(0) / 2)
    layer.momentum = None
    assert layer.policy.memory == norm.Average()
