"""Programs are plain arrays: cut, joined, printed, moved, and run again."""

import pytest
import torch

from elinvar.augment import OPS, AugMix, Program, RandomChain, apply, concatenate
from elinvar.check import InputError

from .conftest import keys, photos


def small(count: int = 6, width: int = 2) -> Program:
    return AugMix(width=width).draw(keys(count), height=16, width=16)


def test_rows_are_programs() -> None:
    images, program = photos(6, 3, 16, 16), small()
    whole = apply(images, program)
    assert len(program) == 6
    assert len(program[2]) == len(program[-1]) == 1
    for rows in (slice(1, 4), [5, 0, 0], torch.tensor([3, 1])):
        assert apply(images[rows], program[rows]).equal(whole[rows])
    assert apply(images[4:5], program[-2]).equal(whole[4:5])
    with pytest.raises(IndexError):
        program[6]


def test_programs_of_different_shape_join() -> None:
    images = photos(9, 3, 16, 16)
    parts = [
        AugMix(width=3, depth=1).draw(keys(4), height=16, width=16),
        AugMix(width=1, depth=5).draw(keys(3), height=16, width=16),
        RandomChain().draw(keys(2), height=16, width=16),
    ]
    joined = concatenate(parts)
    assert joined.ops.shape == (9, 3, 5)
    expected = [apply(rows, part) for rows, part in zip((images[:4], images[4:7], images[7:]), parts, strict=True)]
    expected[2] = expected[2].float() / 255
    assert apply(images, joined).equal(torch.cat(expected))
    assert concatenate(parts[2:] * 2).pure


def test_joining_checks_what_it_gets() -> None:
    program = small()
    other = Program(program.ops, program.args, program.weights, fill=(128,))
    with pytest.raises(InputError, match="no programs"):
        concatenate([])
    with pytest.raises(InputError, match="fills"):
        concatenate([program, other])


def test_programs_print() -> None:
    ops = torch.tensor([[[OPS["rotate"].code, OPS["equalize"].code], [0, 0]]], dtype=torch.int32)
    program = Program(ops, torch.tensor([-8.0, 0, 0, 0]).view(1, 2, 2, 1), torch.tensor([[0.5, 0.25]]))
    assert str(program) == "0: 0.250 image + 0.500 [rotate(degrees=-8) > equalize] + 0.250 [identity]"
    seeded = torch.tensor([25.5, 0.1, 12, 16777213.0]).view(1, 1, 1, 4)
    noise = Program(torch.full((1, 1, 1), OPS["gaussian_noise"].code, dtype=torch.int32), seeded)
    assert str(noise) == "0: gaussian_noise(sigma_red=25.5, sigma_green=0.1, sigma_blue=12, seed=16777213)"
    assert str(small(30)).splitlines()[-1] == "... and 22 more"
    assert len(str(small(30)).splitlines()) == 9
    assert str(small(0)) == "no examples"


def test_programs_move() -> None:
    moved = small().to("meta")
    assert moved.ops.is_meta
    assert moved.args.is_meta
    assert moved.weights is not None
    assert moved.weights.is_meta


def unchecked(**fields: object) -> Program:
    """A program whose shapes the tests' own checker has not seen."""
    program = object.__new__(Program)
    for name, value in {"weights": None, "fill": (0,), **fields}.items():
        object.__setattr__(program, name, value)
    program.__post_init__()
    return program


def test_malformed_programs_are_refused() -> None:
    program, images = small(), photos(6, 3, 16, 16)
    weights = program.weights
    with pytest.raises(InputError, match="expected \\(N, chains, depth\\)"):
        unchecked(ops=program.ops, args=program.args[:, :1], weights=weights)
    with pytest.raises(InputError, match="2 chains without weights"):
        Program(program.ops, program.args)
    with pytest.raises(InputError, match="got weights"):
        unchecked(ops=program.ops, args=program.args, weights=torch.ones(6, 3))
    with pytest.raises(InputError, match="fill"):
        Program(program.ops, program.args, weights, fill=(256,))
    with pytest.raises(InputError, match="operation codes"):
        apply(images, Program(program.ops + 100, program.args, weights))
    with pytest.raises(InputError, match="got args for 1 parameters, expected 7"):
        apply(images, Program(torch.full_like(program.ops, OPS["cutout"].code), program.args, weights))
    with pytest.raises(InputError, match="not a finite number"):
        apply(images, Program(program.ops, program.args / 0, weights))
    with pytest.raises(InputError, match="6 rows for 5 images"):
        apply(images[:5], program)
    with pytest.raises(InputError, match="1 channels, expected 1 or one each"):
        apply(images[:, :1], Program(program.ops, program.args, weights, fill=(1, 2, 3)))
    with pytest.raises(InputError, match="got 2 channels"):
        apply(images[:, :2], program)
    with pytest.raises(InputError, match="values span"):
        apply(images.float(), program)
