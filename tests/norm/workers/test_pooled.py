"""Statistics pooled over gloo workers equal those of one process that has all rows; so do the gradients."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from elinvar import config, norm
from elinvar.check import InputError
from elinvar.norm.workers import Workers, across
from elinvar.recipes.table import recipe

SIZES: dict[int, list[tuple[int, ...]]] = {
    1: [(4,)],
    2: [(2, 4), (0, 6), (3, 1), (0, 0)],
    4: [(1, 1, 2, 4), (0, 3, 0, 2)],
}
CASES = [(world, sizes) for world, several in SIZES.items() for sizes in several]
Results = dict[int, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def results(cluster: Callable[..., Results]) -> Results:
    return cluster("pooled_scenarios.py", 1, 2, 4)


def batch(rows: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 5, 3, 2, generator=generator, dtype=torch.float64) * 2 + 1


def by_torch(sizes: tuple[int, ...], groups: int) -> dict[str, Tensor]:
    """One process that normalizes the rows of all workers by torch's own BatchNorm, one call for each group."""
    total = sum(sizes)
    x, weights, group = batch(total, 0).requires_grad_(), batch(total, 1), torch.arange(total) % 2 % groups
    gamma, beta = (batch(1, seed)[0, :, 0, 0].clone().requires_grad_() for seed in (2, 3))
    y = x * gamma[:, None, None] * beta[:, None, None]  # of no rows where no group has any
    for g in range(groups):
        if (group == g).any():
            y = y.index_put((group == g,), F.batch_norm(x[group == g], None, None, gamma, beta, True))
    dx, dgamma, dbeta = torch.autograd.grad((y.square() * weights).sum(), (x, gamma, beta))
    return {"y": y.detach(), "dx": dx, "dgamma": dgamma, "dbeta": dbeta}


def close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("world", "sizes"), CASES)
def test_workers_together_equal_one_process(results: Results, world: int, sizes: tuple[int, ...], groups: int) -> None:
    found = [worker["layers"][sizes, groups] for worker in results[world]]
    expected = by_torch(sizes, groups)
    close(torch.cat([part["y"] for part in found]), expected["y"])
    close(torch.cat([part["dx"] for part in found]), expected["dx"])
    for name in ("dgamma", "dbeta"):
        close(sum((part[name] for part in found[1:]), found[0][name]).flatten(), expected[name])


