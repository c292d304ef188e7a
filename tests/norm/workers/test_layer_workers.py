"""Converted models synchronized over gloo workers equal one process that has all rows, by torch's own layers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elinvar import norm

SIZES: dict[int, list[tuple[int, ...]]] = {
    1: [(4,)],
    2: [(2, 4), (0, 6), (3, 1), (0, 0)],
    4: [(1, 1, 2, 4), (0, 3, 0, 2)],
}
CASES = [(world, sizes) for world, several in SIZES.items() for sizes in several]
Results = dict[int, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def results(cluster: Callable[..., Results]) -> Results:
    return cluster("layer_scenarios.py", 1, 2, 4)


def batch(rows: int, seed: int) -> Tensor:
    return torch.randn(rows, 4, 3, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 + 1


def network() -> nn.Sequential:
    torch.manual_seed(7)
    layers = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 2), nn.BatchNorm2d(6), nn.Flatten()
    model = nn.Sequential(*layers).double()
    with torch.no_grad():
        for index in (1, 4):
            nn.init.normal_(model[index].weight)  # type: ignore[arg-type]
            nn.init.normal_(model[index].bias)  # type: ignore[arg-type]
    return model


def by_torch(x: Tensor, weights: Tensor) -> dict[str, Any]:
    """One process with plain BatchNorm."""
    model = network()
    x = x.requires_grad_()
    y = model(x)
    loss = (y.square() * weights.flatten(1)[:, : y.shape[1]]).sum()
    dx, *parameters = torch.autograd.grad(loss, [x, *model.parameters()])
    return {"y": y.detach(), "dx": dx, "parameters": parameters, "buffers": dict(model.named_buffers())}


def close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def together(found: list[dict[str, Any]], expected: dict[str, Any], *, share: float | None = None) -> None:
    """Workers have the rows of `expected` in turn; `share` of each gradient, or all of it when they are summed."""
    for name in ("y", "dx"):
        close(torch.cat([part[name] for part in found]), expected[name])
    for index, gradient in enumerate(expected["parameters"]):
        if share is None:
            close(torch.stack([part["parameters"][index] for part in found]).sum(0), gradient)
        else:
            for part in found:
                close(part["parameters"][index], gradient * share)


@pytest.mark.parametrize(("world", "sizes"), CASES)
def test_workers_together_equal_one_process(results: Results, world: int, sizes: tuple[int, ...]) -> None:
    found = [worker["steps"][sizes] for worker in results[world]]
    total = sum(sizes)
    expected = by_torch(batch(total, 0), batch(total, 1))
    together(found, expected)
    for name, buffer in expected["buffers"].items():
        for part in found:
            if total:
                close(part["buffers"][name], buffer)
            assert torch.equal(part["buffers"][name], found[0]["buffers"][name])
    if not total:  # an empty batch is not remembered, nor counted
        fresh = dict(network().named_buffers())
        assert all(torch.equal(found[0]["buffers"][name], buffer) for name, buffer in fresh.items())


def test_other_formats(results: Results) -> None:
    x, weights = batch(6, 0).requires_grad_(), batch(6, 1)
    y = F.batch_norm(x, None, None, None, None, True)
    (dx,) = torch.autograd.grad((y * weights).sum(), x)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.05)):
        found = [worker["formats"][dtype] for worker in results[2]]
        assert all(part[0].dtype == dtype and part[3] for part in found)
        assert all(part[2].dtype == torch.float32 for part in found)
        torch.testing.assert_close(torch.cat([part[0] for part in found]).double(), y, rtol=0, atol=tolerance)
        torch.testing.assert_close(torch.cat([part[1] for part in found]).double(), dx, rtol=0, atol=tolerance)


def test_one_collective_each_way_for_a_layer_and_none_to_infer(results: Results) -> None:
    for world in (1, 2, 4):
        for worker in results[world]:
            found = dict(worker["calls"])
            assert found.pop("read") == []
            expected = [] if world == 1 else ["all_gather"] * 2 + ["all_reduce"] * 2
            assert found == {str(sizes): expected for sizes in SIZES[world]}


def test_a_branch_that_one_worker_lacks(results: Results) -> None:
    first, second = (worker["branches"] for worker in results[2])
    rows = {
        "main": [(first, slice(2, 5), 10, 20)],
        "aux": [(first, slice(0, 2), 10, 20), (second, slice(0, 4), 11, 21)],
    }
    parameters = []
    for name, parts in rows.items():
        x = torch.cat([part["x"][of] for part, of, _, _ in parts])
        weights = torch.cat([batch(5 if part is first else 4, seed)[of] for part, of, _, seed in parts])
        expected = by_torch(x, weights)
        parameters.append(expected["parameters"])
        close(torch.cat([part["y"][of] for part, of, _, _ in parts]), expected["y"])
        close(torch.cat([part["dx"][of] for part, of, _, _ in parts]), expected["dx"])
        for worker in (first, second):
            for key, buffer in expected["buffers"].items():
                layer, kind = key.split(".")
                own = key if name == "main" else f"{layer}.branches.{name}.{kind}"
                close(worker["after"][own], buffer)
                assert torch.equal(worker["after"][own], first["after"][own])
    for worker in (first, second):
        assert all(
            torch.equal(worker["before"][key], worker["after"][key]) for key in worker["after"] if "spare" in key
        )
        assert int(worker["before"]["1.num_batches_tracked"]) == 0
    for index, layer in ((0, "0"), (2, "1"), (4, "3"), (6, "4")):  # a convolution serves both branches
        weight = [worker["parameters"][f"{layer}.weight"] for worker in (first, second)]
        if layer in "03":
            close(weight[0] + weight[1], parameters[0][index] + parameters[1][index])
        else:
            close(weight[0] + weight[1], parameters[0][index])
            other = [worker["parameters"][f"{layer}.branches.aux.weight"] for worker in (first, second)]
            close(other[0] + other[1], parameters[1][index])


def test_runs_of_channels_are_pooled_over_workers_too(results: Results) -> None:
    x, weights = batch(6, 0).requires_grad_(), batch(6, 1)
    runs = x.reshape(6, 2, 2, 3, 2)
    mean = runs.mean((0, 2, 3, 4), keepdim=True)
    spread = runs.var((0, 2, 3, 4), correction=0, keepdim=True)
    y = ((runs - mean) / (spread + 1e-5).sqrt()).reshape(x.shape)
    (dx,) = torch.autograd.grad((y.square() * weights).sum(), x)
    found = [worker["channels"] for worker in results[2]]
    close(torch.cat([part[0] for part in found]), y)
    close(torch.cat([part[1] for part in found]), dx)


def test_some_workers_only(results: Results) -> None:
    rows = torch.split(torch.arange(8), [2, 1, 3, 2])
    for kind, groups in {"group": [(0, 2), (1, 3)], "every": [(0, 1), (2, 3)]}.items():
        for ranks in groups:
            of = torch.cat([rows[rank] for rank in ranks])
            found = [results[4][rank]["some_workers"][kind] for rank in ranks]
            expected = by_torch(batch(8, 0)[of], batch(8, 1)[of])
            together(found, expected)
            for name, buffer in expected["buffers"].items():
                close(found[0]["buffers"][name], buffer)
                assert torch.equal(found[0]["buffers"][name], found[1]["buffers"][name])


def test_replicas_get_the_mean_gradient(results: Results) -> None:
    together([worker["replicas"] for worker in results[2]], by_torch(batch(6, 0), batch(6, 1)), share=0.5)


def test_recomputing_changes_nothing(results: Results) -> None:
    for worker in results[2]:
        for plain, again in zip(*worker["recomputed"], strict=True):
            assert torch.equal(plain, again)


def test_a_step_of_two_forwards_is_remembered_once(results: Results) -> None:
    x = torch.cat([batch(6, 0), batch(6, 1)])
    for worker in results[2]:
        assert int(worker["accumulated"]["num_batches_tracked"]) == 1
        close(worker["accumulated"]["running_mean"], 0.1 * x.mean((0, 2, 3)))
        close(worker["accumulated"]["running_var"], 0.9 + 0.1 * x.var((0, 2, 3)))


def test_one_value_on_all_workers_together_is_refused_on_all(results: Results) -> None:
    for worker in results[2]:
        assert "Expected more than 1 value per channel" in worker["one_value"]["alone"]
        assert worker["one_value"]["together"] == "nothing was raised"
        close(worker["one_value"]["buffers"]["running_mean"], torch.full((4,), 0.05, dtype=torch.float64))


def test_a_model_with_a_group_can_be_copied_and_saved_whole(results: Results) -> None:
    for worker in results[2]:
        found = worker["travelled"]
        assert found["copied"]
        assert found["evaluated"]
        assert "no pickle holds a process group" in found["message"]
        assert found["again"] == "nothing was raised"


def test_without_processes_it_is_plain_batch_norm_bit_for_bit() -> None:
    x = batch(5, 0)
    plain, ours = network(), norm.convert(network(), norm.sync())
    assert torch.equal(plain(x), ours(x))
    assert all(torch.equal(a, b) for a, b in zip(plain.buffers(), ours.buffers(), strict=True))


def test_checkpoints_are_those_of_torch_sync_batch_norm() -> None:
    theirs = nn.SyncBatchNorm.convert_sync_batchnorm(network())  # type: ignore[no-untyped-call]
    ours = norm.convert(network(), norm.sync())
    assert list(theirs.state_dict()) == list(ours.state_dict())
    theirs.load_state_dict(ours.state_dict(), strict=True)
    ours.load_state_dict(theirs.state_dict(), strict=True)
