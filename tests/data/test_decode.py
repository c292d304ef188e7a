"""Files of every mode become upright RGB."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elinvar.check import InputError
from elinvar.data.decode import decode


def palette() -> Image.Image:
    image = Image.new("P", (4, 3), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    return image


def transparent_palette() -> Image.Image:
    image = palette()
    image.info["transparency"] = b"\x00\x80"
    return image


MODES = {
    "rgb.png": (Image.new("RGB", (4, 3), (10, 200, 30)), (10, 200, 30)),
    "rgb.jpg": (Image.new("RGB", (4, 3), (50, 50, 50)), (50, 50, 50)),
    "grey.png": (Image.new("L", (4, 3), 77), (77, 77, 77)),
    "grey.jpg": (Image.new("L", (4, 3), 77), (77, 77, 77)),
    "grey_alpha.png": (Image.new("LA", (4, 3), (77, 9)), (77, 77, 77)),
    "black_and_white.png": (Image.new("1", (4, 3), 1), (255, 255, 255)),
    "palette.png": (palette(), (10, 200, 30)),
    "palette.gif": (palette(), (10, 200, 30)),
    "transparent_palette.png": (transparent_palette(), (10, 200, 30)),
    "alpha.png": (Image.new("RGBA", (4, 3), (10, 200, 30, 40)), (10, 200, 30)),
    "alpha.webp": (Image.new("RGBA", (4, 3), (40, 40, 40, 255)), (40, 40, 40)),
    "cmyk.jpg": (Image.new("CMYK", (4, 3), (0, 0, 0, 155)), (100, 100, 100)),
    "cmyk.tif": (Image.new("CMYK", (4, 3), (255, 0, 255, 0)), (0, 255, 0)),
    "sixteen.png": (Image.fromarray(np.full((3, 4), 100 * 257, dtype=np.uint16)), (100, 100, 100)),
    "sixteen.tif": (Image.fromarray(np.full((3, 4), 255 * 257, dtype=np.uint16)), (255, 255, 255)),
    "map.bmp": (Image.new("RGB", (4, 3), (1, 2, 3)), (1, 2, 3)),
    "map.ppm": (Image.new("RGB", (4, 3), (1, 2, 3)), (1, 2, 3)),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_becomes_rgb(name: str, tmp_path: Path) -> None:
    image, colour = MODES[name]
    image.save(tmp_path / name)
    found = decode(tmp_path / name)
    assert (found.mode, found.size) == ("RGB", (4, 3))
    assert np.abs(np.asarray(found).astype(int) - colour).max() <= (2 if name.endswith((".jpg", ".webp")) else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_upright_whatever_way_the_camera_was_held(orientation: int, tmp_path: Path) -> None:
    upright = np.array([[10, 20, 30], [40, 50, 60]], dtype=np.uint8)
    stored = {  # how the camera writes the same scene, by the definition of the EXIF tag
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    image = Image.fromarray(np.ascontiguousarray(stored))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(np.asarray(decode(tmp_path / "turned.png"))[..., 0], upright)


@pytest.mark.parametrize("keep", [0, 1, 30, 300])
@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "bmp", "tif", "webp"])
def test_damaged_files_are_named(kind: str, keep: int, tmp_path: Path) -> None:
    path = tmp_path / f"picture.{kind}"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=f"{path}: cannot be read as an image") as caught:
        decode(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "folder.jpg").mkdir()
    Image.fromarray(np.full((2, 2), 0.5, dtype=np.float32)).save(tmp_path / "float.tif")
    for name in ("text.jpg", "folder.jpg", "float.tif", "missing.jpg"):
        with pytest.raises(InputError, match=f"{name}: cannot be read as an image"):
            decode(tmp_path / name)
