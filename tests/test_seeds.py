"""A seed or key is a whole number from 0 to 2**64 - 1, by one rule everywhere; another is refused, never wrapped.

-1 wrapped is 2**64 - 1, and 2**64 is 0: two runs with "other seeds" would be one run counted twice.

Tried: negative, 2**64, 2**70, 1.0, nan, "3", None where it means nothing, True, numbers of torch and numpy, in
the seeds of a run and those of one source, on every command line that takes one, of weights, corruptions, intervals,
perturbations, attacks, shuffles, orders, policies, written test sets, and noise in a program; seeds that torch's own
generator takes for the same, because it reads 32 bits.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from elinvar import attacks, augment, data, metrics, models, norm, recipes, shift
from elinvar.attacks.transfer import black_box
from elinvar.augment.backend import apply
from elinvar.augment.program import Program
from elinvar.check import InputError
from elinvar.cli.main import main
from elinvar.data.corrupting import write_corrupted
from elinvar.data.grouped import grouped_order
from elinvar.data.order import stratified_order
from elinvar.norm.workers.shuffling import shuffle
from elinvar.rng import Seeds, Source, check_seed, fold, streams
from elinvar.views import Batch

OUTSIDE = [-1, 2**64, 2**70, True]
NO_NUMBERS = [1.0, math.nan, "3", None, np.float32(1), np.bool_(True), np.int8(-1), torch.tensor(1), [1]]
IMAGES = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
TARGETS = torch.tensor([0, 1])
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
BATCH = Batch(IMAGES, TARGETS, torch.arange(2))

TAKERS: dict[str, Callable[[Any], object]] = {
    "a run": Seeds,
    "one source": lambda seed: Seeds(0, {Source.SHUFFLE: seed}),
    "streams": lambda seed: streams(seed, torch.arange(2)),
    "weights": lambda seed: models.build("wrn-10-1", classes=2, mean=(0.5,) * 3, std=(0.5,) * 3, seed=seed),
    "corruptions": lambda seed: shift.corrupt(IMAGES, "gaussian_noise", 1, key=seed),
    "perturbations": lambda seed: shift.perturb(IMAGES, "gaussian_noise", key=seed),
    "an interval": lambda seed: metrics.bootstrap_mean(torch.arange(3.0), resamples=2, key=seed),
    "any interval": lambda seed: metrics.bootstrap(lambda x: float(x.mean()), torch.arange(3.0), resamples=2, key=seed),
    "an attack": lambda seed: attacks.robustness(MODEL, [BATCH], attacks={}, sources={"a": MODEL}, seed=seed),
    "black boxes": lambda seed: black_box({"a": MODEL}, {"a": MODEL}, [BATCH], seed=seed),
    "shuffled rows": lambda seed: norm.Shuffled(MODEL, seed=seed),
    "rows of workers": lambda seed: shuffle(torch.zeros(2, 2), key=seed),
    "policies": lambda seed: augment.sample_policies(2, seed),
    "a recipe": lambda seed: recipes.a2_aug(key=seed),
    "an order by class": lambda seed: stratified_order(TARGETS, seed),
    "groups": lambda seed: grouped_order(TARGETS, seed, batches=1, classes=1, each=1),
}


@pytest.mark.parametrize("wrong", OUTSIDE)
@pytest.mark.parametrize("taker", TAKERS)
def test_what_is_no_seed_is_refused(taker: str, wrong: int) -> None:
    with pytest.raises(InputError, match="0 to 2"):
        TAKERS[taker](wrong)


@pytest.mark.parametrize("right", [0, 7, 2**63, 2**64 - 1])
@pytest.mark.parametrize("taker", TAKERS)
def test_what_is_a_seed_is_taken(taker: str, right: int) -> None:
    TAKERS[taker](right)


@pytest.mark.parametrize("wrong", [*OUTSIDE, *NO_NUMBERS], ids=repr)
def test_the_one_rule_takes_whole_numbers_alone(wrong: object) -> None:
    with pytest.raises(InputError, match=r"^key: got .*, expected (an integer, )?0 to 2\*\*64 - 1$"):
        check_seed(wrong, name="key")


@pytest.mark.parametrize("right", [7, np.int64(7), np.uint8(7), np.uint64(7)], ids=repr)
def test_numbers_of_numpy_are_those_of_python(right: object) -> None:
    found = check_seed(right)
    assert found == 7
    assert type(found) is int


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=5, unique=True), st.sampled_from(Source))
def test_other_seeds_are_other_streams(seeds: list[int], source: Source) -> None:
    """Exact, not by chance: for one path the key is a bijection of the seed."""
    assert len({Seeds(seed).key(source, 3, "view") for seed in seeds}) == len(seeds)
    assert len({int(streams(seed, torch.tensor([5]))) for seed in seeds}) == len(seeds)


@given(st.one_of(st.integers(max_value=-1), st.integers(min_value=2**64)))
def test_no_number_outside_is_wrapped(number: int) -> None:
    with pytest.raises(InputError, match="0 to 2"):
        Seeds(number)
    assert fold("frame", number) != fold("frame", number % 2**64)
    with pytest.raises(InputError, match="part of a path: got bool"):
        fold("frame", True)


def test_seeds_that_torch_takes_for_the_same_make_other_weights() -> None:
    """torch's CPU generator reads the lower 32 bits of a seed."""

    def weights(seed: int) -> torch.Tensor:
        made = models.build("wrn-10-1", classes=2, mean=(0.5,) * 3, std=(0.5,) * 3, seed=seed)
        return next(made.network.parameters()).detach()

    found = [weights(seed) for seed in (1, 1 + 2**32, 1 + 2**33, 0, 2**32, 2**64 - 1, 2**32 - 1)]
    for place, one in enumerate(found):
        assert not any(torch.equal(one, other) for other in found[:place])


