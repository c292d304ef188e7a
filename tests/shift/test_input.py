"""Bad input: one clear line each. And the tables of severities."""

import csv
from inspect import unwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from elinvar.check import InputError
from elinvar.shift import BENCHMARKS, LEVELS, SEVERITY, Constants, corrupt
from elinvar.shift.table import KNOWN

from .images import keys, pictures


@pytest.mark.parametrize("severity", [0, 6, -1, 1.0, "3", True, None])
def test_severities_are_integers_from_1_to_5(severity: object) -> None:
    with pytest.raises(InputError, match="expected an integer from 1"):
        unwrap(corrupt)(pictures(1), "fog", severity)


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(InputError, match="unknown corruption 'gausian_noise': did you mean 'gaussian_noise'"):
        corrupt(pictures(1), "gausian_noise", 1)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.full((1, 3, 32, 32), float("nan")), "expected finite values in"),
        (torch.full((1, 3, 32, 32), 1.5), "expected finite values in"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.int32), "expected uint8"),
        (torch.zeros(3, 32, 32), "expected \\(N, C, H, W\\)"),
        (torch.zeros(1, 2, 32, 32), "got 2 channels, expected 3 \\(R, G, B\\)"),
        (torch.zeros(1, 3, 7, 32), "got 7x32 pixels, expected sides of at least 8"),
    ],
    ids=["nan", "range", "dtype", "rank", "channels", "small"],
)
@pytest.mark.parametrize("name", KNOWN)
def test_images(name: str, images: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        unwrap(corrupt)(images, name, 1)


@pytest.mark.parametrize(
    "wrong", [keys(3), keys(2).int(), keys(2).unsqueeze(1), [1, 2]], ids=["count", "dtype", "rank", "list"]
)
def test_keys(wrong: object) -> None:
    with pytest.raises(InputError, match=r"keys: got .*, expected"):
        unwrap(corrupt)(pictures(2), "fog", 1, keys=wrong)


@pytest.mark.parametrize("wrong", [1.0, True, "1", keys(2)], ids=["float", "bool", "text", "tensor"])
def test_key(wrong: object) -> None:
    with pytest.raises(InputError, match=r"key: got .*, expected an integer"):
        unwrap(corrupt)(pictures(2), "fog", 1, key=wrong)


def test_one_source_of_randomness() -> None:
    with pytest.raises(InputError, match="got both key= and keys="):
        corrupt(pictures(2), "fog", 1, key=1, keys=keys(2))


def test_colour_is_needed_for_saturation() -> None:
    with pytest.raises(InputError, match="got 1 channels, expected 3"):
        corrupt(pictures(1, 1), "saturate", 1)


@pytest.mark.parametrize("name", SEVERITY)
def test_constants_fit_their_parameters(name: str) -> None:
    table = SEVERITY[name]
    assert list(table.sets) == list(BENCHMARKS)
    for constants in table.sets.values():
        assert constants.source
        assert len(constants.levels) == len(LEVELS)
        if name != "zoom_blur":
            assert {len(level) for level in constants.levels} == {len(table.parameters)}


def test_constants_are_the_published_ones() -> None:
    """Against a second transcription of all generators."""
    with Path(__file__).with_name("constants.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(BENCHMARKS) * len(LEVELS) * len(SEVERITY)
    for row in rows:
        level = SEVERITY[row["corruption"]].level(int(row["severity"]), int(row["side"]), int(row["side"]))
        assert level == pytest.approx([float(value) for value in row["values"].split()], rel=1e-12), row


@pytest.mark.parametrize(
    ("ranges", "sides"),
    [
        (((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)), (32, 64)),
        (((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)), (224, 299)),
    ],
    ids=["small", "large"],
)
def test_zoom_factors(ranges: tuple[tuple[float, float], ...], sides: tuple[int, int]) -> None:
    """To the last bit as the generators' `numpy.arange` gives them: 1.06 and 1.11 are in, 1.16, 1.21 and 1.26 not."""
    for severity, (end, step) in zip(LEVELS, ranges, strict=True):
        for side in sides:
            assert SEVERITY["zoom_blur"].level(severity, side, side) == tuple(np.arange(1, end, step).tolist())


def test_a_set_of_constants_has_five_levels() -> None:
    with pytest.raises(InputError, match="got 4 levels, expected 5"):
        Constants(((1.0,),) * 4, "a test")


def test_importing_is_light() -> None:
    import subprocess
    import sys

    code = "import elinvar.shift, sys; print([m for m in ('numba', 'scipy', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
