"""Flips and crops move pixels and keep their bits."""

import pytest
import torch
from scipy import stats

from elinvar.augment import Flip, PadCrop
from elinvar.augment.batched.move import move as move_batched
from elinvar.augment.batched.move import turn as turn_batched
from elinvar.augment.crop import move, turn
from elinvar.check import InputError

from .conftest import keys, photos

RARE = 1e-6


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("channels", "height", "width"), [(3, 32, 32), (1, 5, 7), (3, 2, 3), (4, 1, 1)])
def test_moves_are_pads_and_cuts(dtype: torch.dtype, channels: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(80, channels, height, width, generator=generator).mul(255).to(dtype)
    flip = torch.rand(80, generator=generator) < 0.5
    down, right = (
        torch.randint(-side - 2, side + 3, (80,), generator=generator) // (torch.arange(80) % 2 + 1)
        for side in (height, width)
    )
    pad = max(height, width) + 2
    mirrored = torch.where(flip[:, None, None, None], images.flip(-1), images)
    padded = torch.nn.functional.pad(mirrored.double(), (pad, pad, pad, pad))
    cut = [
        image[:, pad + y : pad + y + height, pad + x : pad + x + width]
        for image, y, x in zip(padded, down.tolist(), right.tolist(), strict=True)
    ]
    expected = torch.stack(cut).to(dtype)
    assert move(images, flip=flip, down=down, right=right).equal(expected)
    assert move_batched(images, flip, down, right).equal(expected)
    assert move(images.contiguous(memory_format=torch.channels_last), flip=flip, down=down, right=right).equal(expected)
    turned = torch.where(flip[:, None, None, None], images.flip(-2), images)
    assert turn(images, flip).equal(turned)
    assert turn_batched(images, flip).equal(turned)
    assert turn(images.contiguous(memory_format=torch.channels_last), flip).equal(turned)


def test_flips_happen_with_their_probability() -> None:
    for p in (0.1, 0.5):
        chosen = Flip(p).draw(keys(100_000))
        assert stats.binomtest(int(chosen.sum()), len(chosen), p).pvalue > RARE
    images = photos(30, 3, 9, 14)
    assert Flip(p=1.0)(images).equal(images.flip(-1))
    assert Flip(p=0.0)(images).equal(images)
    assert Flip(p=1.0, vertical=True)(images).equal(images.flip(-2))
    chosen = Flip().draw(keys(30))
    assert Flip()(images, keys=keys(30)).equal(torch.where(chosen[:, None, None, None], images.flip(-1), images))
    upside_down = Flip(vertical=True)(images, keys=keys(30))
    assert upside_down.equal(torch.where(chosen[:, None, None, None], images.flip(-2), images))


def test_crops_lie_everywhere_alike() -> None:
    offsets = PadCrop(padding=4).draw(keys(100_000)) + 4
    counts = (9 * offsets[:, 0] + offsets[:, 1]).bincount(minlength=81)
    assert len(counts) == 81
    assert stats.chisquare(counts.numpy()).pvalue > RARE


def test_crops_are_cut_from_zero_padding() -> None:
    images = photos(50, 3, 20, 24).float() / 255
    made = PadCrop(padding=3)(images, keys=keys(50))
    padded = torch.nn.functional.pad(images, (3, 3, 3, 3))
    for image, cut, (down, right) in zip(padded, made, (PadCrop(padding=3).draw(keys(50)) + 3).tolist(), strict=True):
        assert cut.equal(image[:, down : down + 20, right : right + 24])
    assert PadCrop(padding=0)(images).equal(images)


def test_bad_settings_are_refused() -> None:
    for p in (-0.1, 1.5, float("nan")):
        with pytest.raises(InputError, match="expected a probability"):
            Flip(p)
    with pytest.raises(InputError, match="padding: got -1"):
        PadCrop(padding=-1)
