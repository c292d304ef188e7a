"""Sums of normalization keep their digits, whatever the memory format, the number of values and the policy.

The kind: torch 2.13 sums inputs whose channels are stored last in one running float32 sum for each thread, so that with
mean 1,000 and deviation 1 at 8 x 3 x 224 x 224 the variance is eight times too large. What else was tried, each against
float64 written down naively: images in 0 to 255; maps of three dimensions; sequences stored as (N, L, C); (N, C) stored
by channels; transposed, sliced and expanded inputs; odd sizes that fill no register; constant channels; a first
value far from all others; half precision and autocast; gradients with a mean of their own; the gradients of a layer
that normalizes by its memory; every policy, by each of the three ways to compute; one, two and three threads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elinvar import norm
from elinvar.norm import layer as layer_module
from elinvar.norm.partition import Partition
from elinvar.norm.passes import dense
from elinvar.norm.passes import rows as rows_module
from elinvar.routing import Routing, Trace, route

LAST, LAST_3D = torch.channels_last, torch.channels_last_3d


def normal(*shape: int, mean: float = 1000.0, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).add(mean)


def stored_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def images() -> Tensor:
    return torch.randint(0, 256, (8, 3, 96, 96), generator=torch.Generator().manual_seed(0)).float()


INPUTS = {
    "the case itself": lambda: normal(8, 3, 224, 224).to(memory_format=LAST),
    "images": lambda: images().to(memory_format=LAST),
    "around 0": lambda: normal(16, 5, 40, 40, mean=0.0).to(memory_format=LAST),
    "many channels": lambda: normal(4, 130, 14, 14).to(memory_format=LAST),
    "odd sizes": lambda: normal(5, 7, 13, 11).to(memory_format=LAST),
    "volumes": lambda: normal(3, 3, 9, 20, 21).to(memory_format=LAST_3D),
    "sequences": lambda: stored_last(normal(6, 5, 4001)),
    "rows across": lambda: normal(6, 9_001).t(),
    "axes swapped": lambda: normal(4, 3, 50, 70).transpose(2, 3),
    "a part of channels_last": lambda: normal(4, 6, 60, 64).to(memory_format=LAST)[:, :, 1:, 3:],
    "every other channel": lambda: normal(4, 6, 60, 64).to(memory_format=LAST)[:, ::2],
    "every other row": lambda: normal(8, 3, 60, 64)[::2],
    "repeated": lambda: normal(4, 3, 100, 1).expand(-1, -1, -1, 50),
}


def expected(x: Tensor, up: Tensor, groups: list[list[int]], gamma: Tensor, beta: Tensor, width: int) -> list[Tensor]:
    """y, and gradients of x, gamma and beta, in float64 and by hand: rows of a group and `width` channels share."""
    flat, slope = (t.detach().double().reshape(*t.shape[:2], -1) for t in (x, up))
    g, b = (t.detach().double()[:, None] for t in (gamma, beta))
    y, of_x = torch.empty_like(flat), torch.empty_like(flat)
    of_gamma, of_beta = (torch.zeros(flat.shape[1], dtype=torch.float64) for _ in range(2))
    for rows in groups:
        for first in range(0, flat.shape[1], width):
            some = slice(first, first + width)
            values, ups, own = flat[rows][:, some], slope[rows][:, some], g[some]
            off = values - values.mean()
            inverse = 1 / (off.square().mean() + 1e-5).sqrt()
            hat, h = off * inverse, ups * own
            y[rows, some] = hat * own + b[some]
            of_x[rows, some] = inverse * (h - h.mean() - hat * (h * hat).mean())
    for rows in groups:
        for first in range(0, flat.shape[1], width):
            values, ups = flat[rows][:, first : first + width], slope[rows][:, first : first + width]
            off = values - values.mean()
            hat = off / (off.square().mean() + 1e-5).sqrt()
            pad = [first, flat.shape[1] - first - hat.shape[1]]
            of_gamma += F.pad((ups * hat).sum((0, 2)), pad)
            of_beta += F.pad(ups.sum((0, 2)), pad)
    return [y.reshape(x.shape), of_x.reshape(x.shape), of_gamma, of_beta]


def close(found: Tensor, wanted: Tensor, within: float = 1e-5, scale: float | None = None) -> None:
    scale = float(wanted.abs().max()) if scale is None else scale
    assert float((found.detach().double() - wanted).abs().max()) <= within * scale


def trained(layer: Any, x: Tensor, up: Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    y = layer(x)
    y.backward(up)
    assert x.grad is not None
    return [y.detach(), x.grad, layer.weight.grad, layer.bias.grad, layer.running_mean, layer.running_var]


def slopes(x: Tensor, mean: float = 0.0) -> Tensor:
    return torch.empty_like(x).copy_(normal(*x.shape, mean=mean, seed=1))


def fresh(channels: int, policy: norm.NormPolicy) -> Any:
    layer: Any = norm.Norm(channels, policy | norm.batch_norm(momentum=1.0))
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(0.5, 1.5, channels))
        layer.bias.copy_(torch.linspace(-1.0, 1.0, channels))
    return layer


@pytest.mark.parametrize("name", INPUTS)
def test_the_default_equals_float64_in_every_memory_format(name: str) -> None:
    x = INPUTS[name]()
    layer, up = fresh(x.shape[1], norm.batch_norm()), slopes(x)
    found = trained(layer, x, up)
    by_channel = x.double().transpose(0, 1).reshape(x.shape[1], -1)
    wanted = [
        *expected(x, up, [list(range(len(x)))], layer.weight, layer.bias, 1),
        by_channel.mean(1),
        by_channel.var(1),
    ]
    for ours, right in zip(found, wanted, strict=True):
        close(ours, right)


@pytest.mark.parametrize("name", ["the case itself", "odd sizes", "many channels", "sequences"])
def test_the_number_of_threads_changes_no_bit(name: str) -> None:
    x, before, found = INPUTS[name](), torch.get_num_threads(), []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found.append(trained(fresh(x.shape[1], norm.batch_norm()), x, slopes(x)))
    torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("shape", [(60_000, 6), (5_000, 7, 1, 1), (8, 5, 30, 30)])
def test_contiguous_inputs_keep_the_bits_of_torch(shape: tuple[int, ...]) -> None:
    x = normal(*shape)
    theirs: Any = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(shape[1], momentum=1.0)
    layer = fresh(shape[1], norm.batch_norm())
    theirs.load_state_dict(layer.state_dict())
    for ours, right in zip(trained(layer, x, slopes(x)), trained(theirs, x, slopes(x)), strict=True):
        assert torch.equal(ours, right)


N, C = 12, 6
POLICIES: dict[str, tuple[norm.NormPolicy, list[list[int]], int]] = {
    "plain": (norm.batch_norm(), [list(range(N))], 1),
    "average": (norm.NormPolicy(memory=norm.Average()), [list(range(N))], 1),
    "no memory": (norm.no_memory(), [list(range(N))], 1),
    "ghosts": (norm.ghost(6), [list(range(g, N, 2)) for g in range(2)], 1),
    "blocks": (norm.ghost(3, "blocks"), [list(range(g, g + 3)) for g in range(0, N, 3)], 1),
    "views": (norm.per_view(), [list(range(4)), list(range(4, N))], 1),
    "split": (norm.split(affine="shared"), [list(range(4)), list(range(4, N))], 1),
    "batch-group": (norm.batch_group(2), [list(range(N))], 3),
    "group": (norm.group_norm(3), [[n] for n in range(N)], 2),
    "instance": (norm.instance_norm(), [[n] for n in range(N)], 1),
    "renorm": (norm.NormPolicy(memory=norm.Renorm(r_max=1.0, d_max=0.0)), [list(range(N))], 1),
    "moments": (norm.NormPolicy(memory=norm.MomentEma(0.1)), [list(range(N))], 1),
}
ROUTED = {"views": ("main", "main"), "split": ("main", "aux")}


@contextmanager
def routed(name: str, layer: nn.Module) -> Iterator[None]:
    if name not in ROUTED:
        yield
        return
    with route(layer, Routing(ROUTED[name], (4, N - 4)), Trace.COMMIT):
        yield


@pytest.mark.parametrize("way", ["closed", "linked", "dense"])
@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_equals_float64(name: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way != "closed":
        monkeypatch.setattr(layer_module, "by_kernel", lambda x: False)
        monkeypatch.setattr(layer_module, "sums_well", lambda x: False)
    if way == "dense":
        monkeypatch.setattr(rows_module, "by_kernel", lambda x: False)
    if way != "closed" and name in ("plain", "average", "no memory", "moments"):
        pytest.skip("where no kernel computes, the default is torch's function")
    policy, groups, width = POLICIES[name]
    layer: Any = norm.Norm(C, policy)
    x = normal(N, C, 40, 41).to(memory_format=LAST).requires_grad_()
    up = slopes(x)
    with routed(name, layer):
        y = layer(x)
        y.backward(up)
    wanted = expected(x, up, groups, layer.weight, layer.bias, width)
    # Tensor operations keep means in float32: half a unit in the last place of 1,000 is 3e-5 deviations.
    within = (2e-5, 2e-5, 1e-4, 1e-5) if way == "dense" else (1e-5,) * 4
    for ours, right, most in zip((y, x.grad, layer.weight.grad, layer.bias.grad), wanted, within, strict=True):
        close(ours, right, most)


def test_all_policies_of_one_group_agree_and_with_contiguous_inputs() -> None:
    x, up = normal(N, C, 40, 41), slopes(normal(N, C, 40, 41))
    plain = trained(fresh(C, norm.batch_norm()), x, up)
    for policy in (norm.batch_norm(), norm.ghost(N), norm.per_view(), norm.split(affine="shared"), norm.batch_group(C)):
        within = (2e-5, 2e-5, 1e-4, 1e-5, 1e-6, 1e-6)  # torch's function rounds the mean to float32, too
        found = trained(fresh(C, policy), x.to(memory_format=LAST), up)
        for ours, other, most in zip(found, plain, within, strict=True):
            close(ours, other.double(), most)


@pytest.mark.parametrize("last", [False, True])
def test_gradients_with_a_mean_do_not_leak_into_that_of_gamma(last: bool) -> None:
    """sum g x_hat is small where g is nearly constant: an error of the mean comes in with the sum of g."""
    x = normal(N, C, 40, 41).to(memory_format=LAST if last else torch.contiguous_format)
    up, layer = slopes(x, mean=1.0), fresh(C, norm.ghost(6))
    found = trained(layer, x, up)
    wanted = expected(x, up, [list(range(g, N, 2)) for g in range(2)], layer.weight, layer.bias, 1)
    close(found[2], wanted[2], 1e-6, scale=N * 40 * 41)  # about the sum of |g x_hat|, of which float32 rounds each
    close(found[1], wanted[1], 1e-6)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    "policy", [norm.batch_norm(), norm.ghost(2), norm.instance_norm()], ids=["plain", "ghost", "one"]
)
def test_a_constant_channel_is_beta(policy: norm.NormPolicy, last: bool) -> None:
    x = torch.full((4, 3, 70, 71), 1000.3).to(memory_format=LAST if last else torch.contiguous_format)
    layer: Any = norm.Norm(3, policy)
    if last or policy != norm.batch_norm():
        assert not layer(x).any()
    x[0, 0, 0, 0] = 0.0  # one value far from all others, and the first
    wanted = norm.Norm(3, policy).double()(x.double()).detach()
    if last or policy != norm.batch_norm():
        close(layer(x), wanted, 1e-5)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("places", [(14, 14), (60, 61)])
def test_example_weighting_by_far_first_values(places: tuple[int, int], last: bool) -> None:
    x = normal(3, 4, *places, mean=5.0)
    x[:, :, 0, 0] = 1e3
    x = x.to(memory_format=LAST if last else torch.contiguous_format)
    layer = norm.Norm(4, norm.example_weighted(0.5)).eval()
    with torch.no_grad():
        close(layer(x), layer.double()(x.double()), 1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_results_only(dtype: torch.dtype) -> None:
    x = images().to(dtype).to(memory_format=LAST)
    layer, up = fresh(3, norm.batch_norm()), slopes(x)
    y, of_x, of_gamma, of_beta, mean, variance = trained(layer, x, up)
    assert y.dtype == of_x.dtype == dtype
    wanted = expected(x, up, [list(range(len(x)))], layer.weight, layer.bias, 1)
    close(y, wanted[0], torch.finfo(dtype).eps)
    close(of_x, wanted[1], torch.finfo(dtype).eps)
    close(of_gamma, wanted[2], scale=float(len(x.flatten())) ** 0.5)
    close(of_beta, wanted[3], scale=float(len(x.flatten())) ** 0.5)
    by_channel = x.double().transpose(0, 1).reshape(3, -1)
    close(mean, by_channel.mean(1))
    close(variance, by_channel.var(1))


def test_autocast_changes_nothing_about_it() -> None:
    net: Any = nn.Sequential(nn.Conv2d(3, 8, 3), norm.Norm(8, norm.batch_norm(momentum=1.0)))
    net.to(memory_format=LAST)
    with torch.no_grad():
        net[0].bias.fill_(100.0)
    x = torch.rand(8, 3, 66, 66, generator=torch.Generator().manual_seed(0)).to(memory_format=LAST)
    with torch.autocast("cpu", torch.bfloat16):
        inside = net[0](x)
        y = net[1](inside)
    assert inside.dtype == y.dtype == torch.bfloat16
    assert not inside.is_contiguous()
    y.float().square().sum().backward()
    by_channel = inside.detach().double().transpose(0, 1).reshape(8, -1)
    close(net[1].running_mean, by_channel.mean(1))
    close(net[1].running_var, by_channel.var(1))


@pytest.mark.parametrize("kind", ["eval", "frozen"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_by_memory_the_bits_are_torch_s_and_the_gradients_float64_s(kind: str, dtype: torch.dtype) -> None:
    x = normal(8, 3, 224, 224).to(dtype).to(memory_format=LAST)
    layer = fresh(3, norm.batch_norm())
    plain = nn.BatchNorm2d(3)
    with torch.no_grad():
        layer.running_mean.copy_(torch.tensor([999.0, 1000.0, 1001.0]))
        layer.running_var.copy_(torch.tensor([1.0, 2.0, 0.5]))
        plain.load_state_dict(layer.state_dict())
    if kind == "eval":
        layer.eval()
    else:
        layer = norm.freeze(layer)
        layer.weight.requires_grad_(), layer.bias.requires_grad_()
    up = slopes(x, mean=1.0)
    y, of_x, of_gamma, of_beta, *_ = trained(layer, x, up)
    assert torch.equal(y, plain.eval()(x).detach())
    assert y.stride() == x.stride()
    tables = layer.running_mean, layer.running_var, layer.weight
    mean, variance, gamma = (table.detach().double()[:, None, None] for table in tables)
    hat = (x.double() - mean) / (variance + 1e-5).sqrt()
    close(of_gamma, (up.double() * hat).sum((0, 2, 3)), scale=float((up.double() * hat).abs().sum() / 3))
    close(of_beta, up.double().sum((0, 2, 3)), 1e-6)
    rounding = 1e-6 if dtype is torch.float32 else torch.finfo(dtype).eps
    close(of_x, up.double() * gamma / (variance + 1e-5).sqrt(), rounding)


def test_second_derivatives_by_memory_and_by_batch() -> None:
    x = stored_last(normal(4, 2, 3, mean=0.0).double()).requires_grad_()
    layer: Any = norm.Norm(2).double()
    layer(x)

    def run(x: Tensor, gamma: Tensor, beta: Tensor) -> Any:
        with route(layer, Routing(("main",)), Trace.NOTHING):
            return torch.func.functional_call(layer, {"weight": gamma, "bias": beta}, (x,))

    for mode in (True, False):
        layer.train(mode)
        assert torch.autograd.gradcheck(run, (x, layer.weight, layer.bias))
        assert torch.autograd.gradgradcheck(run, (x, layer.weight, layer.bias), fast_mode=True)


def test_many_rows_of_single_values_in_tensor_operations() -> None:
    table = torch.full((300_000, 2), 0.1)
    partition = Partition.of([("main", range(0, 300_000, 2)), ("main", range(1, 300_000, 2))], 300_000)
    close(dense.by_group(table, partition), table.double()[::2].sum(0).expand(2, -1), 1e-6)


@pytest.mark.parametrize("name", [name for name in INPUTS if name not in ("rows across", "sequences")])
def test_the_output_has_the_memory_format_that_torch_gives(name: str) -> None:
    x = INPUTS[name]()
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[x.ndim]
    assert norm.Norm(x.shape[1])(x).stride() == kind(x.shape[1])(x).stride()


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, of forward-mode derivatives too
def test_transforms_and_exports_see_torch_s_function() -> None:
    """What follows how numbers are made finds no kernel in its way: forward-mode derivatives, vmap, exports."""
    x, tangent = (normal(4, 3, 5, 6, mean=0.0, seed=seed).to(memory_format=LAST) for seed in (0, 1))
    ad: Any = torch.autograd.forward_ad
    for policy in (norm.batch_norm(), norm.ghost(2)):
        for mode in (True, False):
            layer = norm.Norm(3, policy).train(mode)
            with route(layer, Routing(("main",)), Trace.NOTHING):
                with ad.dual_level():
                    dual = layer(ad.make_dual(x, tangent))
                    slope = ad.unpack_dual(dual).tangent
                step = 1e-3
                by_steps = (layer(x + step * tangent) - layer(x - step * tangent)) / (2 * step)
            assert slope is not None
            torch.testing.assert_close(slope, by_steps, rtol=1e-2, atol=1e-3)
    layer = norm.Norm(3).eval()
    exported = torch.export.export(layer, (x,)).module()
    torch.testing.assert_close(exported(x), layer(x))
    each = torch.func.vmap(lambda image: layer(image[None]))(x)
    torch.testing.assert_close(each.squeeze(1), layer(x))
