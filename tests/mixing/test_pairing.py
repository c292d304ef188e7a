"""Who is mixed with whom. Statistical checks fail by chance with probability 1e-6 at most; keys are fixed."""

from itertools import permutations
from typing import get_args

import pytest
import torch
from scipy import stats

from elinvar.check import InputError
from elinvar.mixing import Pairing, mix, partners
from elinvar.mixing.pairing import check_pairing
from elinvar.rng import uniform

from .conftest import keys, noise

CHANCE = 1e-6


@pytest.mark.parametrize("pairing", ["permutation", "derangement"])
def test_every_row_is_a_partner_once(pairing: Pairing) -> None:
    for count in (2, 3, 128):
        rows = partners(pairing, uniform(keys(count, count), 2))
        assert rows.sort().values.equal(torch.arange(count))
        if pairing == "derangement":
            assert bool((rows != torch.arange(count)).all())


def test_permutations_are_uniform() -> None:
    u = uniform(keys(4 * 12_000), 2).view(12_000, 4, 2)
    counts = dict.fromkeys(permutations(range(4)), 0)
    for one in u:
        counts[tuple(partners("permutation", one).tolist())] += 1
    assert stats.chisquare(list(counts.values())).pvalue > CHANCE


def test_derangements_are_uniform_over_cycles() -> None:
    u = uniform(keys(4 * 6_000), 2).view(6_000, 4, 2)
    counts: dict[tuple[int, ...], int] = {}
    for one in u:
        rows = tuple(partners("derangement", one).tolist())
        counts[rows] = counts.get(rows, 0) + 1
        assert rows[rows[rows[rows[0]]]] == 0  # a cycle of 4
        assert len({rows[0], rows[rows[0]], rows[rows[rows[0]]]}) == 3
    assert len(counts) == 6
    assert stats.chisquare(list(counts.values())).pvalue > CHANCE


@pytest.mark.parametrize("pairing", ["permutation", "derangement"])
def test_pairs_do_not_depend_on_the_order_of_the_batch(pairing: Pairing) -> None:
    images, targets, drawn = noise(60, 3, 8, 8), torch.arange(60), keys(60)
    whole = mix("cutmix", images, targets, classes=60, keys=drawn, pairing=pairing)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    again = mix("cutmix", images[order], targets[order], classes=60, keys=drawn[order], pairing=pairing)
    assert again[0].equal(whole[0][order])
    assert again[1].equal(whole[1][order])


def test_pairs_and_methods_draw_independently() -> None:
    """Who is whose partner says nothing about lambda."""
    _, soft = mix("mixup", torch.zeros(4000, 1, 1, 1), torch.arange(4000), classes=4000, keys=keys(4000))
    weight = soft.diagonal()
    partner = soft.scatter(1, torch.arange(4000)[:, None], -1).argmax(1)
    assert stats.spearmanr(weight.numpy(), partner.numpy()).pvalue > CHANCE


def test_images_and_labels_have_the_same_partner() -> None:
    """Images that are their label: mixed, they are their soft target."""
    targets = torch.arange(40)
    images = torch.nn.functional.one_hot(targets, 40).float()[:, :, None, None].expand(-1, -1, 4, 4)
    for pairing in get_args(Pairing):
        made, soft = mix("mixup", images, targets, classes=40, keys=keys(40), pairing=pairing)
        assert torch.allclose(made[..., 0, 0], soft, atol=1e-7)
        assert torch.allclose(mix("mixup", images, targets, classes=40, pairing=pairing)[0].sum(1), torch.ones(1))


def test_disjoint_pairs_halve_the_batch() -> None:
    images, targets = noise(20, 3, 8, 8), torch.arange(20) % 10
    made, soft = mix("vh_mixup", images, targets, classes=10, keys=keys(20), pairing="disjoint")
    expected = mix(
        "vh_mixup", images[:10], targets[:10], classes=10, keys=keys(20)[:10], partner=(images[10:], targets[10:])
    )
    assert made.shape == (10, 3, 8, 8)
    assert made.equal(expected[0])
    assert soft.equal(expected[1])


def test_batches_that_cannot_be_paired_are_refused() -> None:
    images, targets = noise(3, 3, 8, 8), torch.arange(3)
    with pytest.raises(InputError, match="got 3 images, but disjoint pairs need an even number"):
        mix("mixup", images, targets, classes=3, pairing="disjoint")
    with pytest.raises(InputError, match="a derangement needs at least 2 images, got 1"):
        mix("mixup", images[:1], targets[:1], classes=3, pairing="derangement")
    with pytest.raises(InputError, match="unknown pairing 'permutations': did you mean 'permutation'"):
        check_pairing("permutations")


def test_one_example_is_its_own_partner() -> None:
    images, targets = noise(1, 3, 8, 8), torch.tensor([2])
    made, soft = mix("mixup", images, targets, classes=4)
    assert made.equal(images)
    assert soft.tolist() == [[0, 0, 1, 0]]
