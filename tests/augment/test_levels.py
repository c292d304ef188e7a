"""Every scale turns levels into the parameters that its publisher's code does."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

import libraries
from elinvar.augment import LEVELS, OPS, apply
from elinvar.augment.levels import Levels, Range

from .conftest import same

WIDTH, HEIGHT = 37, 29
ENHANCERS = ("color", "contrast", "brightness", "sharpness")
Formula = Callable[[Any], float]


def scale(
    posterize: Formula, solarize: Formula, rotate: Formula, x: Formula, y: Formula, factor: Formula, **more: Formula
) -> dict[str, Formula]:
    return {
        "posterize": posterize,
        "solarize": solarize,
        "rotate": rotate,
        "shear_x": lambda t: 0.3 * t,
        "shear_y": lambda t: 0.3 * t,
        "translate_x": x,
        "translate_y": y,
        **dict.fromkeys(ENHANCERS, factor),
        **more,
    }


# Of a level's share of the top level, as the publishers' codes have them, written anew.
FORMULAS: dict[str, dict[str, Formula]] = {
    "augmix": scale(
        lambda t: 4 - int(4 * t),
        lambda t: 256 - int(256 * t),
        lambda t: int(30 * t),
        lambda t: int(t * WIDTH / 3),
        lambda t: int(t * HEIGHT / 3),
        lambda t: 1.8 * t + 0.1,
    ),
    "torchvision": scale(
        lambda t: 8 - round(4 * t),
        lambda t: 255 - 255 * t,
        lambda t: 30 * t,
        lambda t: int(150 / 331 * WIDTH * t),
        lambda t: int(150 / 331 * HEIGHT * t),
        lambda t: 1 + 0.9 * t,
    ),
    "original": scale(
        lambda t: 4 - int(4 * t),
        lambda t: 256 - int(256 * t),
        lambda t: int(30 * t),
        lambda t: int(10 * t),
        lambda t: int(10 * t),
        lambda t: 1.8 * t + 0.1,
        cutout=lambda t: int(20 * t) // 2,
    ),
    "tpu": scale(
        lambda t: int(4 * t),
        lambda t: int(256 * t),
        lambda t: 30 * t,
        lambda t: 100 * t,
        lambda t: 100 * t,
        lambda t: 1.8 * t + 0.1,
        solarize_add=lambda t: int(110 * t),
        cutout=lambda t: int(40 * t),
    ),
    "pytorch_randaugment": scale(
        lambda t: max(1, int(4 * t)),
        lambda t: 256 * t,
        lambda t: 30 * t,
        lambda t: 100 * t,
        lambda t: 100 * t,
        lambda t: 1.8 * t + 0.1,
        solarize_add=lambda t: int(110 * t),
        cutout=lambda t: int(20 * t),
    ),
}
FORMULAS["tpu_autoaugment"] = FORMULAS["tpu"] | {
    "translate_x": lambda t: 250 * t,
    "translate_y": lambda t: 250 * t,
    "cutout": lambda t: int(100 * t),
}
# What a random sign turns round, and about which value.
SIGNED = {"rotate": 0.0, "shear_x": 0.0, "shear_y": 0.0, "translate_x": 0.0, "translate_y": 0.0}


def parameters(levels: Levels, name: str, level: list[float], *, negative: bool = False) -> Tensor:
    at = torch.tensor(level, dtype=torch.float64)
    ops = torch.full(at.shape, OPS[name].code)
    side = torch.full_like(at, 0.4999 if negative else 0.5)
    return levels.parameters(ops, at, side, height=HEIGHT, width=WIDTH)


def exactly(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).to(torch.float32)


@pytest.mark.parametrize("name", LEVELS)
def test_levels_are_parameters_as_published(name: str) -> None:
    levels = LEVELS[name]
    assert levels.name == name
    assert set(levels.ranges) == set(FORMULAS[name])
    # Sixteenths are exact, so that cutting and rounding are held right at the steps.
    shares = [0.0, 0.0625, 0.125, 0.25, 0.3125, 0.375, 0.5, 0.6875, 0.75, 0.875, 1.0]
    for op, formula in FORMULAS[name].items():
        level = [share * levels.top for share in shares]
        torch.testing.assert_close(
            parameters(levels, op, level), exactly([formula(t) for t in shares]), rtol=1e-6, atol=0
        )


@pytest.mark.parametrize("name", LEVELS)
def test_whole_levels_are_parameters_as_published(name: str) -> None:
    levels = LEVELS[name]
    top = round(levels.top)
    for op, formula in FORMULAS[name].items():
        expected = [float(formula(Fraction(level, top))) for level in range(top + 1)]
        made = parameters(levels, op, [float(level) for level in range(top + 1)])
        torch.testing.assert_close(made, exactly(expected), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", LEVELS)
def test_signs_turn_what_goes_both_ways(name: str) -> None:
    levels = LEVELS[name]
    centres = SIGNED | (dict.fromkeys(ENHANCERS, 1.0) if name == "torchvision" else {})
    for op in FORMULAS[name]:
        level = [0.0, 0.3 * levels.top, levels.top]
        forth, back = parameters(levels, op, level), parameters(levels, op, level, negative=True)
        if op in centres:
            torch.testing.assert_close(forth + back, torch.full((3,), 2 * centres[op]), rtol=1e-6, atol=1e-7)
            assert forth[1] > back[1]
        else:
            assert back.equal(forth)


def test_whole_numbers_of_the_published_levels() -> None:
    """By hand: what published code gives at levels that people use."""
    original, tpu, port = LEVELS["original"], LEVELS["tpu"], LEVELS["pytorch_randaugment"]
    assert parameters(original, "rotate", [2, 3, 7, 9]).tolist() == [6, 9, 21, 27]
    assert parameters(original, "posterize", [4, 5, 6, 7, 8]).tolist() == [3, 2, 2, 2, 1]
    assert parameters(original, "solarize", [2, 3, 5, 8]).tolist() == [205, 180, 128, 52]
    assert parameters(original, "cutout", [2.5, 7]).tolist() == [2, 7]
    assert parameters(tpu, "posterize", [1, 9, 10, 15, 30]).tolist() == [0, 3, 4, 6, 12]
    assert parameters(tpu, "cutout", [9, 10]).tolist() == [36, 40]
    assert parameters(tpu, "solarize_add", [3, 9]).tolist() == [33, 99]
    assert parameters(port, "posterize", [0, 7, 8, 14, 15, 29, 30]).tolist() == [1, 1, 1, 1, 2, 3, 4]
    assert parameters(port, "color", [15]).tolist() == [1]
    torchvision = replace(LEVELS["torchvision"], top=9.0)
    assert parameters(torchvision, "posterize", list(range(10))).tolist() == [8, 8, 7, 7, 6, 6, 5, 5, 4, 4]


@pytest.mark.parametrize(("policy", "bins"), [("RandAugment", 31), ("AutoAugment", 10)])
def test_one_scale_is_torchvisions(policy: str, bins: int) -> None:
    transforms = libraries.load("torchvision.transforms")
    space = getattr(transforms, policy)()._augmentation_space(bins, (HEIGHT, WIDTH))
    levels = replace(LEVELS["torchvision"], top=bins - 1.0)
    names = {"ShearX": "shear_x", "ShearY": "shear_y", "TranslateX": "translate_x", "TranslateY": "translate_y"}
    compared = set()
    for theirs, (magnitudes, signed) in space.items():
        ours = names.get(theirs, theirs.lower())
        if not magnitudes.ndim:
            assert ours not in levels.ranges
            continue
        compared.add(ours)
        made = parameters(levels, ours, list(range(bins)))
        expected = magnitudes.float() + (1 if ours in ENHANCERS else 0)
        if "translate" in ours:
            expected = expected.trunc()
        torch.testing.assert_close(made, expected, rtol=1e-6, atol=3e-5)
        assert levels.ranges[ours].signed == signed
    assert compared == set(levels.ranges)


@pytest.mark.parametrize("name", LEVELS)
def test_directions_are_named(name: str) -> None:
    """Posterize and solarize change a ramp more at higher levels, but where a scale says that they weaken."""
    levels = LEVELS[name]
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    for op in ("posterize", "solarize"):
        at = parameters(levels, op, [0.2 * levels.top, 0.9 * levels.top])
        little, much = ((apply(ramp, same(op, ramp, value.view(1))).int() - ramp.int()).abs().sum() for value in at)
        assert (little > much) == (op in levels.weakening)
        assert little != much
    assert levels.weakening == (
        frozenset() if name in ("augmix", "torchvision", "original") else {"posterize", "solarize"}
    )


def test_fractions_are_cut_towards_the_start_or_go_to_the_nearest() -> None:
    ranges = {
        "posterize": Range(start=8, span=-4, whole="nearest"),
        "solarize": Range(start=8, span=-4, whole="cut"),
        "rotate": Range(span=4, whole="cut", signed=True, least=-1),
    }
    levels = Levels("mine", 16, ranges)
    at = [0.0, 1.0, 3.0, 5.0, 7.0, 16.0]
    assert parameters(levels, "posterize", at).tolist() == [8, 8, 7, 7, 6, 4]
    assert parameters(levels, "solarize", at).tolist() == [8, 8, 8, 7, 7, 4]
    assert parameters(levels, "rotate", at, negative=True).tolist() == [0, 0, 0, -1, -1, -1]
    assert parameters(levels, "equalize", at).tolist() == [0] * 6
