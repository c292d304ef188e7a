"""Files of every mode become upright RGB."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elinvar.check import InputError, InputWarning
from elinvar.data.decode import decode
from elinvar.data.listing import read_folder


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


def deep(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def ramp(low: int, high: int, kind: str) -> np.ndarray:
    return np.linspace(low, high, 12).reshape(3, 4).astype(kind)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (ramp(0, 4095, "<u2"), "span 0 to 4095, .* comes out nearly black"),
        (ramp(0, 4095, ">u2"), "span 0 to 4095, .* comes out nearly black"),
        (ramp(0, 255, "<u2"), "span 0 to 255, .* comes out nearly black"),
        (ramp(0, 200, "<i4"), "span 0 to 200, .* comes out nearly black"),
        (ramp(0, 70000, "<i4"), "span 0 to 70000, .* is cut off"),
        (ramp(-1000, 60000, "<i4"), "span -1000 to 60000, .* is cut off"),
        (ramp(-1000, 3000, "<i2"), "span -1000 to 3000, .* is cut off"),
    ],
    ids=["12 bits", "12 bits, big end first", "8 of 16", "8 of 32", "more than 16", "signed 32", "signed 16"],
)
def test_deep_images_that_come_out_black_or_cut_are_told_once(values: np.ndarray, text: str, tmp_path: Path) -> None:
    """The kind: pixels in a range that their file does not say. Tried besides: 16 bits in use, 16-bit colours (below),
    PGM with its own largest value, one dark image among bright ones, 8 bits that are black, floats, a damaged file.
    """
    for number in range(8):
        if values.dtype.kind == "i" and values.dtype.itemsize == 2:
            signed_tiff(tmp_path / "ab"[number % 2] / f"{number}.tif", values)
        else:
            deep(tmp_path / "ab"[number % 2] / f"{number}.tif", values)
    with pytest.warns(InputWarning, match=rf"a/\d\.tif: its values {text}") as told:
        read_folder(tmp_path)
    assert len(told) == 1


def signed_tiff(path: Path, values: np.ndarray) -> None:
    """16 bits with a sign, which Pillow reads and does not write: one strip behind the tags."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    data = values.astype("<i2").tobytes()
    tags = [(256, 3, width), (257, 3, height), (258, 3, 16), (259, 3, 1), (262, 3, 1)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 3, height), (279, 4, len(data)), (339, 3, 2)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    path.write_bytes(
        struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)
    )


def png_of_16_bit_colours(path: Path, value: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + struct.pack(">12H", *[value] * 12) for _ in range(3))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def test_colours_of_16_bits_are_looked_at_too(tmp_path: Path) -> None:
    for number in range(4):
        png_of_16_bit_colours(tmp_path / "ab"[number % 2] / f"{number}.png", 4095)
    with pytest.warns(InputWarning, match="comes out nearly black"):
        read_folder(tmp_path)
    for number in range(4):
        png_of_16_bit_colours(tmp_path / "ab"[number % 2] / f"{number}.png", 50_000)
    read_folder(tmp_path)


def test_one_class_of_many_that_comes_out_black_is_told(tmp_path: Path) -> None:
    for label in "abcdef":
        for number in range(20):
            deep(tmp_path / label / f"{number}.png", ramp(0, 4095 if label == "e" else 60000, "<u2"))
    with pytest.warns(InputWarning, match=r"e/\d+\.png: .* comes out nearly black.*: 1 of 6 classes are like this"):
        read_folder(tmp_path)


def test_what_is_as_it_should_be_is_not_told(tmp_path: Path) -> None:
    for label in "ab":
        for number in range(4):
            deep(tmp_path / label / f"{number}.tif", ramp(0, 60000, "<u2"))
        deep(tmp_path / label / "0dark.tif", ramp(0, 100, "<u2"))
        deep(tmp_path / label / "black.png", np.zeros((3, 4), np.uint8))
        (tmp_path / label / "broken.png").write_bytes(b"\x89PNG\r\n")
        values = ramp(0, 4095, ">u2")
        (tmp_path / label / "scaled.pgm").write_bytes(b"P5\n4 3\n4095\n" + values.tobytes())
    read_folder(tmp_path)
    assert np.asarray(decode(tmp_path / "a" / "scaled.pgm")).max() == 255
