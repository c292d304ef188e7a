"""Accumulators: any cut into pieces, any order of shards, the same result."""

import pickle
from inspect import unwrap

import pytest
import torch
from torch import Tensor

from elinvar.check import InputError
from elinvar.metrics import (
    Confidences,
    ErrorRate,
    error_rate,
    expected_calibration_error,
    rms_calibration_error,
    top_label,
)


def predictions(n: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(n, 5, generator=draws)).softmax(1), torch.randint(0, 5, (n,), generator=draws)


P, Y = predictions(1000)
# Many equal confidences, so that the order in which predictions come shows in the result.
TIES = (P * 4).round().add(0.5)
TIES = TIES / TIES.sum(1, keepdim=True)


def shards(count: int) -> list[Tensor]:
    """Interleaved, the last ones padded with the first examples, as samplers do."""
    padded = torch.arange(-(-1000 // count) * count) % 1000
    return [padded[rank::count] for rank in range(count)]


def test_pieces_make_up_the_whole() -> None:
    seen = Confidences()
    for rows in torch.split(torch.arange(1000), 170):
        seen.update(P[rows], Y[rows])
    assert seen.compute() == {"all": rms_calibration_error(P, Y)}


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_merged_shards_are_the_unsharded_pass(count: int) -> None:
    collected = []
    for rows in shards(count):
        shard = Confidences()
        for piece in torch.split(rows, 64):
            shard.update(TIES[piece], Y[piece], name="clean", index=piece)
        collected.append(pickle.loads(pickle.dumps(shard)))
    whole = Confidences()
    for shard in reversed(collected):
        whole.merge(shard)
    confidence, correct = whole.pooled()
    assert torch.equal(confidence, top_label(TIES, Y).confidence)
    assert torch.equal(correct, top_label(TIES, Y).correct)
    assert whole.compute() == {"clean": rms_calibration_error(TIES, Y)}


def test_parts_are_pooled_by_name_at_the_end() -> None:
    seen = Confidences(expected_calibration_error)
    parts = {f"{name}/{s}": predictions(150, seed=10 * k + s) for k, name in enumerate(("fog", "snow")) for s in (1, 2)}
    for name, (p, y) in parts.items():
        seen.update(p, y, name=name)
    assert seen.names() == ("fog/1", "fog/2", "snow/1", "snow/2")
    assert seen.compute() == {name: expected_calibration_error(p, y) for name, (p, y) in parts.items()}
    pools = {name: [f"{name}/1", f"{name}/2"] for name in ("fog", "snow")}
    expected = {
        name: expected_calibration_error(*(torch.cat(both) for both in zip(parts[a], parts[b], strict=True)))
        for name, (a, b) in pools.items()
    }
    assert seen.compute(pools) == pytest.approx(expected)
    everything = expected_calibration_error(
        torch.cat([p for p, _ in parts.values()]), torch.cat([y for _, y in parts.values()])
    )
    assert seen.compute({"all": seen.names()}) == pytest.approx({"all": everything})


def test_an_example_may_come_once_in_every_part() -> None:
    seen = Confidences()
    for name in ("fog/1", "fog/2"):
        seen.update(P[:10], Y[:10], name=name, index=torch.arange(10))
        seen.update(P[:10], Y[:10], name=name, index=torch.arange(10))
    assert len(seen.pooled().correct) == 20


def test_reset_forgets() -> None:
    seen = Confidences()
    seen.update(P, Y)
    seen.reset()
    assert seen.names() == ()
    seen.update(P[:50], Y[:50])
    assert seen.compute() == {"all": rms_calibration_error(P[:50], Y[:50])}


def test_mistakes_are_answered() -> None:
    seen = Confidences()
    with pytest.raises(InputError, match="call update first"):
        seen.compute()
    with pytest.raises(InputError, match="call update first"):
        seen.pooled()
    seen.update(P, Y, name="fog/1", index=torch.arange(1000))
    with pytest.raises(InputError, match="with every update, or with none"):
        seen.update(P, Y, name="fog/1")
    with pytest.raises(InputError, match="unknown part of the predictions 'fog/2': did you mean 'fog/1'"):
        seen.compute({"fog": ["fog/1", "fog/2"]})
    with pytest.raises(InputError, match="no predictions"):
        seen.compute({"fog": []})
    with pytest.raises(InputError, match="one for each of 1000 rows"):
        unwrap(Confidences.update)(seen, P, Y, name="snow/1", index=torch.arange(3))  # past the tests' check of shapes


def test_error_rate_of_scores_and_of_classes() -> None:
    wrong = sum(max(range(5), key=row.__getitem__) != y for row, y in zip(P.tolist(), Y.tolist(), strict=True))
    assert error_rate(P, Y) == wrong / 1000
    assert error_rate(P.argmax(1), Y) == wrong / 1000
    assert error_rate(torch.zeros(2, 3), torch.tensor([0, 1])) == 0.5  # the first of equal scores wins


def test_error_rates_merge() -> None:
    whole = ErrorRate()
    for start in (0, 300):
        shard = ErrorRate()
        for rows in torch.split(torch.arange(start, 300 if start == 0 else 1000), 64):
            shard.update(P[rows], Y[rows])
        whole.merge(shard)
    assert whole.compute() == error_rate(P, Y)
    whole.reset()
    with pytest.raises(InputError, match="no examples"):
        whole.compute()


def test_a_score_of_nan_decides_nothing() -> None:
    scores = torch.tensor([[float("nan"), 1.0], [2.0, float("nan")], [2.0, 1.0]])
    assert error_rate(scores, torch.tensor([0, 0, 0])) == 2 / 3
    with pytest.raises(InputError, match="no examples"):
        error_rate(scores[:0], torch.zeros(0, dtype=torch.int64))
