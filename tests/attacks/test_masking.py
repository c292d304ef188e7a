"""Warnings: each sign is seen where it is, and not where chance or a short search explains it."""

import pytest
import torch
from torch import Tensor

from elinvar import attacks
from elinvar.attacks import Attack, Distribution, Result
from elinvar.attacks.masking import warnings

FLAT = Distribution.of(torch.tensor([[0.0, 1.0]]))
FGSM = attacks.fgsm_attack()
SPSA = attacks.spsa_attack()


def pgd(steps: int, eps: float = 8 / 255) -> Attack:
    return attacks.pgd_attack(eps=eps, step=2 / 255, steps=steps)


def result(attack: Attack | None, accuracy: float, n: int = 1000) -> Result:
    """The first images are right: attacks agree on who is easy."""
    return Result(attack, torch.arange(n) < accuracy * n, FLAT)


# CIFAR-10 of the thesis, tables 3.1 and 3.3: natural, FGSM, PGD-5, -10, -20, -1000, SPSA.
THESIS = {
    "regular": (0.874, 0.061, 0.0, 0.0, 0.0, 0.0, 0.0),
    "label smoothing": (0.869, 0.547, 0.494, 0.417, 0.344, 0.072, 0.089),
    "PGD": (0.758, 0.505, 0.510, 0.461, 0.453, 0.452, 0.454),
    "ALP": (0.740, 0.526, 0.536, 0.491, 0.485, 0.483, 0.461),
    "LRM": (0.685, 0.528, 0.538, 0.514, 0.510, 0.511, 0.479),
}
ROWS = {
    "natural": None, "FGSM": FGSM, "PGD-5": pgd(5), "PGD-10": pgd(10), "PGD-20": pgd(20), "PGD-1000": pgd(1000),
    "SPSA": SPSA,
}  # fmt: skip
SIGNS = {"regular": [], "label smoothing": ["still falling"] * 2, "PGD": [], "ALP": ["SPSA"], "LRM": ["SPSA"]}


@pytest.mark.parametrize("method", sorted(THESIS))
def test_the_published_tables_raise_the_alarms_that_their_text_does(method: str) -> None:
    table = {
        name: result(attack, accuracy) for (name, attack), accuracy in zip(ROWS.items(), THESIS[method], strict=True)
    }
    found = warnings(table, {})
    assert len(found) == len(SIGNS[method])
    for text, sign in zip(found, SIGNS[method], strict=True):
        assert sign in text


def test_says_what_it_sees_in_words_and_numbers() -> None:
    (text,) = warnings({"PGD-20": result(pgd(20), 0.51), "SPSA": result(SPSA, 0.479)}, {})
    assert text.startswith(
        "SPSA, which uses no gradients, fools 31 of 1,000 images more than PGD-20 does (accuracy 47.9% against 51.0%)"
    )


def test_accuracy_that_rises_with_steps() -> None:
    (text,) = warnings({"PGD-10": result(pgd(10), 0.40), "PGD-20": result(pgd(20), 0.45)}, {})
    assert "rises with more steps: PGD-10 fools 50 of 1,000 images more than PGD-20" in text


def test_one_step_that_beats_many() -> None:
    (text,) = warnings({"FGSM": result(FGSM, 0.30), "PGD-20": result(pgd(20), 0.45)}, {})
    assert "FGSM, a single step, fools 150 of 1,000" in text


def test_images_of_another_model_that_beat_the_white_box() -> None:
    white = {"PGD-10": result(pgd(10), 0.50)}
    (text,) = warnings(white, {"standard": result(pgd(10), 0.40), "other": result(pgd(10), 0.60)})
    assert "what was made for standard fools 100 of 1,000 images more than PGD-10 does" in text
    two = {"one": result(pgd(10), 0.40), "two": result(pgd(10), 0.35), "other": result(pgd(10), 0.60)}
    (text,) = warnings(white, two)
    assert "what was made for two" in text
    assert "so are those for 1 more" in text


def test_a_long_search_on_few_images_hides_no_sign_on_many() -> None:
    white = {"FGSM": result(FGSM, 0.3), "PGD-20": result(pgd(20), 0.5), "PGD-1000": result(pgd(1000), 1.0, 9)}
    single, transferred = warnings(white, {"other": result(pgd(10), 0.40)})
    assert "a single step, fools 200 of 1,000 images more than PGD-20" in single
    assert "what was made for other fools 100 of 1,000 images more than PGD-20" in transferred


def test_gradients_that_are_zero() -> None:
    (text,) = warnings({"PGD-10": result(pgd(10), 0.9)}, {}, 0.37)
    assert "exactly zero at 37.0%" in text
    assert not warnings({"PGD-10": result(pgd(10), 0.9)}, {}, 0.005)


def test_attacks_are_compared_on_the_images_of_both() -> None:
    """The first 100 images are the easy ones here: SPSA tried on them says nothing about the others."""
    white = {"PGD-20": result(pgd(20), 0.5), "SPSA": result(SPSA, 1.0, 100)}
    assert not warnings(white, {})
    (text,) = warnings(white | {"SPSA": result(SPSA, 0.8, 100)}, {})
    assert "fools 20 of 100 images more than PGD-20 does (accuracy 80.0% against 100.0%)" in text


def test_other_threats_and_short_searches_are_not_compared() -> None:
    assert not warnings({"PGD-20": result(pgd(20), 0.5), "PGD-20 far": result(pgd(40, 16 / 255), 0.1)}, {})
    assert not warnings({"PGD-20": result(pgd(20), 0.5)}, {"a": result(pgd(20, 16 / 255), 0.1)})
    assert not warnings({"PGD-5": result(pgd(5), 0.4), "PGD-20": result(pgd(20), 0.5)}, {})
    assert not warnings({"SPSA": result(SPSA, 0.1), "natural": result(None, 0.9)}, {})


def disagreeing(more: int, less: int) -> tuple[Tensor, Tensor]:
    """Flags of two attacks: `more` images that only the first one fools, and `less` only the second."""
    one, two = torch.ones(1000, dtype=torch.bool), torch.ones(1000, dtype=torch.bool)
    one[:more], two[more : more + less] = False, False
    return one, two


@pytest.mark.parametrize(("more", "less", "warns"), [(9, 0, False), (10, 0, True), (120, 100, False), (40, 10, True)])
def test_chance_is_no_sign(more: int, less: int, warns: bool) -> None:
    """2^-9 is above one in a thousand, 2^-10 below."""
    one, two = disagreeing(more, less)
    found = warnings({"SPSA": Result(SPSA, one, FLAT), "PGD-20": Result(pgd(20), two, FLAT)}, {})
    assert bool(found) == warns
