"""Rows shuffled over gloo workers come back as they were, and are normalized as one process would with that order."""

import re
from collections.abc import Callable
from math import factorial
from typing import Any

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor, nn

from elinvar import norm
from elinvar.check import InputError
from elinvar.norm.workers import Shuffled, shuffle, unshuffle
from elinvar.norm.workers.shuffling import arranged
from elinvar.rng import Seeds, Source
from elinvar.routing import Routing, Trace, route

SIZES: dict[int, list[tuple[int, ...]]] = {
    1: [(5,)],
    2: [(3, 1), (0, 4), (0, 0), (0, 1), (5, 2)],
    4: [(1, 1, 2, 4), (0, 3, 0, 2), (0, 1, 0, 1)],
}
CASES = [(world, sizes) for world, several in SIZES.items() for sizes in several]
BLOCKS = [(2, (3, 1)), (2, (0, 4)), (2, (5, 2)), (4, (1, 1, 2, 4)), (4, (0, 9, 0, 1))]
Results = dict[int, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def results(cluster: Callable[..., Results]) -> Results:
    return cluster("shuffle_scenarios.py", 1, 2, 4)


def batch(rows: int, seed: int) -> Tensor:
    return torch.randn(rows, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def block(normalizing: Callable[[int], nn.Module]) -> nn.Module:
    torch.manual_seed(7)
    made = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), normalizing(4), nn.ReLU(), nn.Conv2d(4, 2, 3), normalizing(2), nn.Flatten()
    )
    return made.double()


def close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def key_of(step: int) -> int:
    return Seeds(2).key(Source.SHUFFLE, "workers", step)


