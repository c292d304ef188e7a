"""Flips and top-5 distances: hand values, a naive loop over ranks, laws, mistakes."""

from inspect import unwrap

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import Tensor

from elinvar import metrics
from elinvar.check import InputError


def scores(videos: int = 7, frames: int = 6, classes: int = 9, *, seed: int = 0, levels: int = 0) -> Tensor:
    """Scores that change little from frame to frame; with `levels`, few different ones, so that many are equal."""
    draws = torch.Generator().manual_seed(seed)
    start = 2 * torch.randn(videos, 1, classes, generator=draws)
    moving = start + torch.randn(videos, frames, classes, generator=draws)
    return (moving * levels).round() / levels if levels else moving


def naive(outputs: Tensor, *, noise: bool, step: int) -> tuple[float, float]:
    """Flip probability and top-5 distance, frame by frame, by ranks of all classes."""
    flips, distances = [], []
    for video in outputs.numpy():
        ranks = [rankdata(-frame, method="ordinal") for frame in video]
        found = []
        for later in range(step, len(video)):
            a, b = ranks[0 if noise else later - step], ranks[later]
            order = np.argsort(a)
            moved = sum(abs(min(i, 5) - min(int(b[order[i]]) - 1, 5)) for i in range(min(5, len(order))))
            found.append((video[0 if noise else later - step].argmax() != video[later].argmax(), moved))
        flips.append(np.mean([pair[0] for pair in found]))
        distances.append(np.mean([pair[1] for pair in found]))
    return float(np.mean(flips)), float(np.mean(distances))


@pytest.mark.parametrize(("noise", "step"), [(False, 1), (False, 2), (False, 3), (True, 1)])
@pytest.mark.parametrize(("classes", "levels"), [(9, 0), (9, 1), (100, 2), (3, 0)])
def test_against_a_naive_loop(noise: bool, step: int, classes: int, levels: int) -> None:
    outputs = scores(classes=classes, levels=levels)
    flips, distance = naive(outputs, noise=noise, step=step)
    assert metrics.flip_probability(outputs, noise=noise, difficulty=step) == pytest.approx(flips, abs=1e-15)
    assert metrics.top5_distance(outputs, noise=noise, difficulty=step) == pytest.approx(distance, abs=1e-14)


def test_flips_by_hand() -> None:
    assert metrics.flip_probability(torch.tensor([[0, 0, 1, 1]])) == 1 / 3
    assert metrics.flip_probability(torch.tensor([0, 0, 1, 1])) == 1 / 3  # one video
    assert metrics.flip_probability(torch.tensor([[0, 0, 1, 1]]), noise=True) == 2 / 3
    assert metrics.flip_probability(torch.tensor([[4, 4, 4], [2, 2, 2]])) == 0
    assert metrics.flip_probability(torch.tensor([[0, 1, 0, 1]]), difficulty=2) == 0
    assert metrics.flip_probability(torch.tensor([[0, 1, 0, 1], [0, 0, 0, 0]], dtype=torch.uint8)) == 0.5


def ranked(*order: int) -> list[float]:
    """Scores of seven classes that rank them in this order."""
    return [float(-order.index(number)) for number in range(7)]


@pytest.mark.parametrize(
    ("order", "distance"),
    [
        ((0, 1, 2, 3, 4, 5, 6), 0),
        ((1, 0, 2, 3, 4, 5, 6), 2),
        ((0, 1, 2, 3, 5, 4, 6), 1),
        ((0, 1, 2, 3, 4, 6, 5), 0),  # below the top five
        ((1, 2, 3, 4, 5, 6, 0), 9),  # four classes move up by one, the first one leaves
    ],
)
def test_top5_distances_by_hand(order: tuple[int, ...], distance: float) -> None:
    assert metrics.top5_distance(torch.tensor([[ranked(*range(7)), ranked(*order)]])) == distance


def test_five_classes_that_leave_the_top_are_15_apart() -> None:
    falling = torch.arange(10.0, 0, -1)
    assert metrics.top5_distance(torch.stack([falling, falling.flip(0)]).unsqueeze(0)) == 15


def test_random_scores_flip_as_chance_says() -> None:
    # 20,000 comparisons of independent frames: flips with probability 0.9, standard error 0.0021; five of them
    outputs = torch.randn(2000, 11, 10, generator=torch.Generator().manual_seed(0))
    assert abs(metrics.flip_probability(outputs, noise=False) - 0.9) < 5 * 0.0021 * 2**0.5
    # against the first frame comparisons of a video share it: at most the spread of 2,000 means
    assert abs(metrics.flip_probability(outputs, noise=True) - 0.9) < 5 * 0.3 / 2000**0.5


def test_one_class_and_equal_scores_never_flip() -> None:
    for outputs in (torch.zeros(3, 4, 1), torch.zeros(3, 4, 10)):
        assert metrics.flip_probability(outputs) == 0
        assert metrics.top5_distance(outputs) == 0


def test_pieces_make_up_the_whole() -> None:
    outputs = scores(videos=50)
    for noise in (False, True):
        flips, distance = metrics.FlipProbability(noise=noise), metrics.Top5Distance(noise=noise)
        for piece in torch.split(outputs, 13):
            assert flips(piece) == metrics.flip_probability(piece, noise=noise)
            distance.update(piece)
        assert flips.compute() == pytest.approx(metrics.flip_probability(outputs, noise=noise), rel=1e-14)
        assert distance.compute() == pytest.approx(metrics.top5_distance(outputs, noise=noise), rel=1e-14)


def test_mistakes_are_answered() -> None:
    flip_probability, top5_distance = (
        unwrap(call) for call in (metrics.flip_probability, metrics.top5_distance)
    )  # past the tests' check of shapes
    for bad in (torch.zeros(3, 4), torch.zeros(1, 2, 3, 4), torch.tensor(0)):
        with pytest.raises(InputError, match="expected classes"):
            unwrap(metrics.flips)(bad)
    with pytest.raises(InputError, match="one of 2 or more"):
        flip_probability(torch.zeros(3, 1, dtype=torch.int64))
    with pytest.raises(InputError, match="one of 4 or more"):
        flip_probability(torch.zeros(3, 3, dtype=torch.int64), difficulty=3)
    with pytest.raises(InputError, match="got 0 videos"):
        flip_probability(torch.zeros(0, 3, dtype=torch.int64))
    for settings in ({"difficulty": 0}, {"difficulty": 2, "noise": True}):
        with pytest.raises(InputError, match="difficulty: got"):
            flip_probability(torch.zeros(3, 3, dtype=torch.int64), **settings)
    for value in (float("nan"), float("inf")):
        with pytest.raises(InputError, match="NaN or infinite"):
            flip_probability(torch.full((2, 3, 4), value))
        with pytest.raises(InputError, match="NaN or infinite"):
            top5_distance(torch.full((2, 3, 4), value))
    with pytest.raises(InputError, match="expected floating point"):
        unwrap(metrics.top5_distances)(torch.zeros(2, 3, 4, dtype=torch.int64))
    with pytest.raises(InputError, match="FlipProbability of no examples"):
        metrics.FlipProbability().compute()
