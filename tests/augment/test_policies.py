"""What holds for every policy that draws programs: replayed step by step in Pillow, printed, one example at a time."""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from PIL import Image, ImageDraw
from torch import Tensor

from elinvar.augment import (
    OPS,
    POLICIES,
    Augmentation,
    AutoAugment,
    Compose,
    Flip,
    Kind,
    PadCrop,
    Program,
    RandAugment,
    RandomChain,
    apply,
    concatenate,
    sample_policies,
)
from elinvar.config import to_config
from elinvar.forms import check_form

from .conftest import PILLOW, Picture, digits, keys, noise, photos

Pure = RandAugment | AutoAugment | RandomChain
PURE: list[Pure] = [
    RandAugment(),
    RandAugment(3, 30, fill=(9, 99, 199)),
    RandAugment(3, 5, magnitude_max=10, ranges="original", fill=0),
    RandAugment(3, 9, ops="tpu", ranges="tpu", magnitude_max=10),
    RandAugment(2, 11, ops="tpu", ranges="pytorch_randaugment", fill=(125, 123, 114)),
    AutoAugment("cifar10"),
    AutoAugment("imagenet", ranges="original", fill=(9, 99, 199)),
    AutoAugment("svhn", ranges="tpu"),
    AutoAugment("cifar10", overlap_free=True),
    RandAugment(2, 9, ops=("rotate", "equalize", "flip")),
    RandomChain(severity=8, ops="all"),
]
pure = pytest.mark.parametrize("policy", PURE, ids=repr)

Fill = tuple[int, ...]


def _warp(*matrix: float) -> Callable[[Picture, Fill], Picture]:
    return lambda image, fill: image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=_color(image, fill)
    )


def _color(image: Picture, fill: Fill) -> int | tuple[int, ...]:
    return fill[0] if len(image.getbands()) == 1 else fill if len(fill) == 3 else fill * 3


# Warps with a fill.
WARPS: Mapping[str, Callable[[float], Callable[[Picture, Fill], Picture]]] = {
    "rotate": lambda degrees: (
        lambda image, fill: image.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=_color(image, fill))
    ),
    "shear_x": lambda slope: _warp(1, slope, 0, 0, 1, 0),
    "shear_y": lambda slope: _warp(1, 0, 0, slope, 1, 0),
    "translate_x": lambda pixels: _warp(1, 0, pixels, 0, 1, 0),
    "translate_y": lambda pixels: _warp(1, 0, 0, 0, 1, pixels),
}


def by_pillow(name: str, args: list[float], image: Tensor, fill: Fill) -> Tensor:
    picture = Image.fromarray(image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy())
    if name == "cutout":
        height, width, row, column, *color = (int(value) for value in args)
        if height and width:
            box = (column, row, column + width - 1, row + height - 1)
            ImageDraw.Draw(picture).rectangle(box, fill=color[0] if len(image) == 1 else tuple(color))
    elif name in WARPS:
        picture = WARPS[name](args[0])(picture, fill)
    else:
        picture = PILLOW[name](picture, args[0])
    array = np.array(picture)
    return torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1)


def step(program: Program, place: int) -> Program:
    """One place of every chain, as a program of its own."""
    one = slice(place, place + 1)
    return Program(program.ops[:, :, one], program.args[:, :, one], fill=program.fill)


@pure
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 20, 33)])
def test_programs_are_what_pillow_does_step_by_step(policy: Pure, shape: tuple[int, int, int]) -> None:
    """Each step of ours on what the steps before gave; whatever blends no pixels, exactly."""
    if not isinstance(policy, RandomChain) and isinstance(policy.fill, tuple):
        policy = replace(policy, fill=policy.fill[: shape[0]])
    images = torch.cat([photos(60, *shape), digits(60, *shape), noise(60, *shape)])
    program = policy.draw(keys(len(images), key=5), height=shape[1], width=shape[2])
    states = [images]
    for place in range(program.ops.shape[2]):
        states.append(apply(states[-1], step(program, place)))
    assert apply(images, program).equal(states[-1])
    by_code = {op.code: op for op in OPS.values()}
    wrong, blended = 0, 0
    for place, (before, after) in enumerate(pairwise(states)):
        for row, code in enumerate(program.ops[:, 0, place].tolist()):
            op, args = by_code[code], program.args[row, 0, place].tolist()
            off = (by_pillow(op.name, args, before[row], program.fill).int() - after[row].int()).abs()
            if op.kind is Kind.WARP:
                assert off.max() <= 1
                wrong, blended = wrong + int((off > 0).sum()), blended + off.numel()
            else:
                assert not off.any(), f"{op.name}({args})"
    # Slopes as .3 meet whole numbers, where float32 may be cut to the other side.
    assert wrong <= 0.01 * blended