def by_one_process(total: int, pieces: list[Tensor], model: nn.Module) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Output and gradients where one process normalizes each piece by itself."""
    x = batch(total, 0).requires_grad_()
    y = torch.zeros(total, 8, dtype=torch.float64)
    for piece in pieces:
        if len(piece):
            y = y.index_put((piece,), model(x[piece]))
    weights = batch(total, 1).flatten(1)[:, :8]
    dx, *of_parameters = torch.autograd.grad((y.square() * weights).sum(), [x, *model.parameters()])
    return y.detach(), dx, of_parameters


@pytest.mark.parametrize(("world", "sizes"), CASES)
def test_rows_come_back_bit_for_bit(results: Results, world: int, sizes: tuple[int, ...]) -> None:
    for worker in results[world]:
        found = worker["there_and_back"][sizes]
        assert all(found["same"].values()), found["same"]
        assert found["also"]


@pytest.mark.parametrize(("world", "sizes"), CASES)
def test_pieces_are_balanced_and_hold_every_row_once(results: Results, world: int, sizes: tuple[int, ...]) -> None:
    held, other = ([worker["there_and_back"][sizes][name] for worker in results[world]] for name in ("ids", "other"))
    lengths = [len(piece) for piece in held]
    assert max(lengths) - min(lengths) <= 1
    for pieces in (held, other):
        assert torch.cat(pieces).sort().values.tolist() == list(range(sum(sizes)))
    assert sum(sizes) < 4 or not torch.equal(torch.cat(other), torch.cat(held))


@pytest.mark.parametrize(("world", "sizes"), CASES)
def test_all_workers_call_the_same_collectives_also_without_rows(
    results: Results, world: int, sizes: tuple[int, ...]
) -> None:
    expected = [] if world == 1 else ["all_gather", "all_to_all_single", "all_to_all_single"]
    for worker in results[world]:
        assert worker["there_and_back"][sizes]["calls"] == expected


def test_a_back_end_that_only_gathers_will_do(results: Results) -> None:
    for world in (2, 4):
        for worker in results[world]:
            assert all(worker["without_all_to_all"].values())
    assert all(worker["other_failures"] == "connection closed by peer" for worker in results[2])


def test_a_gradient_comes_home_unscaled_and_is_not_changed_on_the_way(results: Results) -> None:
    home = [worker["gradients_are_left_alone"] for worker in results[2]]
    assert all(same for same, _ in home)
    held = arranged([[3], [3]], 2, 1)[0]
    processed_by = torch.cat([gradient for _, gradient in home]) / 48
    for worker, piece in enumerate(held):
        assert (processed_by[piece] == 1.0 + worker).all()


@pytest.mark.parametrize(("world", "sizes"), CASES)
def test_where_rows_do_not_meet_shuffling_changes_nothing(results: Results, world: int, sizes: tuple[int, ...]) -> None:
    found = [worker["by_rows"][sizes] for worker in results[world]]
    for plain, shuffled in found:
        close(shuffled["y"], plain["y"])
        close(shuffled["dx"], plain["dx"])
    for gradients in zip(*(plain["parameters"] + shuffled["parameters"] for plain, shuffled in found), strict=True):
        assert all(gradient is not None for gradient in gradients)
    count = len(found[0][0]["parameters"])
    for index in range(count):
        totals = [torch.stack([pair[kind]["parameters"][index] for pair in found]).sum(0) for kind in (0, 1)]
        close(totals[1], totals[0])


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(("world", "sizes"), BLOCKS)
def test_equals_one_process_that_normalizes_each_piece(
    results: Results, world: int, sizes: tuple[int, ...], step: int
) -> None:
    found = [worker["by_batches"][sizes][step] for worker in results[world]]
    pieces, _ = arranged([[size] for size in sizes], world, key_of(step))
    y, dx, of_parameters = by_one_process(sum(sizes), pieces, block(nn.BatchNorm2d))
    close(torch.cat([part["y"] for part in found]), y)
    close(torch.cat([part["dx"] for part in found]), dx)
    for index, gradient in enumerate(of_parameters):
        close(torch.stack([part["parameters"][index] for part in found]).sum(0), gradient)
    assert all(int(part["buffers"]["shuffles"]) == 2 for part in found)


@pytest.mark.parametrize(("world", "sizes"), BLOCKS)
def test_virtual_workers_show_what_several_processes_do(results: Results, world: int, sizes: tuple[int, ...]) -> None:
    model = Shuffled(block(nn.BatchNorm2d), seed=2, workers=world)
    x = batch(sum(sizes), 0).requires_grad_()
    for step in range(2):
        found = [worker["by_batches"][sizes][step] for worker in results[world]]
        y = model(x)
        loss = (y.square() * batch(sum(sizes), 1).flatten(1)[:, :8]).sum()
        dx, *of_parameters = torch.autograd.grad(loss, [x, *model.parameters()])
        close(y, torch.cat([part["y"] for part in found]))
        close(dx, torch.cat([part["dx"] for part in found]))
        for index, gradient in enumerate(of_parameters):
            close(gradient, torch.stack([part["parameters"][index] for part in found]).sum(0))


def test_replicas_get_the_mean_gradient(results: Results) -> None:
    found = [worker["replicas"] for worker in results[2]]
    y, dx, of_parameters = by_one_process(4, arranged([[3], [1]], 2, key_of(0))[0], block(nn.BatchNorm2d))
    close(torch.cat([part["y"] for part in found]), y)
    close(torch.cat([part["dx"] for part in found]), dx)
    for index, gradient in enumerate(of_parameters):
        for part in found:
            close(part["parameters"][index], gradient / 2)


def test_a_checkpoint_resumes_the_permutations(results: Results) -> None:
    assert all(worker["resumed"] for worker in results[2])


def test_eval_is_the_block_and_never_communicates(results: Results) -> None:
    assert all(worker["in_eval"] == (True, [], 0) for worker in results[2])


def test_layers_inside_may_be_recomputed_the_block_may_not(results: Results) -> None:
    for worker in results[2]:
        (plain, saving), around = worker["recomputed"]
        for a, b in zip(plain, saving, strict=True):
            assert torch.equal(a, b)
        assert "checkpoint layers inside of the block" in around


def test_views_are_shuffled_each_within_itself(results: Results) -> None:
    found = [worker["views"] for worker in results[2]]
    assert [part["sizes"] for part in found] == [(2, 3), (2, 3)]
    ids = torch.cat([part["own"] for part in found])
    x = torch.cat([part["x"] for part in found]).requires_grad_()
    y = torch.zeros(10, 8, dtype=torch.float64)
    for part in found:
        assert (part["ids"] // 100).tolist() == [1, 1, 2, 2, 2]
        rows = torch.tensor([ids.tolist().index(i) for i in part["ids"].tolist()])
        for span in (rows[:2], rows[2:]):
            y = y.index_put((span,), block(nn.BatchNorm2d)(x[span]))
    (dx,) = torch.autograd.grad(y.square().sum(), x)
    close(torch.cat([part["y"] for part in found]), y)
    close(torch.cat([part["dx"] for part in found]), dx)
    for part in found:
        close(part["evaluated"], block(nn.BatchNorm2d).eval()(part["x"]))
        assert part["left"] == [None] * len(part["left"])
        assert len(part["left"]) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shape", "rows of different shapes or dtypes"),
        ("dtype", "rows of different shapes or dtypes"),
        ("key", "different keys"),
        ("home", "got 3 rows to bring back, expected the 4"),
        ("also", "got 3 rows, expected 4"),
        ("tuple", "must give one tensor with its input's 4 rows, got tuple"),
        ("rows", "must give one tensor with its input's 4 rows, got shape (12, 4, 4)"),
        ("both", "not both"),
    ],
)
def test_refusals_reach_every_worker(results: Results, name: str, message: str) -> None:
    for worker in results[2]:
        assert message in worker["refusals"][name]


def test_alone_the_function_permutes_and_the_module_does_nothing() -> None:
    x = batch(6, 0)
    y, shuffled = shuffle(x, key=1)
    assert torch.equal(y, x[arranged([[6]], 1, 1)[0][0]])
    assert not torch.equal(y, x)
    assert torch.equal(unshuffle(y, shuffled), x)
    model = Shuffled(block(nn.BatchNorm2d))
    assert torch.equal(model(x), block(nn.BatchNorm2d)(x))
    assert int(model.shuffles) == 0


def test_more_virtual_workers_than_rows() -> None:
    model = Shuffled(nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten()).double(), workers=5)
    for rows in (0, 1, 3):
        close(model(batch(rows, 0)), model.block(batch(rows, 0)))


def test_virtual_workers_of_one_step_are_remembered_together() -> None:
    model = Shuffled(norm.convert(nn.Sequential(nn.BatchNorm2d(3)).double(), norm.split()), workers=2)
    x = batch(7, 0)
    with route(model, Routing(("main", "aux"), (4, 3)), Trace.PROPOSE):
        y = model(x)
    layer = model.block[0]  # type: ignore[index]
    assert int(layer.num_batches_tracked) == 0
    norm.commit(model)
    assert int(layer.num_batches_tracked) == 1
    close(layer.running_mean, 0.1 * x[:4].mean((0, 2, 3)))
    close(layer.running_var, 0.9 + 0.1 * x[:4].var((0, 2, 3)))
    pieces, held = arranged([[4, 3]], 2, Seeds(0).key(Source.SHUFFLE, "workers", 0))
    assert held == [(2, 2), (2, 1)]
    expected = torch.zeros_like(y)
    for piece, (first, _) in zip(pieces, held, strict=True):
        for rows in (piece[:first], piece[first:]):
            expected[rows] = nn.BatchNorm2d(3).double()(x[rows])
    close(y, expected)


def test_a_reference_batch_is_not_shuffled() -> None:
    model = norm.convert(nn.Sequential(Shuffled(nn.Sequential(nn.BatchNorm2d(3)), workers=2)), norm.batch_norm())
    with pytest.raises(InputError, match="a reference batch would be shuffled too"):
        norm.VirtualBatch(model, torch.zeros(2, 3, 4, 4))(torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize("workers", [0, -1])
def test_a_number_of_virtual_workers_is_positive(workers: int) -> None:
    with pytest.raises(InputError, match=re.escape(f"workers: got {workers}, expected at least 1")):
        Shuffled(nn.Identity(), workers=workers)


def test_all_orders_are_equally_likely() -> None:
    """Chi-squared over the 24 orders of 4 rows by 4800 keys; the keys are fixed, error rate 1e-4 when they were not."""
    seen: dict[tuple[int, ...], int] = {}
    for key in range(4800):
        order = tuple(arranged([[4]], 1, key)[0][0].tolist())
        seen[order] = seen.get(order, 0) + 1
    expected = 4800 / factorial(4)
    statistic = sum((count - expected) ** 2 / expected for count in seen.values())
    assert len(seen) == 24
    assert statistic < chi2.ppf(1 - 1e-4, 23)


def test_spans_are_shuffled_independently() -> None:
    (order,), (sizes,) = arranged([[20, 20]], 1, 1)
    assert sizes == (20, 20)
    assert not torch.equal(order[:20], order[20:] - 20)


def test_the_global_generator_is_not_used() -> None:
    before = torch.get_rng_state()
    Shuffled(nn.Identity(), workers=2)(batch(6, 0))
    shuffle(batch(6, 0), key=1)
    assert torch.equal(before, torch.get_rng_state())
