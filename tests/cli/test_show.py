"""`elinvar show`: everything that changes images can be seen, from weak to strong where that means something."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image

from elinvar.augment import OPS, POLICIES
from elinvar.check import InputError
from elinvar.cli.main import main
from elinvar.cli.pictures import CUTS, photos, pictured
from elinvar.cli.show import NOTES, OVERVIEW
from elinvar.cli.strips import SHOWN, STRENGTHS, find, overview, strips
from elinvar.mixing import METHODS

EVERYTHING = [f"{kind}:{name}" for kind, (table, _) in SHOWN.items() for name in table]
BATCH = photos(2, 32)


@pytest.mark.parametrize("name", EVERYTHING)
def test_everything_has_a_row_for_each_image(name: str) -> None:
    rows = strips(name, BATCH)
    assert len(rows) == 2
    for row, image in zip(rows, BATCH.images, strict=True):
        assert row.images.dtype == torch.uint8
        assert row.images[0].equal(image)
        assert len(row.images) == len(row.labels) >= 2
    if name not in ("operation:identity", "policy:random_flip", "policy:random_erasing"):
        assert any(not row.images[place].equal(row.images[0]) for row in rows for place in range(1, len(row.images)))


def test_strength_grows_from_left_to_right() -> None:
    assert set(STRENGTHS) <= set(POLICIES)
    for name in ("policy:gaussian_noise", "policy:cutout", "operation:cutout", "operation:rotate", "operation:erase"):
        row = strips(name, BATCH)[0].images.float()
        change = [float((version - row[0]).abs().mean()) for version in row[1:]]
        assert change == sorted(change), name
        assert change[0] < change[-1] / 2, name
    squares = strips("policy:cutout", BATCH)[0].images  # the same draw: around one centre, each inside of the next
    taken = [(square == 128).all(0) & (squares[0] != 128).any(0) for square in squares[1:]]
    assert all(bool((smaller <= larger).all()) for smaller, larger in pairwise(taken))
    for name in POLICIES:
        labels = strips(f"policy:{name}", BATCH)[0].labels
        assert labels[1] != labels[2]
    assert strips("randaugment", BATCH)[0].labels[1:] == ("m 3", "m 9", "m 15", "m 22", "m 30")


def test_a_mix_shows_both_images_and_the_label() -> None:
    for number, row in enumerate(strips("cutmix", BATCH)):
        assert row.labels[:2] == ("image", "partner")
        assert row.images[1].equal(BATCH.images[1 - number])
        for image, label in zip(row.images[2:], row.labels[2:], strict=True):
            own = float((image == row.images[0]).all(0).float().mean())
            partner = float((image == row.images[1]).all(0).float().mean())
            assert own + partner >= 1
            assert label.startswith("label ")
            assert float(label.split()[1]) == pytest.approx(own, abs=0.02)
    with pytest.raises(InputError, match="expected 2 or more for what mixes two"):
        strips("mixup", photos(1, 32))


def test_zero_mean_images_are_shown_around_grey() -> None:
    for row in strips("bcplus", BATCH):
        assert all(70 < float(image.float().mean()) < 190 for image in row.images[2:])


def test_names_are_found_as_people_write_them() -> None:
    assert find("RandAugment") == find("policy:randaugment") == ("policy", "randaugment")
    assert find("shear-x") == ("operation", "shear_x")
    assert find("contrast") == ("corruption", "contrast")
    assert find("operation:contrast") == ("operation", "contrast")
    with pytest.raises(InputError, match="unknown kind of thing to see 'policies': did you mean 'policy'"):
        find("policies:augmix")
    with pytest.raises(InputError, match="unknown mix 'augmix'"):
        find("mix:augmix")
    with pytest.raises(InputError, match="did you mean 'cutmix'"):
        find("cutmx")


def test_an_overview_has_a_row_for_each_thing() -> None:
    assert set(OVERVIEW) == set(NOTES) == set(SHOWN)
    for kind, names in (("operation", OPS), ("policy", POLICIES), ("mix", METHODS)):
        rows = overview(kind, BATCH, OVERVIEW[kind][1])
        assert [row.name for row in rows] == list(names)
        assert all(len(row.images) == len(row.labels) >= 1 for row in rows)


def test_photographs_and_data_sets() -> None:
    batch = photos(4, 48)
    assert batch.images.shape == (4, 3, 48, 48)
    assert all(float(image.float().std()) > 20 for image in batch.images)
    with pytest.raises(InputError, match=f"expected 1 to {len(CUTS)} photographs"):
        photos(5, 48)
    assert pictured("digits", 3, 48).images.shape == (3, 3, 32, 32)
    with pytest.raises(InputError, match="--images: got 0"):
        pictured("digits", 0, 48)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_picture_is_written(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / f"fog.{suffix}"
    assert main(["show", "cutmix", "--data", "digits", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    with Image.open(out) as picture:
        assert told == {"picture": str(out), "size": list(picture.size)}
        assert picture.width > 500


def test_a_picture_goes_where_it_is_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "elinvar", "show", "operation:shear_x"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "wrote shear_x.png" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["shear_x.png"]


def test_all_is_a_folder_of_overviews(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "all", "--out", str(tmp_path / "pictures"), "--json"]) == 0
    told = [Path(row["picture"]) for row in json.loads(capsys.readouterr().out)]
    assert sorted(path.stem for path in told) == ["corruptions", "mixing", "operations", "policies"]
    assert all(path.exists() and path.stat().st_size < 300_000 for path in told)


def test_an_unknown_form_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "fog", "--out", str(tmp_path / "fog.bmp")]) == 2
    assert "expected a file name that ends in .png, .jpg" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