@pure
def test_both_back_ends_take_the_same_steps(policy: Pure) -> None:
    images = photos(80, 3, 24, 24)
    program = policy.draw(keys(80, key=6), height=24, width=24)
    for place in range(program.ops.shape[2]):
        one = step(program, place)
        made, other = (apply(images, one, backend=backend) for backend in ("compiled", "batched"))
        warped = torch.tensor([OPS[name].kind is Kind.WARP for name in OPS])[one.ops[:, 0, 0].long()]
        off = (made.int() - other.int()).abs()
        assert not off[~warped].any()
        assert off[warped].max() <= 1
        images = made


@pure
def test_a_draw_can_be_printed_kept_and_run_again(policy: Pure) -> None:
    images = photos(30, 3, 24, 24)
    program = policy.draw(keys(30), height=24, width=24)
    made = policy(images, keys=keys(30))
    assert apply(images, program).equal(made)
    assert apply(images, pickle.loads(pickle.dumps(program))).equal(made)
    assert apply(images[7:9], program[7:9]).equal(made[7:9])
    lines = str(program[:8]).splitlines()
    assert len(lines) == 8
    for row, line in enumerate(lines):
        names = [name for name, op in OPS.items() if op.code in program.ops[row, 0].tolist() and name != "identity"]
        assert line.startswith(f"{row}: ")
        assert all(name in line for name in names)
        assert names or line == f"{row}: identity"


@pure
def test_a_draw_depends_on_its_key_alone(policy: Pure) -> None:
    whole = policy.draw(keys(300), height=32, width=32)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    for rows in (slice(0, 1), slice(5, 8), slice(3, 3), slice(20, 300), order):
        part = policy.draw(keys(300)[rows], height=32, width=32)
        assert part.ops.equal(whole.ops[rows])
        assert part.args.equal(whole.args[rows])
    images = photos(300, 3, 10, 14)
    made = policy(images, keys=keys(300))
    assert policy(images[order], keys=keys(300)[order]).equal(made[order])
    assert policy(images[17:18], keys=keys(300)[17:18]).equal(made[17:18])


@pure
def test_settings_travel(policy: Pure) -> None:
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert len({policy, replace(policy)}) == 1
    config = to_config(policy)
    check_form(config, Augmentation, "policy")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--policy", type=Augmentation)
    again = parser.instantiate(parser.parse_object(yaml.safe_load(yaml.safe_dump({"policy": config}))))
    assert again.policy == policy


def test_policies_that_share_a_fill_can_be_joined_in_one_batch() -> None:
    images = photos(40, 3, 16, 16)
    first, second = (RandAugment(3, 9, ops="tpu", ranges="tpu"), AutoAugment("svhn"))
    drawn = [policy.draw(keys(20, key), height=16, width=16) for key, policy in enumerate((first, second))]
    expected = torch.cat([first(images[:20], keys=keys(20, 0)), second(images[20:], keys=keys(20, 1))])
    assert apply(images, concatenate(drawn)).equal(expected)


def test_policies_compose_in_any_order() -> None:
    images = photos(50, 3, 32, 32)
    parts = (RandAugment(), Flip(), PadCrop(), AutoAugment("cifar10"))
    there, back = Compose(parts), Compose(parts[::-1])
    assert there(images, keys=keys(50)).shape == images.shape
    assert not there(images, keys=keys(50)).equal(back(images, keys=keys(50)))
    branches = [Compose((policy, Flip())) for policy in sample_policies(3, 0)]
    views = [branch(images, keys=keys(50)) for branch in branches]
    assert all(view.dtype == torch.uint8 for view in views)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 32)])
def test_every_policy_of_the_table_runs_with_its_defaults(name: str, channels: int, size: int) -> None:
    images = digits(64, channels, size, size)
    policy = POLICIES[name]()
    assert policy == POLICIES[name]()
    made = policy(images, keys=keys(64))
    assert made.shape == images.shape
    assert not made.equal(images)
    assert policy(images, keys=keys(64)).equal(made)
    assert policy(images[:1], keys=keys(1)).equal(made[:1])


@pytest.mark.parametrize("name", POLICIES)
def test_the_first_line_says_what_a_policy_does(name: str) -> None:
    text = POLICIES[name].__doc__
    assert text is not None
    assert text.split("\n", 1)[0].endswith(".")
