"""Every operation of the table, held against Pillow, on both back ends."""

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor

from elinvar.augment import AUGMIX_LEVELS, OPS, Kind, Program, apply
from elinvar.augment.augmix import OP_SETS
from elinvar.augment.backend import Backend
from elinvar.rng import uniform

from .conftest import PILLOW, digits, keys, noise, photos, pillow, same

BACKENDS = get_args(Backend)
SIZES = [(3, 32, 32), (3, 28, 40), (3, 33, 17), (1, 33, 17), (1, 28, 28), (3, 3, 5), (1, 2, 2), (3, 1, 1)]
REGIONS = [name for name, op in OPS.items() if op.kind is Kind.REGION]  # these have a file of their own
SEVERITIES = torch.arange(1, 11, dtype=torch.float64)

# Parameters beyond those that AugMix draws: where nothing happens, where everything happens, and outside the image.
EXTREMES = {
    "posterize": (1, 3.7, 8),
    "rotate": (0, 30, -30, 45, 90, -90, 180, 359, 360, 12.5),
    "solarize": (0, 0.5, 1, 127.5, 128, 255, 256, 300),
    "shear_x": (0, 0.3, -0.3, 1, -2),
    "shear_y": (0, 0.3, -0.3, 1, -2),
    "translate_x": (0, 1, -1, 2.25, -3.5, 31, -31, 32, -32, 1000),
    "translate_y": (0, 1, -1, 2.25, -3.5, 31, -31, 32, -32, 1000),
    "color": (-0.5, 0, 1, 1.9, 3),
    "contrast": (-0.5, 0, 1, 1.9, 3),
    "brightness": (-0.5, 0, 1, 1.9, 3),
    "sharpness": (-0.5, 0, 1, 1.9, 3),
    "solarize_add": (0, 0.9, 1, 110, 127.5, 128, -20, -0.9, 1000, -1000),
}


def parameters(name: str, height: int, width: int) -> Tensor:
    """Levels from all severities 1 to 10 in both directions, then the extremes."""
    if not OPS[name].parameters:
        return torch.zeros(6)
    u = uniform(keys(1, key=OPS[name].code), 40).view(2, 20)
    level = 0.1 + (SEVERITIES.repeat(2) - 0.1) * u[0]
    ops = torch.full((20,), OPS[name].code)
    if name in AUGMIX_LEVELS.ranges:
        drawn = AUGMIX_LEVELS.parameters(ops, level, u[1], height=height, width=width)
    else:
        drawn = (11 * level).float()
    return torch.cat([drawn, torch.tensor(EXTREMES[name], dtype=torch.float32)])


def share(wrong: Tensor) -> float:
    return float((wrong > 0).sum()) / max(1, wrong.numel())


def difference(made: Tensor, expected: Tensor) -> Tensor:
    return (made.int() - expected.int()).abs()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PILLOW)
def test_operations_are_pillows(name: str, backend: Backend) -> None:
    drawn, extreme = [], []
    for channels, height, width in SIZES:
        parameter = parameters(name, height, width)
        for source in (photos, digits, noise):
            images = source(len(parameter), channels, height, width)
            made = apply(images, same(name, images, parameter), backend=backend)
            wrong = difference(made, pillow(name, images, parameter))
            drawn.append(wrong[:20].flatten())
            extreme.append(wrong[20:].flatten())
    if OPS[name].kind is not Kind.WARP:
        assert not torch.cat(drawn + extreme).any()
        return
    # Blends are float32, Pillow's are float64: one within 1e-5 of a whole number may be cut to the other side of it.
    # Slopes that are ratios of small numbers, as .3, get there often.
    assert torch.cat(drawn + extreme).max() <= 1
    assert share(torch.cat(drawn)) < 1e-4
    assert share(torch.cat(extreme)) < 0.01


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PILLOW)
def test_operations_are_pillows_on_large_images(name: str, backend: Backend) -> None:
    parameter = parameters(name, 224, 224)[:20:4]
    images = photos(len(parameter), 3, 224, 224)
    wrong = difference(apply(images, same(name, images, parameter), backend=backend), pillow(name, images, parameter))
    assert wrong.max() <= (1 if OPS[name].kind is Kind.WARP else 0)
    assert share(wrong) < 2e-4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [name for name in PILLOW if OPS[name].nothing is not None])
def test_nothing_happens_at_zero_strength(name: str, backend: Backend) -> None:
    nothing = OPS[name].nothing
    assert nothing is not None
    images = photos(4, 3, 28, 40)
    assert apply(images, same(name, images, torch.full((4,), nothing)), backend=backend).equal(images)
    # Next to that value the kernel itself runs: the smallest change must not move any pixel by much.
    close = torch.nextafter(torch.full((4,), nothing), torch.tensor(1e9))
    assert difference(apply(images, same(name, images, close), backend=backend), images).max() <= 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", OPS)