@pytest.mark.parametrize(("world", "sizes"), CASES)
def test_all_workers_hold_the_same_bits(results: Results, world: int, sizes: tuple[int, ...]) -> None:
    first, *others = (worker["layers"][sizes, 2] for worker in results[world])
    total = sum(sizes)
    assert first["counts"].tolist() == [(total + 1) // 2 * 6, total // 2 * 6]
    for other in others:
        for name in ("mean", "variance", "counts"):
            assert torch.equal(first[name], other[name])
    if total == 0:
        assert torch.equal(first["mean"], torch.zeros(2, 5, dtype=torch.float64))
        assert torch.equal(first["variance"], torch.zeros(2, 5, dtype=torch.float64))


@pytest.mark.parametrize(("world", "sizes"), [case for case in CASES if case[0] > 1])
def test_workers_may_weigh_the_same_however_many_rows_they_have(
    results: Results, world: int, sizes: tuple[int, ...]
) -> None:
    found = [worker["equal_weights"][sizes] for worker in results[world]]
    parts = [part for part in torch.split(batch(sum(sizes), 0), list(sizes)) if len(part)]
    if parts:
        mean = torch.stack([part.mean((0, 2, 3)) for part in parts]).mean(0)
        square = torch.stack([part.square().mean((0, 2, 3)) for part in parts]).mean(0)
        close(found[0]["mean"][0], mean)
        close(found[0]["variance"][0], square - mean.square())
    x = batch(sum(sizes), 0).requires_grad_()
    gamma, beta = (batch(1, seed)[0, :, :1, :1] for seed in (2, 3))
    filled = [part for part in torch.split(x, list(sizes)) if len(part)]
    if filled:
        middle = torch.stack([part.mean((0, 2, 3)) for part in filled]).mean(0)[:, None, None]
        spread = torch.stack([(part - middle).square().mean((0, 2, 3)) for part in filled]).mean(0)[:, None, None]
        y = (x - middle) / (spread + 1e-5).sqrt() * gamma + beta
        (dx,) = torch.autograd.grad((y.square() * batch(sum(sizes), 1)).sum(), x)
        close(torch.cat([part["dx"] for part in found]), dx)


def test_one_collective_each_way_also_without_rows_and_none_alone(results: Results) -> None:
    assert results[1][0]["collectives"] == [[]]
    for world in (2, 4):
        for worker in results[world]:
            assert worker["collectives"] == [["all_gather", "all_reduce"]] * len(SIZES[world])


def test_float32_keeps_its_digits_when_the_mean_is_large(results: Results) -> None:
    x = torch.cat([worker["large_mean"][0] for worker in results[2]]).double()
    for worker in results[2]:
        _, mean, variance = worker["large_mean"]
        assert variance.dtype == torch.float32
        torch.testing.assert_close(mean[0].double(), x.mean((0, 2, 3)), rtol=2e-7, atol=0)
        torch.testing.assert_close(variance[0].double(), x.var((0, 2, 3), correction=0), rtol=1e-5, atol=0)


def test_counts_are_exact_beyond_float32(results: Results) -> None:
    for worker in results[2]:
        assert worker["large_counts"][2].tolist() == [2**25 + 4]


def test_backward_changes_no_gradient_that_it_is_given(results: Results) -> None:
    assert all(worker["gradients_are_left_alone"] for worker in results[2])


def test_a_second_derivative_is_refused_not_wrong(results: Results) -> None:
    assert all("differentiate twice" in worker["second_derivatives"] for worker in results[2])


def test_some_workers_only(results: Results) -> None:
    rows = torch.split(torch.arange(8), [1, 1, 2, 4])
    for kind, groups in {"every": [(0, 1), (2, 3)], "group": [(0, 2), (1, 3)]}.items():
        for ranks in groups:
            together = torch.cat([rows[rank] for rank in ranks])
            x = batch(8, 0)[together]
            for rank in ranks:
                close(results[4][rank]["some_workers"][kind]["mean"][0], x.mean((0, 2, 3)))
                close(results[4][rank]["some_workers"][kind]["variance"][0], x.var((0, 2, 3), correction=0))
    for worker in results[4]:
        found = worker["some_workers"]
        assert found["made once"]
        assert found["alone"]
        assert "4 workers cannot be cut into blocks of 3" in found["indivisible"]
        assert "this process belongs to" in found["not a member"]


def test_a_model_with_workers_can_be_copied_and_pickled(results: Results) -> None:
    for worker in results[2]:
        found = worker["copies"]
        lost = found.pop("lost")
        assert found.pop("weighting") == "workers"
        assert all(found.values()), found
        assert "group of 2 workers" in lost
        assert "before training" in lost


def test_without_a_process_group_tables_come_back_as_they_are() -> None:
    mean, variance = batch(1, 0)[0, :, :, 0], batch(1, 1)[0, :, :, 0].square()
    for workers in (Workers(), Workers(every=3)):
        pooled = across(mean, variance, [3, 0, 1, 2, 7], workers)
        assert pooled[0] is mean
        assert pooled[1] is variance
        assert pooled[2].tolist() == [3, 0, 1, 2, 7]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"group": "gloo"}, "expected a process group that this process belongs to"),
        ({"group": Workers, "every": 2}, "expected a process group"),
        ({"every": 0}, "every: got 0, expected a number of workers of at least 1"),
        ({"weighting": "rows"}, "weighting: got 'rows', expected 'elements' or 'workers'"),
    ],
)
def test_meaningless_workers_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        Workers(**fields)


def test_a_recipe_file_holds_workers_but_no_group(tmp_path: Path) -> None:
    policy = norm.NormPolicy(sharing=norm.WholeBatch(workers=Workers(every=2, weighting="workers")))
    known = recipe("standard")
    known = replace(known, train=replace(known.train, norm=policy))
    text = config.dump(known)
    (tmp_path / "recipe.yaml").write_text(text)
    assert config.load(tmp_path / "recipe.yaml") == known
    assert "every: 2" in text
    for group in ("wave", "wave.Wave_read"):
        (tmp_path / "recipe.yaml").write_text(text.replace("group: null", f"group: {group}").replace("every: 2", ""))
        with pytest.raises(InputError):
            config.load(tmp_path / "recipe.yaml", trust=True)
        assert "wave" not in sys.modules


def test_a_group_and_blocks_of_the_default_group_exclude_each_other() -> None:
    from elinvar.norm.workers.group import Unpickled

    with pytest.raises(InputError, match="not both"):
        Workers(Unpickled(2), every=2)


def test_a_torch_without_processes_is_enough() -> None:
    code = """
import torch.distributed as d
d.is_available = lambda: False
del d.ProcessGroup
from elinvar.norm.workers import Workers, across
import torch
print(Workers().peers(), across(torch.ones(1, 2), torch.ones(1, 2), [3], Workers())[2].tolist())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "None [3]", done.stderr


def test_workers_that_hang_are_ended(tmp_path: Path) -> None:
    """The tests of this folder cannot hang: their runner ends workers that do."""
    scenarios = tmp_path / "hanging.py"
    scenarios.write_text(
        "import time\ndef hang(rank, world):\n    time.sleep(60 * rank)\nSCENARIOS = ((hang, (2,)),)\n"
    )
    runner = Path(__file__).parent / "cluster.py"
    code = f"import sys; sys.path.insert(0, {str(runner.parent)!r}); import cluster; cluster.LIMIT = 1.0; "
    code += f"cluster.main({str(scenarios)!r}, {str(tmp_path)!r}, '2')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "workers hang" in done.stderr
