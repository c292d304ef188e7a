"""Pictures of frost: grown ones are always the same and look like frost; photographs are read from a directory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from elinvar.check import InputError
from elinvar.shift import FrostTextures, corrupt, frost_textures, load_frost
from elinvar.shift.frost import SIZES, resize
from elinvar.shift.ice import grow

from .images import keys, pictures


def photographs(directory: Path) -> list[np.ndarray]:
    made = []
    for number, (height, width) in enumerate(SIZES, start=1):
        picture = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(picture).save(directory / f"frost{number}.png")
        made.append(picture)
    return made


def test_grown_pictures() -> None:
    textures = frost_textures()
    assert textures.procedural
    assert "procedural" in textures.source
    assert [picture.shape for picture in textures.pictures] == [(*size, 3) for size in SIZES]
    assert [p.shape[:2] for p in textures.shrunk(0.2, 32)] == [(120, 180), (63, 112), (63, 112), (70, 105), (99, 132)]
    for picture in textures.pictures:
        red, green, blue = picture.reshape(-1, 3).mean(0)
        assert red < green < blue  # bluish
        grey = picture @ np.array([0.299, 0.587, 0.114]) / 255
        assert 0.4 < grey.mean() < 0.6
        assert 0.17 < grey.std() < 0.23
        assert grey.max() > 0.9
        assert picture[grey > 0.97].min() > 225  # white where it is bright
    assert np.array_equal(grow(3, *SIZES[3]), textures.pictures[3])


@pytest.mark.parametrize("factor", [0.2, 0.3, 1.0])
def test_resize_is_bilinear_without_antialiasing(factor: float) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (63, 110, 3), dtype=np.uint8)
    got = resize(picture, factor)
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].double()
    rows, columns = (
        torch.tensor(
            [((i + 0.5) / factor - 0.5) * 2 / (n - 1) - 1 for i in range(round(n * factor))], dtype=tensor.dtype
        )
        for n in picture.shape[:2]
    )
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)[None]
    expected = torch.nn.functional.grid_sample(tensor, grid, padding_mode="border", align_corners=True)
    assert np.abs(got - expected[0].permute(1, 2, 0).numpy()).max() <= 0.5 + 1e-4
    if factor == 0.2:
        assert np.array_equal(got, picture[2::5, 2::5])


def test_photographs_replace_them(tmp_path: Path) -> None:
    made = photographs(tmp_path)
    textures = load_frost(tmp_path)
    assert not textures.procedural
    assert str(tmp_path) in textures.source
    assert all(np.array_equal(a, b) for a, b in zip(textures.pictures, made, strict=True))
    images = pictures(3)
    with_photographs = corrupt(images, "frost", 2, keys=keys(3), frost_textures=textures)
    assert not torch.equal(with_photographs, corrupt(images, "frost", 2, keys=keys(3)))


def test_alpha_and_jpeg_are_read(tmp_path: Path) -> None:
    photographs(tmp_path)
    Image.fromarray(np.full((315, 560, 4), 90, np.uint8)).save(tmp_path / "frost3.png")
    (tmp_path / "frost4.png").unlink()
    Image.fromarray(np.full((350, 527, 3), 60, np.uint8)).save(tmp_path / "frost4.jpg")
    textures = load_frost(tmp_path)
    assert textures.pictures[2].shape == (315, 560, 3)
    assert np.abs(textures.pictures[3].astype(int) - 60).max() <= 1


def test_missing_and_broken_pictures(tmp_path: Path) -> None:
    photographs(tmp_path)
    (tmp_path / "frost2.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"frost2\.png is no picture"):
        load_frost(tmp_path)
    (tmp_path / "frost2.png").unlink()
    with pytest.raises(InputError, match=r"holds none of frost2\.png"):
        load_frost(tmp_path)


def test_pictures_are_enlarged_where_no_crop_would_fit() -> None:
    tiny = FrostTextures(tuple(np.full((100, 120, 3), 90, np.uint8) for _ in range(5)), False, "tiny")
    assert [picture.shape for picture in tiny.shrunk(0.2, 32)] == [(33, 40, 3)] * 5
    black = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    assert (corrupt(black, "frost", 1, frost_textures=tiny) == int(0.2 * 90)).all()
    large = corrupt(torch.zeros(2, 1, 400, 400, dtype=torch.uint8), "frost", 3)
    assert large.shape == (2, 1, 400, 400)
    assert [picture.shape for picture in frost_textures().shrunk(1.0, 224)] == [(*size, 3) for size in SIZES]
