"""AutoAugment draws from the published tables, and its overlap-free form leaves out what overlaps corruptions.

Keys are fixed, so that outcomes are. With a key chosen at random, a statistical test would reject a correct sampler
with probability 1e-6 (`RARE`).
"""

from collections import Counter
from dataclasses import fields
from hashlib import sha256
from typing import get_args

import pytest
import torch
from scipy import stats
from torch import Tensor

import libraries
from elinvar.augment import OPS, AutoAugment, Program, apply
from elinvar.augment.autoaugment import RANGES, Ranges
from elinvar.augment.published import SUB_POLICIES, PolicyName, SubPolicy
from elinvar.check import InputError

from .conftest import keys, noise

RARE = 1e-6
MANY = 200_000
NAMES: tuple[PolicyName, ...] = get_args(PolicyName)
ENHANCERS = ("color", "contrast", "brightness", "sharpness")
every = pytest.mark.parametrize("name", NAMES)


def drawn(policy: AutoAugment, count: int = MANY) -> Program:
    return policy.draw(keys(count, key=60), height=32, width=32)


def test_the_tables_are_the_published_ones() -> None:
    """Digests of another copy than ours and torchvision's: no entry, used or not, changes unnoticed."""
    digests = {
        name: sha256(
            "\n".join(" ".join(f"{op} {p} {level}" for op, p, level in pair) for pair in SUB_POLICIES[name]).encode()
        ).hexdigest()[:16]
        for name in NAMES
    }
    assert digests == {
        "cifar10": "412f51220db8f6f5",
        "imagenet": "9c19e8069d56c82b",
        "svhn": "ca871c895397626a",
    }


@every
def test_the_tables_are_torchvisions(name: PolicyName) -> None:
    transforms = libraries.load("torchvision.transforms")
    theirs = transforms.AutoAugment(transforms.AutoAugmentPolicy(name)).policies
    short = {"ShearX": "shear_x", "ShearY": "shear_y", "TranslateX": "translate_x", "TranslateY": "translate_y"}
    assert len(theirs) == len(SUB_POLICIES[name]) == 25
    for ours, published in zip(SUB_POLICIES[name], theirs, strict=True):
        for (op, p, level), (their_op, their_p, their_level) in zip(ours, published, strict=True):
            assert (op, p) == (short.get(their_op, their_op.lower()), their_p)
            # torchvision leaves out levels of operations that take none.
            assert their_level == (level if OPS[op].parameters else None)


@every
def test_the_tables_make_sense(name: PolicyName) -> None:
    applied = [each for pair in SUB_POLICIES[name] for each in pair]
    for op, p, level in applied:
        assert OPS[op].name == op
        assert 0 <= p <= 1
        assert round(10 * p) == pytest.approx(10 * p)
        assert 0 <= level <= 9
        for levels in RANGES.values():
            assert not OPS[op].parameters or op in levels.ranges
    if name == "cifar10":
        counts = Counter(op for op, _, _ in applied)
        assert counts["shear_x"] == 0
        assert [(op, level) for op, _, level in applied].count(("invert", 3)) == 2


Outcome = tuple[tuple[str, float], ...]


def value(op: str, level: int, sign: int, ranges: Ranges) -> float:
    """The parameter, by the scale that other tests hold."""
    at, side = torch.tensor([level], dtype=torch.float64), torch.tensor([(sign + 1) / 2], dtype=torch.float64)
    made = RANGES[ranges].parameters(torch.tensor([OPS[op].code]), at, side, height=32, width=32)
    return round(float(made), 4)


def outcomes(pair: SubPolicy, policy: AutoAugment) -> dict[Outcome, float]:
    """What a pair may become, as operations with their parameters, and how often it does."""
    made: dict[Outcome, float] = {(): 1.0}
    for op, p, level in pair:
        if policy.overlap_free and op in ENHANCERS:
            continue
        grown = dict.fromkeys(made, 0.0)
        for before, often in made.items():
            grown[before] += often * (1 - p)
            for sign in (-1, 1):
                now = (*before, (op, value(op, level, sign, policy.ranges)))
                grown[now] = grown.get(now, 0.0) + often * p / 2
        made = grown
    return {outcome: often for outcome, often in made.items() if often > 0}


def seen(program: Program) -> Counter[Outcome]:
    """How often each chain of operations was drawn; the identity is left out."""
    names = {op.code: op.name for op in OPS.values()}
    rows = zip(program.ops[:, 0].tolist(), program.args[:, 0, :, 0].tolist(), strict=True)
    return Counter(
        tuple((names[op], round(arg, 4)) for op, arg in zip(ops, args, strict=True) if op) for ops, args in rows
    )


