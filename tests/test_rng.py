"""Draws are uniform, independent across neighbouring keys, and a pure function of their names.

The keys are fixed, so each statistical test has one outcome for good. Every one rejects at p < 1e-4: with the 18
statistics computed here, a sound generator with other keys would fail the file in about one of 500 choices of keys.
"""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from elinvar.check import InputError
from elinvar.rng import GAMMA, MASK, Seeds, Source, bits, fold, fresh_key, mix64, streams, uniform

LEVEL = 1e-4


def test_splitmix64_known_answers() -> None:
    # The first outputs of the published generator for seed 1234567.
    state, outputs = 1234567, []
    for _ in range(5):
        state = (state + GAMMA) & MASK
        outputs.append(mix64(state))
    assert outputs == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip
    tensor = bits(torch.tensor([1234567]), 5)[0]
    assert [int(value) & MASK for value in tensor] == outputs


def test_draws_do_not_depend_on_batch_order_or_count() -> None:
    index = torch.tensor([5, 0, 1000, 3])
    draws = uniform(streams(1, index), 6)
    assert torch.equal(uniform(streams(1, index.flip(0)), 6).flip(0), draws)
    assert torch.equal(torch.cat([uniform(streams(1, part), 6) for part in torch.split(index, 1)]), draws)
    assert torch.equal(uniform(streams(1, index), 2, start=3), draws[:, 3:5])


@pytest.mark.parametrize("source", list(Source))
def test_each_source_is_uniform(source: Source) -> None:
    draws = uniform(streams(Seeds(0).key(source, 0), torch.arange(2_000)), 20).numpy().ravel()
    assert draws.min() >= 0
    assert draws.max() < 1
    assert stats.kstest(draws, "uniform").pvalue > LEVEL


def joint(a: Tensor, b: Tensor) -> float:
    """p-value of a chi-square test that two draws fill a 16 x 16 grid evenly."""
    cells = (a * 16).long() * 16 + (b * 16).long()
    return float(stats.chisquare(np.bincount(cells.numpy(), minlength=256)).pvalue)


@pytest.mark.parametrize("neighbour", ["example", "counter", "epoch", "seed", "source", "view", "key bit"])
def test_neighbouring_keys_are_independent(neighbour: str) -> None:
    index = torch.arange(50_000)
    base = uniform(streams(Seeds(3).key(Source.AUGMENT, 4, "aug1"), index), 2)
    other = {
        "example": lambda: base[:, 0].roll(1),
        "counter": lambda: base[:, 1],
        "epoch": lambda: uniform(streams(Seeds(3).key(Source.AUGMENT, 5, "aug1"), index), 1)[:, 0],
        "seed": lambda: uniform(streams(Seeds(4).key(Source.AUGMENT, 4, "aug1"), index), 1)[:, 0],
        "source": lambda: uniform(streams(Seeds(3).key(Source.MIX, 4, "aug1"), index), 1)[:, 0],
        "view": lambda: uniform(streams(Seeds(3).key(Source.AUGMENT, 4, "aug2"), index), 1)[:, 0],
        "key bit": lambda: uniform(streams(Seeds(3).key(Source.AUGMENT, 4, "aug1") ^ 1, index), 1)[:, 0],
    }[neighbour]()
    assert joint(base[:, 0], other) > LEVEL
    assert abs(float(stats.pearsonr(base[:, 0], other).statistic)) < 4 / np.sqrt(len(index))


def test_bits_are_fair_and_runs_of_counters_too() -> None:
    words = bits(streams(9, torch.arange(4_000)), 8).ravel()
    ones = torch.stack([(words >> bit) & 1 for bit in range(64)]).double().mean(1)
    assert float((ones - 0.5).abs().max()) < 4.5 * 0.5 / np.sqrt(len(words))  # 64 bits at 4.5 sigma: p = 4e-4
    one_stream = uniform(streams(9, torch.tensor([7])), 100_000)[0].numpy()
    assert stats.kstest(one_stream, "uniform").pvalue > LEVEL


def test_seeds_vary_one_source_at_a_time() -> None:
    plain, other = Seeds(1), Seeds(1, {Source.SHUFFLE: 2})
    for source in Source:
        assert (plain.key(source, 0) == other.key(source, 0)) == (source is not Source.SHUFFLE)
    with pytest.raises(InputError, match="shuffle"):
        Seeds(0, {"shufle": 1})


def test_fold_separates_paths() -> None:
    paths: list[tuple[int | str, ...]] = [
        (),
        (0,),
        (0, 0),
        (1,),
        ("1",),
        ("a", "b"),
        ("ab",),
        ("b", "a"),
        (-1,),
        (MASK - 1,),
        ("",),
    ]
    assert len({fold(*path) for path in paths}) == len(paths)
    assert fold("augment", 3) == 0xFFFFFFFFFFFFFFFF & fold("augment", 3)


def test_fresh_keys_follow_the_default_generator() -> None:
    torch.manual_seed(0)
    first = [fresh_key(), fresh_key()]
    torch.manual_seed(0)
    assert [fresh_key(), fresh_key()] == first
    assert first[0] != first[1]


def test_index_must_be_integers() -> None:
    with pytest.raises(InputError, match="int64"):
        streams.__wrapped__(0, torch.arange(3, dtype=torch.int32))  # type: ignore[attr-defined]