@pytest.mark.parametrize(
    "command",
    [
        ["train", "standard", "--data", "digits", "--seed", "-1"],
        ["train", "standard", "--data", "digits", "--seed", str(2**64)],
        ["train", "standard", "--data", "digits", "--seed-of", "shuffle=-1"],
        ["train", "standard", "--data", "digits", "--seed-of", f"mix={2**64}"],
        ["train", "standard", "--data", "digits", "--seed-of", "mix=1.0"],
        ["train", "standard", "--data", "digits", "--seed-of", "mix=1", "--seed-of", "mix=2"],
        ["corrupt", "digits", "{out}", "--seed", "-1"],
        ["corrupt", "digits", "{out}", "--seed", str(2**64)],
        ["demo", "--seeds", "0"],
        ["demo", "--seeds", "-1"],
        ["reproduce", "rethinking.figure8", "--seeds", "-1"],
    ],
    ids=" ".join,
)
def test_command_lines_refuse_it(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    filled = [part.format(out=out) for part in command]
    assert main(filled if command[0] == "corrupt" else [*filled, "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert "got" in said.err or "SOURCE=NUMBER" in said.err or "already" in said.err
    assert not out.exists() or not list(out.iterdir())


def test_a_written_test_set_has_the_seed_as_a_number(tmp_path: Path) -> None:
    digits = data.subset(data.load("digits"), train=10, test=10)
    arguments: dict[str, Any] = {"classes": digits.classes, "names": ("gaussian_noise",), "severities": (1,)}
    manifest = write_corrupted(digits.test, tmp_path / "a", seed=3, **arguments)
    assert manifest["seed"] == 3
    with pytest.raises(InputError, match="0 to 2"):
        write_corrupted(digits.test, tmp_path / "b", seed=-1, **arguments)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("seed", [-1.0, 0.5, 2.0**24, 2.0**24 + 2])
def test_noise_in_a_program_has_a_seed_that_its_number_format_holds(seed: float) -> None:
    code = augment.OPS["gaussian_noise"].code
    program = Program(torch.tensor([[[code]]], dtype=torch.int32), torch.tensor([[[[9.0, 9.0, 9.0, seed]]]]))
    with pytest.raises(InputError, match="seed of gaussian_noise"):
        apply(IMAGES[:1], program)
    right = Program(program.ops, torch.tensor([[[[9.0, 9.0, 9.0, 2.0**24 - 1]]]]))
    apply(IMAGES[:1], right)
