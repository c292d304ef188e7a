"""Batches, views, logits and routing: rows stay with their examples, and totals must add up."""

import pytest
import torch

from elinvar.check import InputError
from elinvar.routing import Routing
from elinvar.views import Batch, Logits, View, Views, unit


def view(name: str, n: int = 3, dtype: torch.dtype = torch.float32) -> View:
    images = torch.randint(0, 256, (n, 1, 2, 2), generator=torch.Generator().manual_seed(n)).to(torch.uint8)
    return View(name, images if dtype is torch.uint8 else unit(images).to(dtype), torch.arange(n), torch.arange(n))


def test_uint8_views_mix_with_float_ones_on_one_scale() -> None:
    clean, other = view("clean", dtype=torch.uint8), view("other")
    joined = Views([clean, other]).images()
    assert joined.dtype == torch.float32
    torch.testing.assert_close(joined[:3], clean.images / 255)
    assert Views([clean, view("more", dtype=torch.uint8)]).images().dtype == torch.uint8
    assert Views([clean]).images() is clean.images


def test_logits_come_back_by_name() -> None:
    views = Views([view("a", 2), view("b", 3)])
    logits = views.split(torch.arange(10.0).reshape(5, 2))
    assert torch.equal(logits["b"], torch.tensor([[4.0, 5.0], [6.0, 7.0], [8.0, 9.0]]))
    assert list(logits) == ["a", "b"]
    assert views.names() == ("a", "b")
    with pytest.raises(InputError, match="returned 4 rows"):
        views.split(torch.zeros(4, 2))
    with pytest.raises(InputError, match="did you mean 'a'"):
        logits["aa"]
    with pytest.raises(InputError, match="same examples"):
        logits.stack(["a", "b"])
    assert Logits({"a": torch.zeros(2, 3), "b": torch.ones(2, 3)}).stack(["b", "a"]).shape == (2, 2, 3)


def test_views_need_distinct_names() -> None:
    with pytest.raises(InputError, match="distinct"):
        Views([view("a"), view("a")])
    with pytest.raises(InputError, match="at least one"):
        Views([])


@pytest.mark.parametrize(("n", "count"), [(10, 3), (2, 5), (7, 1)])
def test_micro_batches_cover_the_batch_in_order(n: int, count: int) -> None:
    batch = Batch(torch.rand(n, 1, 2, 2), torch.arange(n), torch.arange(n) + 7)
    parts = batch.parts(count)
    assert len(parts) == min(n, count)
    assert torch.equal(torch.cat([part.index for part in parts]), batch.index)
    assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_routing_follows_the_views() -> None:
    routing = Routing.of(Views([view("a", 2), view("b", 3)]))
    assert [tuple(span) for span in routing.spans(5)] == [(0, 2, "main"), (2, 5, "main")]
    assert [tuple(span) for span in Routing(("aux",)).spans(4)] == [(0, 4, "aux")]
    with pytest.raises(InputError, match="covers 5 rows"):
        routing.spans(6)
    with pytest.raises(InputError, match="as many branches"):
        Routing(("a", "b"), (3,))