POLICIES = [
    *(AutoAugment(name, overlap_free=free) for name in NAMES for free in (False, True)),
    AutoAugment("cifar10", ranges="original"),
    AutoAugment("imagenet", ranges="tpu"),
]


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_pairs_happen_as_often_as_published(policy: AutoAugment) -> None:
    """Every chain that can come of any pair, with its parameters, against its frequency: nothing else comes."""
    expected: Counter[Outcome] = Counter()
    for pair in SUB_POLICIES[policy.policy]:
        for outcome, often in outcomes(pair, policy).items():
            expected[outcome] += often / 25  # type: ignore[assignment]
    assert sum(expected.values()) == pytest.approx(1)
    counts, chains = seen(drawn(policy)), sorted(expected)
    assert set(counts) <= set(expected)
    frequencies = [expected[chain] * MANY for chain in chains]
    assert min(frequencies) > 5
    assert stats.chisquare([counts[chain] for chain in chains], frequencies).pvalue > RARE


def test_pairs_are_drawn_alike() -> None:
    program = drawn(AutoAugment("imagenet"))
    factor = program.args[:, 0, 1, 0][program.ops[:, 0, 1] == OPS["contrast"].code]
    # Contrast at level 8 always happens, in rows 14 and 23 alone.
    assert stats.binomtest(len(factor), MANY, 2 / 25).pvalue > RARE
    assert stats.binomtest(int((factor > 1).sum()), len(factor)).pvalue > RARE


@pytest.mark.parametrize(
    ("name", "both", "one", "none"),
    [("cifar10", 15, 4, [2, 6, 7, 9, 13, 19]), ("imagenet", 18, 5, [14, 23]), ("svhn", 24, 1, [])],
)
def test_pairs_that_lose_operations(name: PolicyName, both: int, one: int, none: list[int]) -> None:
    left = [sum(not OPS[op].corrupts for op, _, _ in pair) for pair in SUB_POLICIES[name]]
    assert [place for place, count in enumerate(left) if not count] == none
    assert (left.count(2), left.count(1)) == (both, one)
    program = drawn(AutoAugment(name, overlap_free=True))
    corrupting = torch.tensor([op.code for op in OPS.values() if op.corrupts])
    assert not torch.isin(program.ops, corrupting).any()
    # The same keys draw the same pairs, with and without: what stays is where it was.
    whole = drawn(AutoAugment(name))
    stays = ~torch.isin(whole.ops, corrupting)
    assert program.ops[stays].equal(whole.ops[stays])
    assert program.args[stays].equal(whole.args[stays])


def saturation(images: Tensor) -> Tensor:
    return images.amax(1) - images.amin(1)


@every
@pytest.mark.parametrize("ranges", RANGES)
def test_without_overlap_grey_stays_grey(name: PolicyName, ranges: Ranges) -> None:
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(3000, 3, 16, 16)
    made = AutoAugment(name, ranges=ranges, overlap_free=True)(ramp, keys=keys(3000))
    assert not saturation(made).any()


@every
def test_without_overlap_one_color_stays_but_for_tables_and_fill(name: PolicyName) -> None:
    """No statistic of a constant image and no move changes it; values change by inversion and fewer bits alone."""
    policy = AutoAugment(name, overlap_free=True, fill=(200, 100, 50))
    images = torch.tensor([200, 100, 50], dtype=torch.uint8).view(1, 3, 1, 1).expand(3000, -1, 12, 12)
    made = policy(images, keys=keys(3000))
    program = policy.draw(keys(3000), height=12, width=12)
    tables = torch.tensor([OPS[op].code for op in ("invert", "solarize", "posterize")])
    changed = (made != images).flatten(1).any(1)
    assert not changed[~torch.isin(program.ops, tables).any(-1).any(-1)].any()
    assert changed.any()


def test_probability_zero_never_happens_and_one_always() -> None:
    svhn = drawn(AutoAugment("svhn"))
    second_translate = (svhn.ops[:, 0, 1] == OPS["translate_y"].code) & (svhn.ops[:, 0, 0] == OPS["invert"].code)
    assert not second_translate.any()  # row 15: "translate_y 0 2"
    imagenet = drawn(AutoAugment("imagenet"))
    sheared = imagenet.ops[:, 0, 0] == OPS["shear_x"].code
    assert (imagenet.ops[sheared, 0, 1] == OPS["equalize"].code).all()  # row 18


def test_it_runs_on_what_people_have() -> None:
    for shape in ((1, 3, 32, 32), (4, 1, 28, 28), (5, 3, 20, 33)):
        for name in NAMES:
            images = noise(*shape)
            policy = AutoAugment(name)
            made = policy(images, keys=keys(shape[0]))
            program = policy.draw(keys(shape[0]), height=shape[2], width=shape[3])
            assert made.equal(apply(images, program))
            assert policy(images.float() / 255, keys=keys(shape[0])).equal(made.float() / 255)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policy": "cifar100"}, "unknown policy of AutoAugment 'cifar100': did you mean 'cifar10'"),
        ({"ranges": "torch"}, "unknown ranges 'torch'"),
        ({"fill": -1}, "fill: got -1, expected a value in 0..255"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], message: str) -> None:
    policy = object.__new__(AutoAugment)  # so that the tests' own checker of types does not see it
    for field in fields(AutoAugment):
        object.__setattr__(policy, field.name, settings.get(field.name, field.default))
    with pytest.raises(InputError, match=message):
        policy.__post_init__()