def test_type_and_shape_stay(name: str, backend: Backend) -> None:
    for dtype in (torch.uint8, torch.float16, torch.float32, torch.float64):
        for shape in ((2, 3, 8, 6), (1, 1, 5, 5), (0, 3, 4, 4)):
            images = noise(*shape) if dtype == torch.uint8 else noise(*shape).to(dtype) / 255
            parameters = torch.full((shape[0], max(1, len(OPS[name].parameters))), 1.4)
            if "seed" in OPS[name].parameters:  # a whole number
                parameters[:, OPS[name].parameters.index("seed")] = 1.0
            made = apply(images, same(name, images, parameters), backend=backend)
            assert (made.dtype, made.shape) == (dtype, shape)
            assert made.is_contiguous()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [name for name in PILLOW if OPS[name].kind is not Kind.TABLE])
def test_constant_images_stay_constant_away_from_the_border(name: str, backend: Backend) -> None:
    images = torch.tensor([0, 1, 100, 255], dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 20, 20)
    made = apply(images, same(name, images, torch.full((4,), 0.05)), backend=backend)
    inside = slice(3, -3)
    assert made[..., inside, inside].equal(images[..., inside, inside])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op.kind is Kind.WARP])
def test_outside_is_filled(name: str, backend: Backend) -> None:
    """With a fill, a warp of image x is that of x - fill, plus fill, wherever this stays in range."""
    images, fill = torch.full((6, 3, 9, 12), 200, dtype=torch.uint8), (10, 20, 30)
    parameter = torch.tensor([-5.0, -0.5, -0.2, 0.2, 0.5, 7.0])
    program = same(name, images, parameter)
    filled = Program(program.ops, program.args, fill=fill)
    outside = apply(images, program, backend=backend) == 0
    expected = torch.where(outside, torch.tensor(fill, dtype=torch.uint8).view(3, 1, 1), images)
    assert apply(images, filled, backend=backend).equal(expected)
    assert outside.any() == (name not in ("flip", "flip_vertical"))


def test_the_table_is_sound() -> None:
    assert {*PILLOW, *REGIONS} == set(OPS)
    assert not set(PILLOW) & set(REGIONS)
    assert sorted(op.code for op in OPS.values()) == list(range(len(OPS)))
    assert all(name == op.name for name, op in OPS.items())
    assert OPS["identity"].code == 0
    of_augmix = {name for name in OP_SETS["all"] if OPS[name].parameters}
    assert set(AUGMIX_LEVELS.ranges) == of_augmix
    assert not any(OPS[name].corrupts for name in OP_SETS["augmix"])
    assert len(OP_SETS["augmix"]) == 9
    assert set(OP_SETS["all"]) - set(OP_SETS["augmix"]) == {name for name in PILLOW if OPS[name].corrupts}


def test_levels_are_those_of_the_reference_code() -> None:
    """The published formulas: int(u * maximum / 10), lengths as a third of the side."""
    level = torch.linspace(0.1, 9.99, 50, dtype=torch.float64)
    formulas: dict[str, Callable[[float], float]] = {
        "posterize": lambda u: 4 - int(u * 4 / 10),
        "rotate": lambda u: int(u * 30 / 10),
        "solarize": lambda u: 256 - int(u * 256 / 10),
        "shear_x": lambda u: u * 0.3 / 10,
        "shear_y": lambda u: u * 0.3 / 10,
        "translate_x": lambda u: int(u * (40 / 3) / 10),
        "translate_y": lambda u: int(u * (28 / 3) / 10),
        "color": lambda u: u * 1.8 / 10 + 0.1,
        "contrast": lambda u: u * 1.8 / 10 + 0.1,
        "brightness": lambda u: u * 1.8 / 10 + 0.1,
        "sharpness": lambda u: u * 1.8 / 10 + 0.1,
    }
    assert set(formulas) == set(AUGMIX_LEVELS.ranges)
    for name, formula in formulas.items():
        ops = torch.full((50,), OPS[name].code)
        for negative in (0.0, 0.999):
            made = AUGMIX_LEVELS.parameters(ops, level, torch.full_like(level, negative), height=28, width=40)
            sign = -1 if negative < 0.5 and AUGMIX_LEVELS.ranges[name].signed else 1
            expected = torch.tensor([float(sign * formula(u)) for u in level.tolist()])
            torch.testing.assert_close(made, expected, rtol=1e-6, atol=0, msg=name)
