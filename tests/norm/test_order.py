"""Ghosts are the rows that `order` says, in every policy that cuts a batch.

The reference is float64 by hand, on rows that are written out. What was tried: ghosts, batch-group ghosts,
micro-batches, ghosts of views and of branches, joined from either side; under renormalization, the thesis' memory,
tensor operations and in both memory formats; batches that the size does not divide; layers that were converted, frozen
and thawed, copied; and what contradicts itself.
"""

import copy
import pickle
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elinvar import norm
from elinvar.check import InputError
from elinvar.norm import layer as layer_module
from elinvar.norm.passes import rows as rows_module
from elinvar.routing import Routing, Trace, route
from norm_reference import Group, normalized

N, C = 12, 6
STRIDED: list[Group] = [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
BLOCKS: list[Group] = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
# Two views of 4 and 8 rows, ghosts of about two; for branches main, aux, main of 3, 4 and 5 rows, ghosts of four.
VIEWS = {
    "strided": [[0, 2], [1, 3], [4, 8], [5, 9], [6, 10], [7, 11]],
    "blocks": [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]],
}
BRANCHES = {
    "strided": [[0, 2, 8, 10], [1, 7, 9, 11], [3, 4, 5, 6]],
    "blocks": [[0, 1, 2, 7], [8, 9, 10, 11], [3, 4, 5, 6]],
}
RENORM = norm.NormPolicy(memory=norm.Renorm(r_max=1.0, d_max=0.0))
MOMENTS = norm.NormPolicy(memory=norm.MomentEma())

# name -> policy, rows of each ghost, channels that share, branch and rows of each view (None: no routing)
CASES: dict[str, tuple[norm.NormPolicy, list[Group], int, Routing | None]] = {
    "ghost": (norm.ghost(4), STRIDED, 1, None),
    "ghost, strided": (norm.ghost(4, "strided"), STRIDED, 1, None),
    "ghost, blocks": (norm.ghost(4, "blocks"), BLOCKS, 1, None),
    "ghost of five, blocks": (norm.ghost(5, order="blocks"), BLOCKS, 1, None),  # near-equal: 4, 4, 4
    "ghost of seven": (norm.ghost(7), [list(range(0, N, 2)), list(range(1, N, 2))], 1, None),
    "ghost of seven, blocks": (norm.ghost(7, "blocks"), [list(range(6)), list(range(6, N))], 1, None),
    "micro-batches": (norm.microbatch(5), [list(range(5)), list(range(5, 10)), [10, 11]], 1, None),
    "micro-batches, blocks": (norm.microbatch(5, "blocks"), [list(range(5)), list(range(5, 10)), [10, 11]], 1, None),
    "batch-group": (norm.batch_group(2, 4), STRIDED, 3, None),
    "batch-group, strided": (norm.batch_group(2, 4, "strided"), STRIDED, 3, None),
    "batch-group, blocks": (norm.batch_group(2, 4, order="blocks"), BLOCKS, 3, None),
    "batch-group, weighted": (norm.batch_group(3, 4, "blocks", alpha=0.2), BLOCKS, 2, None),
    "renormalized": (RENORM | norm.ghost(4, "blocks"), BLOCKS, 1, None),
    "renormalized, strided": (norm.ghost(4) | RENORM, STRIDED, 1, None),
    "moments": (norm.ghost(4, "blocks") | MOMENTS, BLOCKS, 1, None),
    "example-weighted": (norm.example_weighted(0.3) | norm.ghost(4, "blocks"), BLOCKS, 1, None),
    "no memory": (norm.no_memory() | norm.ghost(4, "blocks"), BLOCKS, 1, None),
    "channels and ghosts": (norm.batch_group(2) | norm.ghost(4, "blocks"), BLOCKS, 3, None),
    **{
        f"views, {order}, {side}": (joined, VIEWS[order], 1, Routing(("main", "main"), (4, 8)))
        for order in ("strided", "blocks")
        for side, joined in (
            ("left", norm.per_view() | norm.ghost(2, order)),
            ("right", norm.ghost(2, order) | norm.per_view()),
        )
    },
    **{
        f"branches, {order}, {side}": (joined, BRANCHES[order], 1, Routing(("main", "aux", "main"), (3, 4, 5)))
        for order in ("strided", "blocks")
        for side, joined in (
            ("left", norm.split(affine="shared") | norm.ghost(4, order)),
            ("right", norm.ghost(4, order) | norm.split(affine="shared")),
        )
    },
}  # fmt: skip


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).mul(2).add(1)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("way", ["closed", "linked", "dense"])
@pytest.mark.parametrize("name", CASES)
def test_each_ghost_is_the_rows_that_its_order_says(
    name: str, way: str, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way != "closed":
        monkeypatch.setattr(layer_module, "by_kernel", lambda x: False)
    if way == "dense":
        monkeypatch.setattr(rows_module, "by_kernel", lambda x: False)
    policy, ghosts, width, routing = CASES[name]
    layer: Any = norm.Norm(C, policy).double()
    x = values(N, C, 3, 2).to(memory_format=torch.channels_last if last else torch.contiguous_format)
    with nullcontext() if routing is None else route(layer, routing, Trace.COMMIT):
        found = layer(x)
    torch.testing.assert_close(found, normalized(x, ghosts, width=width), rtol=1e-10, atol=1e-10)
    other = normalized(x, STRIDED if ghosts == BLOCKS else BLOCKS, width=width)
    assert not torch.allclose(found, other, atol=1e-3)


@pytest.mark.parametrize("order", ["strided", "blocks"])
def test_a_layer_keeps_its_order(order: str) -> None:
    x, ghosts = values(N, C, 3, 2), STRIDED if order == "strided" else BLOCKS
    model: Any = norm.convert(nn.Sequential(nn.BatchNorm2d(C)).double(), norm.ghost(4, order))
    again = norm.convert(nn.Sequential(nn.BatchNorm2d(C)).double(), model[0].policy)
    for each in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model)), norm.unfreeze(norm.freeze(again))):
        torch.testing.assert_close(each(x), normalized(x, ghosts))
    assert f"order={order!r}" in str(model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: norm.ghost(4, "random"), "order of ghosts: got 'random', expected 'strided' or 'blocks'"),
        (lambda: norm.microbatch(4, "strided"), "needs order='blocks'"),
        (lambda: norm.batch_group(2, 4, "last"), "order of ghosts: got 'last'"),
        (lambda: norm.batch_group(2, order="blocks"), "got 'blocks' without `examples`"),
        (
            lambda: norm.ghost(4, "blocks") | norm.ghost(4),
            r"contradict each other on sharing\.ghosts: .*blocks.*strided",
        ),
        (lambda: norm.ghost(4) | norm.microbatch(4), r"contradict each other on sharing\.ghosts"),
        (lambda: norm.batch_group(2, 4) | norm.ghost(4, "blocks"), r"contradict each other on sharing\.ghosts"),
    ],
)
def test_what_contradicts_itself_is_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_the_thesis_cuts_blocks_and_remembers_moments() -> None:
    """Its code reshapes a batch into runs of neighbours and averages x and x^2 with a decay of 0.99."""
    from elinvar.experiments import few_classes

    rows = few_classes.policies(few_classes.PAPER)
    remembered = [name for name, policy in rows.items() if policy.memory.remembers and name != few_classes.RENORM]
    assert len(remembered) == len(few_classes.PAPER.ghosts) + 3
    for name in remembered:
        assert rows[name].memory == norm.MomentEma(0.01)
        ghosts = rows[name].sharing.ghosts
        assert ghosts is None or ghosts.order == "blocks"
