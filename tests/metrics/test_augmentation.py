"""Affinity and diversity of an augmentation."""

from inspect import unwrap

import pytest
import torch

from elinvar.check import InputError
from elinvar.metrics import Affinity, affinity, diversity

Y = torch.arange(100) % 10


def right(count: int) -> torch.Tensor:
    return torch.where(torch.arange(100) < count, Y, (Y + 1) % 10)


def test_affinity_by_hand() -> None:
    assert affinity(right(90), right(90), Y) == 0
    assert affinity(right(90), right(65), Y) == -0.25
    assert affinity(right(80), right(60), Y, form="ratio") == 0.75
    scores = torch.nn.functional.one_hot(right(65)).float()
    assert affinity(right(90), scores, Y) == -0.25


def test_pieces_make_up_the_whole() -> None:
    whole, other = Affinity(form="ratio"), Affinity(form="ratio")
    assert whole(right(90)[:30], right(20)[:30], Y[:30]) == 20 / 30
    other.update(right(90)[30:], right(20)[30:], Y[30:])
    whole.merge(other)
    assert whole.compute() == affinity(right(90), right(20), Y, form="ratio")


def test_diversity_by_hand() -> None:
    assert diversity(torch.tensor([0.5, 1.0]), torch.tensor([0.25])) == 3


def test_mistakes_are_answered() -> None:
    with pytest.raises(InputError, match="'difference' or 'ratio'"):
        unwrap(Affinity.__init__)(Affinity.__new__(Affinity), form="quotient")  # past the tests' check of types
    with pytest.raises(InputError, match="no clean image"):
        affinity(right(0), right(10), Y, form="ratio")
    with pytest.raises(InputError, match="no examples"):
        Affinity().compute()
    for bad in (torch.zeros(0), torch.tensor([float("nan")])):
        with pytest.raises(InputError, match="augmented: got"):
            diversity(bad, torch.ones(3))
    with pytest.raises(InputError, match="mean loss of 0"):
        diversity(torch.ones(3), torch.zeros(3))
