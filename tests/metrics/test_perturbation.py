"""Means over perturbations: constants, laws, subsets that are named, mistakes."""

import copy
import pickle

import pytest
import torch

from elinvar.check import InputError
from elinvar.metrics import (
    ALEXNET_FLIPS,
    PERTURBATION_SUBSETS,
    PerturbationFlips,
    PerturbationTop5,
    flip_probability,
    mean_flip_probability,
    mean_flip_rate,
    mean_top5_distance,
    top5_distance,
)

ALL = PERTURBATION_SUBSETS["all"]


def flat(value: float) -> dict[str, float]:
    return dict.fromkeys(ALL, value)


def test_the_constants_are_those_published() -> None:
    assert set(ALEXNET_FLIPS) == set(ALL)
    # the mean over the ten, as published by the benchmark's re-implementations
    assert sum(ALEXNET_FLIPS[name] for name in PERTURBATION_SUBSETS["benchmark"]) == pytest.approx(1.40463, abs=1e-9)


def test_alexnet_flips_at_rate_100_and_everything_scales() -> None:
    for subset in PERTURBATION_SUBSETS:
        assert mean_flip_rate(ALEXNET_FLIPS, subset=subset) == pytest.approx(100)
    half = {name: value / 2 for name, value in ALEXNET_FLIPS.items()}
    assert mean_flip_rate(half) == pytest.approx(50)
    assert mean_flip_rate(half).per_perturbation["snow"] == pytest.approx(50)


@pytest.mark.parametrize(("subset", "count"), [("benchmark", 10), ("spatter", 10), ("validation", 4), ("all", 14)])
def test_the_result_names_its_subset(subset: str, count: int) -> None:
    flips = {**flat(0.5), "snow": 0.1, "spatter": 0.9}
    result = mean_flip_probability(flips, subset=subset)
    assert (result.subset, len(result.each), tuple(result.each)) == (subset, count, PERTURBATION_SUBSETS[subset])
    assert f"mean over {count} perturbations ({subset})" in str(result)
    shift = {"benchmark": -0.4, "spatter": 0.4, "validation": 0.4, "all": 0.0}[subset]
    assert result == pytest.approx(0.5 + shift / count)
    for copied in (copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert (type(copied), copied, copied.each, copied.subset) == (type(result), result, result.each, subset)


def test_top5_distances_with_and_without_a_normalizer() -> None:
    assert float(mean_top5_distance(flat(3.0))) == 3
    assert float(mean_top5_distance(flat(3.0), normalizers=flat(4.0))) == 75


def test_videos_that_come_in_pieces() -> None:
    draws = torch.Generator().manual_seed(0)
    flips, distances = PerturbationFlips(subset="all"), PerturbationTop5(subset="all", difficulty=2)
    rates = PerturbationFlips(normalizers=ALEXNET_FLIPS)
    other = PerturbationFlips(subset="all")
    expected, moved = {}, {}
    for name in ALL:
        scores = torch.randn(6, 5, 8, generator=draws)
        noise = name in ("gaussian_noise", "shot_noise", "speckle_noise")
        expected[name] = flip_probability(scores, noise=noise)
        moved[name] = top5_distance(scores, noise=noise, difficulty=1 if noise else 2)
        for metric, piece in ((flips, scores[:4]), (other, scores[4:])):
            metric.update(piece, perturbation=name)
        assert rates(scores, perturbation=name) == pytest.approx(expected[name])
        distances.update(scores, perturbation=name)
    flips.merge(other)
    assert flips.compute().each == pytest.approx(expected)
    before = other.compute().each
    assert before != pytest.approx(expected)  # merging leaves the other as it was
    empty = PerturbationFlips(subset="all")
    empty.merge(other)
    empty.merge(flips)
    assert other.compute().each == before
    assert distances.compute().each == pytest.approx(moved)
    assert rates.compute() == pytest.approx(mean_flip_rate(expected))


def test_mistakes_are_answered() -> None:
    with pytest.raises(InputError, match="flips: snow missing, the mean over 'benchmark' needs 10"):
        mean_flip_probability({name: 0.1 for name in ALL if name != "snow"})
    with pytest.raises(InputError, match="normalizers: snow missing"):
        mean_flip_rate(flat(0.1), normalizers={name: 0.1 for name in ALL if name != "snow"})
    with pytest.raises(InputError, match="unknown perturbation 'snw': did you mean 'snow'"):
        mean_flip_probability({**flat(0.1), "snw": 0.1})
    with pytest.raises(InputError, match="unknown subset of perturbations"):
        mean_flip_probability(flat(0.1), subset="bench")
    for bad in (-0.1, 100.1, float("nan")):
        with pytest.raises(InputError, match="snow: got"):
            mean_flip_probability({**flat(0.1), "snow": bad})
    with pytest.raises(InputError, match="expected a number from 0 to 1"):
        mean_flip_rate(flat(10.0))
    with pytest.raises(InputError, match=r"normalizers: 0 for \['snow'\]"):
        mean_flip_rate(flat(0.1), normalizers={**flat(0.1), "snow": 0.0})
    with pytest.raises(InputError, match="from 0 to 15"):
        mean_top5_distance(flat(16.0))
    metric = PerturbationFlips()
    with pytest.raises(InputError, match="call update first"):
        metric.compute()
    with pytest.raises(InputError, match="unknown perturbation 'fog'"):
        metric.update(torch.zeros(1, 2, dtype=torch.int64), perturbation="fog")
    with pytest.raises(InputError, match="one of 2 or more"):
        metric.update(torch.zeros(1, 1, dtype=torch.int64), perturbation="snow")
    assert metric.averages == {}  # what is refused leaves no trace
